"""Several servers on one real PostgreSQL and one folder of evidence: as one to whoever asks them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ports import free_port
from sqlalchemy import text
from until import until

from reason_iad.errors import InputError
from reason_iad.server.settings import Limits, new_token
from reason_iad.store.engine import create
from reason_iad.store.store import Store
from reason_iad.store.tokens import KeptToken

HERE = Path(__file__).parent
SERVE = """
import datetime, json, sys
from pathlib import Path
here, data, url, port, hours, more = sys.argv[1:]
sys.path[:0] = [here, str(Path(here).parent / "store")]
if int(hours):  # a clock that is wrong, for this process and what it starts
    plain = datetime.datetime
    class Off(plain):
        @classmethod
        def now(cls, tz=None):
            return plain.now(tz) + datetime.timedelta(hours=int(hours))
    datetime.datetime = Off
if __name__ == "__main__":
    from reason_iad.cli.serve import serve
    from reason_iad.server.settings import Limits, Settings
    serve(Settings(
        data=Path(data), database=url, port=int(port), factory="small_inspectors:load_scripted", lease_seconds=2.0,
        **{"limits": Limits(requests_per_minute=100_000, burst=100_000), "stop_seconds": 1} | json.loads(more),
    ))
"""


def send(client, data: bytes, name: str = "part.png", wait: float = 30, **query):
    extra = "".join(f"&{key}={value}" for key, value in query.items())
    return client.post(f"/v1/inspections?wait={wait}{extra}", files={"image": (name, data, "image/png")})


def ready(client) -> bool:
    return client.get("/readyz").status_code == 200


def told(client, identifier: str) -> list[tuple[str, dict]]:
    """The events of an inspection, from the first to the last."""
    stream = client.get(f"/v1/inspections/{identifier}/events").text
    blocks = [block.splitlines() for block in stream.split("\n\n") if block.startswith("event: ")]
    return [(kind[7:], json.loads(data[6:])) for kind, data in blocks]


@pytest.fixture
def two(serve, shared_url):
    clients = [serve(database=shared_url, port=8400 + n, lease_seconds=2.0) for n in range(2)]
    until(lambda: all(ready(client) for client in clients))
    return clients


@pytest.fixture
def start(shared_url, tmp_path):
    """Start a server as a process of its own; gives the process and a client of it."""
    script = tmp_path / "serve_shared.py"
    script.write_text(SERVE)
    made = []

    def run(hours: int = 0, **more) -> tuple[subprocess.Popen, httpx.Client]:
        port = free_port()
        command = [sys.executable, script, HERE, tmp_path / "data", shared_url, port, hours, json.dumps(more)]
        process = subprocess.Popen([str(part) for part in command])
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        made.append((process, client))
        until(lambda: ready(client), 60)
        return process, client

    yield run
    for process, client in made:
        client.close()
        process.kill()
        process.wait()


def test_any_server_tells_of_any_inspection_from_the_first_event_to_the_last(two, picture):
    first, second = two
    identifier = send(first, picture(), "slow_.png", wait=0).json()["id"]
    with ThreadPoolExecutor(2) as pool:  # while it runs, at both
        seen = list(pool.map(lambda client: told(client, identifier), two))
    late = told(second, identifier)  # and after it
    assert [kind for kind, _ in late] == ["queued", "started", *["stage"] * 6, "done"]
    assert seen == [late, late]
    assert [data["at"] for _, data in late] == sorted(data["at"] for _, data in late)
    assert second.get(f"/v1/inspections/{identifier}").json()["report"]["verdict"] == "defective"
    assert second.get(f"/v1/inspections/{identifier}/pictures/preview").status_code == 200


def test_a_free_server_takes_what_came_to_the_other_one(two, picture):
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda n: send(two[0], picture(seed=n), f"slow_{n}.png"), range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    with two[0].app.state.reason_iad.store._reads() as session:
        by = set(session.execute(text("SELECT leased_by FROM inspections")).scalars())
    assert by == {client.app.state.reason_iad.queue.server for client in two}


def test_a_failure_reaches_whoever_waits_at_the_other_server(two, picture):
    held = send(two[0], picture(), "slow_.png", wait=0)  # so that the next may go to the other
    for name, status, code in (("refuse_.png", 422, "not_inspectable"), ("fault_.png", 500, "failed")):
        for client in two:
            answer = send(client, picture(), name)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert held.status_code == 202


def test_questions_and_feedback_work_at_a_server_that_did_not_inspect(two, picture):
    identifier = send(two[0], picture()).json()["id"]
    for client in two:
        asked = client.post(f"/v1/inspections/{identifier}/questions", json={"question": "Where is it?"})
        assert asked.status_code == 200, asked.text
    said = two[1].post(f"/v1/inspections/{identifier}/feedback", json={"kind": "confirmed"})
    assert said.status_code == 201
    assert two[0].get(f"/v1/inspections/{identifier}").json()["feedback"][0]["kind"] == "confirmed"


def test_the_places_of_all_servers_count_together(serve, shared_url, picture):
    changed = {"database": shared_url, "queue_size": 2, "lease_seconds": 2.0, "stop_seconds": 0.2}
    clients = [serve(port=8400 + n, **changed) for n in range(2)]
    until(lambda: all(ready(client) for client in clients))
    until(lambda: all(client.app.state.reason_iad.queue.room == 4 for client in clients))
    running = [send(clients[n], picture(), f"stuck_{n}.png", wait=0) for n in range(2)]
    until(lambda: sum(client.get("/v1/status").json()["running"] for client in clients) == 2)
    waiting = [send(clients[0], picture(), f"part_{n}.png", wait=0) for n in range(4)]
    assert [answer.status_code for answer in running + waiting] == [202] * 6
    assert waiting[-1].json()["position"] == 4
    until(lambda: clients[1].get("/v1/status").json()["waiting"] == 4)
    assert send(clients[1], picture(), "one too many.png", wait=0).status_code == 429


def test_a_killed_server_loses_nothing_and_the_other_one_ends_what_it_was_at(start, picture):
    process, first = start()
    ids = [send(first, picture(), name, wait=0).json()["id"] for name in ("slow_1.png", "part_2.png", "part_3.png")]
    until(lambda: first.get(f"/v1/inspections/{ids[0]}").json()["state"] == "running")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, second = start()
    until(lambda: all(second.get(f"/v1/inspections/{one}").json()["state"] == "done" for one in ids), 20)
    kinds = [kind for kind, _ in told(second, ids[0])]
    assert kinds[:2] == ["queued", "started"]
    assert kinds.count("started") == 2
    assert kinds.count("done") == 1
    assert [data["attempt"] for kind, data in told(second, ids[0]) if kind == "started"] == [1, 2]


def test_an_inspection_that_outlives_no_server_has_failed_with_its_reason(start, picture):
    process, first = start()
    identifier = send(first, picture(), "stuck_.png", wait=0).json()["id"]
    for _ in range(2):
        until(lambda client=first: client.get(f"/v1/inspections/{identifier}").json()["state"] == "running")
        until(lambda client=first: client.get("/v1/status").json()["running"] == 1, 20)
        process.kill()
        process.wait()
        process, first = start()
    found = until(lambda: (body := first.get(f"/v1/inspections/{identifier}").json())["state"] == "failed" and body, 20)
    assert "ended twice during this inspection" in found["error"]
    assert [kind for kind, _ in told(first, identifier) if kind != "stage"] == [
        "queued", "started", "started", "failed",
    ]  # fmt: skip


def test_a_server_that_is_stopped_gives_back_what_it_cannot_finish(start, picture):
    process, first = start()
    _, second = start()
    ids = [send(client, picture(), "slow_.png", wait=0).json()["id"] for client in (first, second) for _ in range(2)]
    until(lambda: first.get("/v1/status").json()["running"] == 1)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    until(lambda: all(second.get(f"/v1/inspections/{one}").json()["state"] == "done" for one in ids), 30)
    for one in ids:
        assert [data for kind, data in told(second, one) if kind == "started"][-1]["attempt"] == 1


def test_servers_whose_clocks_are_an_hour_apart_share_a_record(start, picture):
    (_, ahead), (_, behind) = start(1), start(-1)
    answers = [send(client, picture(seed=n), f"part_{n}.png") for n in range(3) for client in (ahead, behind)]
    assert [answer.status_code for answer in answers] == [200] * 6
    listed = behind.get("/v1/inspections").json()["inspections"]
    assert [one["id"] for one in listed] == [answer.json()["id"] for answer in reversed(answers)]
    for client in (ahead, behind):
        assert client.get("/v1/board?hours=0.5").json()["counts"] == {"defective": 6}
    held = send(ahead, picture(), "slow_.png", wait=0).json()["id"]
    time.sleep(3)  # longer than the lease: signs of life keep it, whatever the clocks say
    assert [kind for kind, _ in told(behind, held) if kind == "started"] == ["started"]


def test_a_new_server_takes_over_from_an_old_one_without_refusing_a_request(start, picture):
    """As behind a proxy, which asks /readyz ten times a second and sends to whoever is ready."""
    ports, ready_now, answers, stop = [], {}, [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for port in ports:
                try:
                    ready_now[port] = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
                except httpx.TransportError:
                    ready_now[port] = False
            time.sleep(0.1)

    def load(number: int) -> None:
        while not stop.is_set():
            port = next(port for port in ports if ready_now.get(port))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                answers.append(send(client, picture(seed=number), f"part_{number}.png"))

    old, first = start(linger_seconds=6.0)
    ports.append(first.base_url.port)
    watcher = threading.Thread(target=watch)
    watcher.start()
    until(lambda: ready_now.get(ports[0]))
    clients = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    _, second = start(linger_seconds=6.0)
    ports.append(second.base_url.port)
    until(lambda: ready_now.get(ports[1]))
    before = len(answers)
    old.send_signal(signal.SIGTERM)
    until(lambda: not ready_now[ports[0]])
    assert first.get("/healthz").status_code == 200  # and it answers on
    old.wait(30)
    until(lambda: len(answers) > before + 10)
    stop.set()
    for thread in (*clients, watcher):
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 202}  # done, or accepted: none was refused
    states = {second.get(f"/v1/inspections/{answer.json()['id']}").json()["state"] for answer in answers}
    assert states == {"done"}


def test_a_newer_server_that_changes_the_tables_under_an_older_one_costs_nothing(start, picture, shared_url, tmp_path):
    """Its migration comes while the older one inspects: what a later version would add, and then what shuts it out."""
    _, older = start()
    held = send(older, picture(), "slow_.png", wait=0).json()["id"]
    until(lambda: older.get(f"/v1/inspections/{held}").json()["state"] == "running")
    engine = create(shared_url)
    with engine.begin() as connection:
        for table in ("inspections", "events", "audit", "idempotency_keys", "servers"):
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN later VARCHAR(16) NOT NULL DEFAULT ''"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    until(lambda: older.get(f"/v1/inspections/{held}").json()["state"] == "done")
    assert send(older, picture(seed=1)).status_code == 200
    _, beside = start()  # another of the older version, which the newer one lets in
    assert send(beside, picture(seed=2)).status_code == 200
    with engine.begin() as connection:
        connection.execute(text("UPDATE facts SET value = '9999' WHERE name = 'oldest'"))
    engine.dispose()
    with pytest.raises(InputError, match="revision 9999, which this version does not know; install the version"):
        Store.open(shared_url, tmp_path / "data" / "evidence")
    states = {one["state"] for one in older.get("/v1/inspections").json()["inspections"]}
    assert states == {"done"}


def test_tokens_of_the_record_and_rates_hold_at_every_server_within_seconds(serve, shared_url):
    limits = Limits(requests_per_minute=6, burst=6)
    clients = [
        serve("small_inspectors:load_never", database=shared_url, port=8460 + n, token_source="record", limits=limits)
        for n in range(2)
    ]
    store = clients[0].app.state.reason_iad.store
    token, secret = new_token("ann", "viewer")
    kept = {"authorization": f"Bearer {secret}"}
    assert [client.get("/v1/inspections", headers=kept).status_code for client in clients] == [401, 401]
    store.tokens.add(KeptToken(token.name, token.role, token.sha256))
    until(lambda: clients[1].get("/v1/status", headers=kept).json()["who"] == "ann", 10)
    statuses = [clients[n % 2].get("/v1/inspections?limit=1", headers=kept).status_code for n in range(12)]
    assert 6 <= statuses.count(200) <= 8  # with what came back meanwhile; each alone would have let 6 of 6 pass
    assert statuses[-1] == 429
    store.tokens.revoke("ann")
    time.sleep(2.2)
    assert clients[1].get("/v1/status", headers=kept).json()["who"] is None


def test_a_server_on_sqlite_says_that_it_serves_alone(serve):
    serve("small_inspectors:load_never")
    with pytest.raises(InputError, match="SQLite serves one"):
        serve("small_inspectors:load_never")
