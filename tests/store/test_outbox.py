"""Messages of lines wait in the record until a sink has them, in order, whatever ends the program meanwhile."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from made_report import make_report

from reason_iad.errors import InputError
from reason_iad.images import encode_png
from reason_iad.store.lines import DriftAlarm, new_id
from reason_iad.store.outbox import Draft, adding
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


def draft(line: str = "press", sinks: tuple[str, ...] = ("mqtt", "file")) -> Draft:
    return Draft(new_id(), line, "part", sinks, lambda number: f"message {number}")


def test_a_message_waits_for_each_sink_until_that_sink_has_it(store: Store):
    assert [store.outbox.put(draft()) for _ in range(3)] == [1, 2, 3]
    first = store.outbox.waiting("press", "mqtt")
    assert [one.payload for one in first] == ["message 1", "message 2", "message 3"]
    store.outbox.delivered(first[0].id)
    assert [one.sequence for one in store.outbox.waiting("press", "mqtt")] == [2, 3]
    assert [one.sequence for one in store.outbox.waiting("press", "file")] == [1, 2, 3]
    assert store.outbox.counts("press") == {"mqtt": {"waiting": 2, "delivered": 1}, "file": {"waiting": 3}}


def test_each_line_counts_for_itself_and_four_threads_leave_no_gap(store: Store):
    def write(line: str) -> None:
        for _ in range(10):
            store.outbox.put(draft(line, ("file",)))

    threads = [threading.Thread(target=write, args=(line,)) for line in ("a", "b", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in ("a", "b"):
        assert [one.sequence for one in store.outbox.waiting(line, "file")] == list(range(1, 21))


def test_a_failed_attempt_leaves_the_message_first_and_a_refused_one_steps_aside(store: Store):
    store.outbox.put(draft())
    store.outbox.put(draft())
    first, second = store.outbox.waiting("press", "mqtt")
    store.outbox.failed(first.id, "nobody listens")
    assert store.outbox.waiting("press", "mqtt")[0].attempts == 1
    store.outbox.refused(first.id, "400")
    assert store.outbox.waiting("press", "mqtt") == (second,)
    assert store.outbox.counts("press")["mqtt"] == {"waiting": 1, "refused": 1}


def test_a_message_is_kept_with_the_end_of_its_inspection_or_not_at_all(store: Store):
    identifier = store.accept(InspectionRequest(encode_png(picture()), name="a.png"), "press", "line")
    store.start(identifier)

    def fail(session: object) -> None:
        adding([draft()])(session)  # type: ignore[arg-type]
        raise RuntimeError("a planted fault")

    with pytest.raises(RuntimeError, match="planted"):
        store.finish(identifier, make_report(), {}, fail)
    assert store.outbox.counts("press") == {}
    assert store.lines.unfinished("press") == (identifier,)
    store.finish(identifier, make_report(), {}, adding([draft()]))
    assert store.lines.unfinished("press") == ()
    assert len(store.outbox.waiting("press", "mqtt")) == 1


def test_pictures_may_follow_a_report_that_was_told_already(store: Store):
    identifier = store.accept(InspectionRequest(encode_png(picture()), name="a.png"), "press", "line")
    store.finish(identifier, make_report(), {}, adding([draft()]))
    store.attach(identifier, {"thumbnail": ("image/jpeg", b"small")})
    record = store.get(identifier)
    assert record is not None
    assert store.files.get(record.files["thumbnail"]) == b"small"


def test_only_delivered_messages_are_forgotten(store: Store):
    store.outbox.put(draft(sinks=("file",)))
    store.outbox.put(draft(sinks=("file",)))
    store.outbox.delivered(store.outbox.waiting("press", "file")[0].id)
    assert store.outbox.prune("press", datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.outbox.prune("press", datetime.now(UTC) + timedelta(hours=1)) == 1
    assert [one.sequence for one in store.outbox.waiting("press", "file")] == [2]
    assert store.outbox.put(draft()) == 3  # numbers are never given twice


def test_an_alarm_keeps_its_pictures_when_nothing_else_names_them(store: Store):
    made = DriftAlarm(
        new_id(), "press", "bracket", "brightness", datetime.now(UTC), {"since": 12}, None, None, None, None
    )
    kept = store.lines.alarm(made, b"before", b"after", adding([draft()]))
    store.prune_files(grace=0)
    assert kept.before_sha256 is not None
    assert kept.after_sha256 is not None
    assert store.files.get(kept.before_sha256) == b"before"
    assert store.files.get(kept.after_sha256) == b"after"
    assert store.lines.alarms("press", open_only=True) == (kept,)
    seen = store.lines.acknowledge(kept.id[:8], "anna")
    assert (seen.acknowledged_by, store.lines.acknowledge(kept.id, "bert").acknowledged_by) == ("anna", "anna")
    assert store.lines.alarms("press", open_only=True) == ()
    with pytest.raises(InputError, match="no alarms begin with 'x'"):
        store.lines.acknowledge("x", "anna")


def test_a_line_tells_how_it_is_without_losing_its_count(store: Store):
    store.outbox.put(draft())
    store.lines.tell("press", {"camera": "lost"})
    store.lines.tell("press", {"camera": "up"})
    (found,) = store.lines.states()
    assert (found.name, found.sequence, found.state) == ("press", 1, {"camera": "up"})


def picture():
    import numpy as np

    return np.zeros((32, 32, 3), np.uint8)
