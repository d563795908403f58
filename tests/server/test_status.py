"""The whole of a server for an admin, its numbers for Prometheus, and the dashboard that shows them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from pathlib import Path

import pytest
from until import until

from reason_iad.server.settings import Token
from reason_iad.store.store import Store

DASHBOARD = Path(__file__).parent.parent.parent / "deploy" / "grafana-dashboard.json"
LINE = {
    "running": True, "camera": "up", "camera_losses": 0, "frames": 9, "frames_dropped": 1, "waiting": 2,
    "parts": {"normal": 7, "defective": 1}, "record_errors": 0, "delay_p95": 0.8,
    "sinks": {"mqtt": {"up": True, "delivered": 8, "failures": 0}},
    "drift": {"level": 0.25, "alarm": None, "parts": 8, "blind": None, "profile_version": 3},
}  # fmt: skip


def send(client, data: bytes, name: str = "part.png", wait: float = 30, **query):
    extra = "".join(f"&{key}={value}" for key, value in query.items())
    return client.post(f"/v1/inspections?wait={wait}{extra}", files={"image": (name, data, "image/png")})


def whole(client):
    return client.get("/v1/status?whole=true").json()["whole"]


def numbers(client) -> dict[str, float]:
    """Every number of /metrics by its name with its labels."""
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_the_whole_tells_who_is_at_what_and_what_waits(serve, picture, tmp_path):
    client = serve(workers=2)
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
    slow = [send(client, picture(), f"slow_{n}.png", wait=0).json()["id"] for n in range(2)]
    until(lambda: client.get("/v1/status").json()["running"] == 2)
    for n in range(3):
        send(client, picture(), f"lot_{n}.png", wait=0, priority="lot")
    found = until(lambda: (now := whole(client)) and all(one["doing"] for one in now["workers"]) and now)
    assert {one["id"] for one in found["workers"]} == set(slow)
    assert {one["doing"] for one in found["workers"]} == {"inspect"}
    assert len({one["pid"] for one in found["workers"]}) == 2
    assert all(one["memory_bytes"] > 10_000_000 for one in found["workers"])
    assert found["queue"]["waiting"] == {"question": 0, "person": 0, "lot": 3}
    assert found["queue"]["clients"] == 1
    assert found["queue"]["oldest_seconds"] >= 0
    assert found["record"]["kind"] == "sqlite"
    assert found["record"]["state"] == "ok"
    assert found["record"]["revision"].startswith("r000") or found["record"]["revision"]
    assert found["record"]["free_bytes"] > 0
    assert found["versions"]["model name"] == "scripted"
    assert {"python", "reason-iad", "torch"} <= set(found["versions"])
    read = numbers(client)
    assert read['reason_iad_waiting{priority="lot"}'] == 3
    assert read['reason_iad_worker_busy{worker="1"}'] == 1
    until(lambda: client.get("/v1/status").json()["counts"].get("defective") == 5)
    read = numbers(client)
    jobs = [read[f'reason_iad_worker_jobs_total{{kind="inspect",result="done",worker="{n}"}}'] for n in range(2)]
    assert sum(jobs) == 5
    assert min(jobs) >= 1
    assert sum(read[f'reason_iad_worker_seconds_total{{worker="{n}"}}'] for n in range(2)) > 4  # two slept for 2 s
    assert read['reason_iad_wait_seconds_count{priority="lot"}'] == 3
    assert sum(one["jobs"] for one in whole(client)["workers"]) == 5


def test_inspections_that_needed_no_answer_of_the_model_are_counted(serve, picture):
    client = serve()
    for name in ("normal_1.png", "part_2.png", "normal_3.png"):
        assert send(client, picture(), name).status_code == 200
    assert numbers(client)["reason_iad_inspections_unasked_total"] == 2


def test_the_death_of_a_process_is_counted_for_that_process(serve):
    client = serve(workers=2)
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
    os.kill(whole(client)["workers"][1]["pid"], signal.SIGKILL)
    until(lambda: [one["restarts"] for one in whole(client)["workers"]] == [0, 1])
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
    read = numbers(client)
    assert read['reason_iad_worker_restarts_total{worker="1"}'] == 1
    assert 'reason_iad_worker_restarts_total{worker="0"}' not in read


def test_lines_are_told_with_their_drift(serve, tmp_path):
    client = serve()
    store = Store.open(f"sqlite:///{(tmp_path / 'data').absolute() / 'record.db'}", tmp_path / "data" / "evidence")
    store.lines.tell("press-3", LINE)
    store.lines.tell("press-4", {"camera": "lost"})  # of a version that told less
    store.close()
    first, second = whole(client)["lines"]
    assert (first["name"], first["parts"], first["drift_level"]) == ("press-3", LINE["parts"], 0.25)
    assert (second["camera"], second["waiting"], second["drift_level"]) == ("lost", None, None)
    read = numbers(client)
    assert read['reason_iad_line_told_parts{line="press-3",verdict="normal"}'] == 7
    assert read['reason_iad_line_told_drift_level{line="press-3"}'] == 0.25
    assert read['reason_iad_line_told_age_seconds{line="press-4"}'] < 60


def test_only_an_admin_sees_the_whole(serve):
    tokens = tuple(
        Token(role, role, hashlib.sha256(role.encode()).hexdigest()) for role in ("viewer", "inspector", "admin")
    )
    client = serve("small_inspectors:load_never", tokens=tokens, stop_seconds=0.1)
    answers = {
        role: client.get("/v1/status?whole=true", headers={"authorization": f"Bearer {role}"}).status_code
        for role in ("nobody", "viewer", "inspector", "admin")
    }
    assert answers == {"nobody": 401, "viewer": 403, "inspector": 403, "admin": 200}
    assert client.get("/v1/status?whole=true").status_code == 401
    plain = client.get("/v1/status", headers={"authorization": "Bearer admin"})
    assert plain.json()["whole"] is None


def test_a_database_that_is_away_is_said_and_hides_nothing_else(serve, monkeypatch, picture):
    client = serve()
    until(lambda: client.get("/readyz").status_code == 200)
    engine = client.app.state.reason_iad.store._engine

    def away(*_: object) -> None:
        raise OSError("no route to host db.example")

    from sqlalchemy import event

    event.listen(engine, "do_connect", away)
    engine.dispose()  # open connections are gone, too
    body = client.get("/v1/status?whole=true").json()
    assert body["counts"] == {}
    assert body["whole"]["record"]["state"] == "away"
    assert body["whole"]["record"]["detail"] == "OSError"
    assert "db.example" not in json.dumps(body)
    assert body["whole"]["workers"][0]["state"] == "ready"
    assert numbers(client)["reason_iad_record_up"] == 0
    assert client.get("/readyz").json()["status"] == "no record"
    event.remove(engine, "do_connect", away)
    assert whole(client)["record"]["state"] == "ok"
    assert numbers(client)["reason_iad_record_up"] == 1


def families(text: str) -> dict[str, set[str]]:
    """Labels of every series of Prometheus' text, by its name."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_number_of_the_dashboard_exists_with_the_labels_it_is_grouped_by(serve, picture, tmp_path):
    promql = pytest.importorskip("promql_parser")
    from reason_iad.line.status import metrics_text

    client = serve()
    store = Store.open(f"sqlite:///{(tmp_path / 'data').absolute() / 'record.db'}", tmp_path / "data" / "evidence")
    store.lines.tell("press-3", LINE)
    store.close()
    assert send(client, picture()).status_code == 200
    done = client.get("/v1/inspections").json()["inspections"][0]["id"]
    client.post(f"/v1/inspections/{done}/feedback", json={"kind": "confirmed"})
    os.kill(whole(client)["workers"][0]["pid"], signal.SIGKILL)
    until(lambda: whole(client)["workers"][0]["restarts"])
    until(lambda: client.get("/readyz").status_code == 200)
    known = families(client.get("/metrics").text)
    for name, labels in families(metrics_text("press-3", LINE)).items():
        known.setdefault(name, set()).update(labels)
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 40
    scraped = {"instance", "job"}  # Prometheus adds them
    unknown = []
    for text in asked:
        promql.parse(text.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$line", ".*"))
        selectors = re.findall(r"\b((?:reason_iad|process)_\w+)(?:\{([^}]*)\})?", text)
        assert selectors, text
        grouped = {name for group in re.findall(r"by \(([^)]*)\)", text) for name in re.split(r",\s*", group)}
        for name, matchers in selectors:
            labels = grouped - {"le"} | set(re.findall(r"(\w+)(?:=~|!=|=)", matchers))
            if name not in known:
                unknown.append(name)
            elif missing := labels - known[name] - scraped:
                unknown.append(f"{name} {missing}")
    assert unknown == []
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)
