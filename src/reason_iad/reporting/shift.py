"""What a shift's report is made of, out of the record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.images import Pixels, read_image
from reason_iad.languages import _, translatable
from reason_iad.reporting.pdf import Shift, ShiftDrift, ShiftPart
from reason_iad.reporting.text import printable
from reason_iad.store.record import BoardFilter, Filter, Record
from reason_iad.store.store import Store
from reason_iad.types import InspectionReport

MOST_PICTURES = 400  # parts of a kind that are shown; more are counted and said
FEEDBACK = {
    "false_alarm": translatable("False alarm"), "missed": translatable("Missed defect"),
    "confirmed": translatable("Confirmed"),
}  # fmt: skip


@dataclass(frozen=True)
class _Listed:
    counts: Counter[str]
    ids: dict[str, list[str]]
    failed: list[tuple[str, str]]


def read_shift(store: Store, wanted: BoardFilter, since: datetime, until: datetime) -> Shift:
    """Everything about the parts of a time; pictures are read when their page is written.

    Args:
        store: the record.
        wanted: of which line or category.
        since: first moment.
        until: the end.

    Raises:
        InputError: the end is not after the beginning.
    """
    if until <= since:
        raise InputError(f"the shift ends at {until.isoformat()}, not after {since.isoformat()}; expected a later end")
    found = _list(store, wanted, since, until)
    failed = found.failed
    for verdict in ("defective", "uncertain"):
        if (more := len(found.ids[verdict]) - MOST_PICTURES) > 0:
            failed = [*failed, (verdict, _("{count} more are in the record and not shown here", count=more))]
    return Shift(
        title=" ".join(filter(None, (wanted.who, wanted.category))), since=since, until=until, counts=found.counts,
        stopped=_parts(store, found.ids["defective"][:MOST_PICTURES]),
        uncertain=_parts(store, found.ids["uncertain"][:MOST_PICTURES]),
        failed=failed, drift=_drift(store, wanted.who, since, until),
    )  # fmt: skip


def _list(store: Store, wanted: BoardFilter, since: datetime, until: datetime) -> _Listed:
    """Count the parts, and name those that are shown in the order they came."""
    counts: Counter[str] = Counter()
    ids: dict[str, list[str]] = {"defective": [], "uncertain": []}
    failed = []
    page = Filter(category=wanted.category, since=since, until=until, limit=200)
    while records := store.find(page):
        for record in records:
            if record.state not in ("done", "failed") or wanted.who not in (None, record.who):
                continue
            counts[record.verdict or "failed"] += 1
            if record.verdict in ids:
                ids[record.verdict].append(record.id)
            elif record.verdict is None:
                failed.append((record.name, record.error or ""))
        page = replace(page, before=(records[-1].created_at, records[-1].id))
    return _Listed(counts, {verdict: one[::-1] for verdict, one in ids.items()}, failed[::-1])


def _parts(store: Store, ids: Sequence[str]) -> Iterator[ShiftPart]:
    for identifier in ids:
        record = store.get(identifier)
        if record is not None and record.report is not None:
            report = InspectionReport.from_json(json.dumps(record.report))
            yield ShiftPart(record.created_at.astimezone(), report, _picture(store, record), _said(record))


def _said(record: Record) -> str:
    """What people said of a part."""
    return "; ".join(
        " ".join(filter(None, (_(FEEDBACK[one.kind]), _("by {who}", who=one.who), printable(one.comment))))
        for one in record.feedback
    )


def _picture(store: Store, record: Record) -> Pixels | None:
    """How a part looks; None where its picture is gone."""
    digest = record.files.get("preview") or record.files.get("image")
    return None if digest is None else _read(store, digest)


def _read(store: Store, digest: str) -> Pixels | None:
    try:
        return read_image(store.files.get(digest)).pixels
    except ReasonIADError:
        return None


def _drift(store: Store, line: str | None, since: datetime, until: datetime) -> tuple[ShiftDrift, ...]:
    alarms = [one for one in store.lines.alarms(line, limit=1000) if since <= one.raised_at < until]
    found = []
    for alarm in reversed(alarms):
        digests = [digest for digest in (alarm.before_sha256, alarm.after_sha256) if digest]
        pictures = tuple(p for digest in digests if (p := _read(store, digest)) is not None)
        found.append(
            ShiftDrift(alarm.raised_at.astimezone(), alarm.quantity, alarm.line, pictures, alarm.acknowledged_by)
        )
    return tuple(found)
