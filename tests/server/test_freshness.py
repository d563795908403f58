"""Knowledge that changes under a running server is loaded beside the old, and no request is refused meanwhile."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from test_several_servers import ready, send
from until import until

RIVETS = """\
name: Rivet plate
normal: "The rivets sit flush."
defects:
  - name: missing rivet
    description: "A rivet is missing."
"""


@pytest.fixture
def client(serve, monkeypatch):
    monkeypatch.setattr("reason_iad.server.freshness.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("reason_iad.server.app.keep_fresh.__defaults__", (0.2,))
    client = serve()
    until(lambda: ready(client))
    return client


def test_changed_knowledge_takes_over_without_refusing_a_request(client, picture):
    before, answers, stop = client.app.state.reason_iad.model.pids, [], threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.append(send(client, picture(), "part.png").status_code)

    loading = threading.Thread(target=load)
    loading.start()
    base = Path(os.environ["REASON_IAD_HOME"]) / "knowledge"
    base.mkdir()
    (base / "rivet_plate.yaml").write_text(RIVETS)
    until(lambda: client.app.state.reason_iad.model.pids != before)
    until(lambda: len(answers) > 20 and ready(client))
    stop.set()
    loading.join()
    assert set(answers) == {200}
    assert client.get("/readyz").status_code == 200


def test_models_that_cannot_be_loaded_anew_leave_the_old_ones_at_work(client, picture, monkeypatch):
    model = client.app.state.reason_iad.model
    before = model.pids
    settings = model._settings
    object.__setattr__(settings, "factory", "small_inspectors:load_nothing_at_all")
    assert client.portal.call(model.renew) is False
    assert model.pids == before
    assert send(client, picture()).status_code == 200


def test_what_runs_while_models_are_renewed_is_ended_by_its_own_process(client, picture):
    held = send(client, picture(), "slow_.png", wait=0).json()["id"]
    until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "running")
    assert client.portal.call(client.app.state.reason_iad.model.renew) is True
    until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "done")
    assert client.get("/v1/status").json()["workers_ready"] == 1
    time.sleep(0.2)
