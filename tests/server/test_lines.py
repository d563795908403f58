"""Lines that write into the server's record are told of, with their alarms, and a person can acknowledge one."""

from __future__ import annotations

from datetime import UTC, datetime

from reason_iad.store.lines import DriftAlarm, new_id
from reason_iad.store.store import Store


def test_a_line_its_alarm_and_both_pictures_are_told_and_the_alarm_acknowledged(serve, tmp_path, picture):
    client = serve()
    store = Store.open(f"sqlite:///{(tmp_path / 'data').absolute() / 'record.db'}", tmp_path / "data" / "evidence")
    assert client.get("/v1/lines").json() == []
    facts = {"shifts": [{"quantity": "brightness", "shift": -4.0}], "proposed_from": []}
    made = DriftAlarm(new_id(), "press-3", "plate", "brightness", datetime.now(UTC), facts, None, None, None, None)
    store.lines.tell("press-3", {"camera": "up"})
    store.lines.alarm(made, b"good part", None)
    (line,) = client.get("/v1/lines").json()
    assert (line["name"], line["state"]["camera"], line["open_alarms"][0]["id"]) == ("press-3", "up", made.id)
    assert 'reason_iad_line_alarms{line="press-3"} 1.0' in client.get("/metrics").text
    (alarm,) = client.get("/v1/lines/press-3/alarms").json()
    assert client.get(alarm["before"]).content == b"good part"
    assert alarm["after"] is None
    assert client.get(f"/v1/alarms/{made.id}/after").status_code == 404
    assert client.get("/v1/lines/other/alarms").status_code == 404
    assert client.post(f"/v1/alarms/{made.id}/acknowledge").json()["acknowledged_by"] == "local"
    assert client.post(f"/v1/alarms/{new_id()}/acknowledge").status_code == 404
    assert client.get("/v1/lines").json()[0]["open_alarms"] == []
    assert 'reason_iad_line_alarms{line="press-3"} 0.0' in client.get("/metrics").text
    assert store.audit_log()[0].action == "acknowledge drift"
    store.close()


def test_a_viewer_sees_alarms_and_acknowledges_none(serve, tmp_path):
    from reason_iad.server.settings import add_token, read_tokens

    secret = add_token(tmp_path / "tokens.json", "screen", "viewer")
    client = serve(tokens=read_tokens(tmp_path / "tokens.json"))
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get("/v1/lines", headers=headers).status_code == 200
    assert client.post(f"/v1/alarms/{new_id()}/acknowledge", headers=headers).status_code == 403
    assert client.get("/v1/lines").status_code == 401
