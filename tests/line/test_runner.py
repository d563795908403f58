"""The whole line: a film of parts in, messages out, nothing lost and nothing passed over in silence."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from made_line import CATEGORY, Broker, belt, film, photo
from until import until

from reason_iad.cli.line import open_record, run_line
from reason_iad.errors import InputError
from reason_iad.evidence.profile import load_profile
from reason_iad.images import encode_png
from reason_iad.line.message import LineMessage
from reason_iad.line.settings import LineSettings

COMPARING = "made_line:load_comparing"


def line(folder: Path, source: dict[str, Any], **more: Any) -> LineSettings:
    sinks = more.pop("sink", [{"kind": "jsonl", "path": str(folder / "parts.jsonl")}])
    named = {"name": "press", "category": CATEGORY} | more.pop("line", {})
    return LineSettings.model_validate(
        {"line": named, "source": source, "sink": sinks, "record": {"folder": str(folder / "data")}}
        | {"trigger": {"kind": "rest", "empty": str(empty(folder))}} | more
    )  # fmt: skip


def empty(folder: Path) -> Path:
    """A picture of the belt without a part."""
    (folder / "empty.png").write_bytes(encode_png(belt()))
    return folder / "empty.png"


def told(path: Path) -> list[LineMessage]:
    return [LineMessage.model_validate_json(row) for row in path.read_text("utf-8").splitlines()]


def verdicts(messages: list[LineMessage]) -> list[str | None]:
    return [one.part.verdict for one in messages if one.part is not None]


def test_each_part_of_a_film_is_found_at_rest_inspected_and_told_once(tmp_path: Path, filmed: Any) -> None:
    stained = [False, True, False, False, True]
    rests = film(tmp_path / "film.mp4", stained)
    settings = line(tmp_path, {"kind": "file", "path": str(tmp_path / "film.mp4"), "pace": "fast"})
    run_line(settings, threading.Event(), COMPARING)
    messages = told(tmp_path / "parts.jsonl")
    assert [one.sequence for one in messages] == list(range(1, len(messages) + 1))
    assert [one.notice.event for one in messages if one.notice] == ["started", "stopped"]
    assert verdicts(messages) == ["defective" if one else "normal" for one in stained]
    assert len(rests) == len(stained)
    store = open_record(settings)
    record = store.get(messages[1].part.inspection_id or "" if messages[1].part else "")
    (state,) = store.lines.states()
    store.close()
    assert record is not None
    assert (record.origin, record.who, record.state) == ("line", "press", "done")
    assert state.state["parts"] == {"normal": 3, "defective": 2}
    assert state.state["running"] is False


def test_what_waits_is_told_after_a_broker_was_killed_each_once_and_in_order(
    tmp_path: Path, filmed: Any, broker: Broker
) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    film(tmp_path / "film.mp4", [False] * 8)
    heard: list[LineMessage] = []
    client = Client(CallbackAPIVersion.VERSION2, "controller", clean_session=False)
    client.on_message = lambda _c, _d, message: heard.append(LineMessage.model_validate_json(message.payload))
    client.on_connect = lambda c, *_: c.subscribe("reason-iad/v1/+/DDATA/press/#", qos=1)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    settings = line(
        tmp_path, {"kind": "file", "path": str(tmp_path / "film.mp4"), "pace": "real"},
        sink=[{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port}],
    )  # fmt: skip
    running = threading.Thread(target=run_line, args=(settings, threading.Event(), COMPARING))
    running.start()
    until(lambda: len(heard) >= 3)
    broker.kill()
    time.sleep(1.0)
    broker.start()
    running.join(120)
    until(lambda: len({one.id for one in heard}) == 10)
    client.disconnect()
    client.loop_stop()
    first = list({one.id: one for one in heard}.values())
    assert [one.sequence for one in first] == list(range(1, 11))
    assert sum(one.kind == "part" for one in first) == 8


def test_parts_beyond_the_room_and_of_a_dead_process_are_told_as_not_inspected(tmp_path: Path, profile: Any) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_png(photo()))
    (folder / "crash.png").write_bytes(encode_png(photo(seed=1)))
    (folder / "no picture.png").write_bytes(b"\x89PNG")
    settings = line(tmp_path, {"kind": "folder", "path": str(folder), "settle": 0}, trigger={"kind": "each"})
    stop = threading.Event()
    running = threading.Thread(target=run_line, args=(settings, stop, COMPARING))
    running.start()
    until(lambda: (tmp_path / "parts.jsonl").exists() and len(told(tmp_path / "parts.jsonl")) >= 4, 60)
    stop.set()
    running.join(60)
    found = [one.part for one in told(tmp_path / "parts.jsonl") if one.part is not None]
    parts = {one.error and one.error[:17]: one.verdict for one in found}
    assert parts[None] is not None
    assert set(parts) == {None, "the model process", "no picture.png is"}


def test_a_fast_belt_and_a_slow_inspection_leave_no_part_untold(tmp_path: Path, filmed: Any) -> None:
    film(tmp_path / "film.mp4", [False] * 6)
    settings = line(tmp_path, {"kind": "file", "path": str(tmp_path / "film.mp4"), "pace": "real"}, line={"waiting": 1})
    run_line(settings, threading.Event(), "made_line:load_slow")
    found = verdicts(told(tmp_path / "parts.jsonl"))
    assert len(found) == 6
    assert None in found
    assert "normal" in found


def test_what_a_kill_interrupted_is_told_at_the_next_start(tmp_path: Path, filmed: Any) -> None:
    from reason_iad.types import InspectionRequest

    film(tmp_path / "film.mp4", [False])
    settings = line(tmp_path, {"kind": "file", "path": str(tmp_path / "film.mp4"), "pace": "fast"})
    store = open_record(settings)
    lost = store.accept(InspectionRequest(encode_png(photo()), name="lost.png"), "press", "line")
    store.close()
    run_line(settings, threading.Event(), COMPARING)
    first = told(tmp_path / "parts.jsonl")[0]
    assert first.part is not None
    assert (first.part.inspection_id, first.part.verdict) == (lost, None)
    assert "stopped during" in (first.part.error or "")


def test_dimmer_light_raises_one_alarm_with_two_pictures_and_changes_nothing(tmp_path: Path, profile: Any) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        light = 0.9 if number >= 12 else 1.0
        (folder / f"{number:02d}.png").write_bytes(encode_png(photo(seed=number, light=light)))
    settings = line(tmp_path, {"kind": "folder", "path": str(folder), "settle": 0}, trigger={"kind": "each"})
    stop = threading.Event()
    running = threading.Thread(target=run_line, args=(settings, stop, COMPARING))
    running.start()
    until(lambda: (tmp_path / "parts.jsonl").exists() and len(told(tmp_path / "parts.jsonl")) >= 42, 120)
    stop.set()
    running.join(60)
    (drift,) = [one.drift for one in told(tmp_path / "parts.jsonl") if one.drift is not None]
    assert drift.before_jpeg
    assert drift.after_jpeg
    assert {one.quantity: one.shift for one in drift.shifts}["brightness"] < -3
    store = open_record(settings)
    (alarm,) = store.lines.alarms("press")
    store.close()
    assert alarm.before_sha256 != alarm.after_sha256
    assert load_profile(CATEGORY).version == drift.profile_version == 1  # nothing was learned meanwhile
    assert 1 <= drift.since_parts <= 28
    assert drift.proposed_from


def test_a_line_without_a_profile_or_with_a_twin_does_not_start(tmp_path: Path) -> None:
    import filelock

    film(tmp_path / "film.mp4", [False])
    settings = line(tmp_path, {"kind": "file", "path": str(tmp_path / "film.mp4"), "pace": "fast"})
    with pytest.raises(InputError, match="no profile of 'plate'"):
        run_line(settings, threading.Event(), COMPARING)
    with filelock.FileLock(tmp_path / "data" / ".line-press.lock"), pytest.raises(InputError, match="another process"):
        run_line(settings, threading.Event(), COMPARING)


def test_messages_are_what_the_schema_says(tmp_path: Path, profile: Any) -> None:
    from reason_iad.line.message import schema_text

    published = Path(__file__).parent.parent.parent / "docs" / "line.schema.json"
    assert published.read_text("utf-8") == schema_text(), "write reason_iad.line.message.schema_text() there"
    assert json.loads(schema_text())["additionalProperties"] is False
