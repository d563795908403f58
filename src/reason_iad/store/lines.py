"""What the record knows of production lines: how each is, and when its parts drifted from the profile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError
from reason_iad.store.files import EvidenceFiles

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from reason_iad.store.tables import DriftAlarmRow


@dataclass(frozen=True)
class LineState:
    """A line as it last told of itself."""

    name: str
    sequence: int  # of its last message
    updated_at: datetime
    state: dict[str, Any]


@dataclass(frozen=True)
class DriftAlarm:
    """One alarm: what drifted, since when, and the two pictures that show it."""

    id: str
    line: str
    category: str
    quantity: str
    raised_at: datetime
    facts: dict[str, Any]
    before_sha256: str | None
    after_sha256: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class Lines:
    """The lines of a record; safe to share between threads."""

    def __init__(self, sessions: sessionmaker[Session], reads: sessionmaker[Session], files: EvidenceFiles) -> None:
        self._sessions, self._reads, self._files = sessions, reads, files

    def tell(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep how a line is now."""
        from sqlalchemy import update

        from reason_iad.store.queries import insert_if_new
        from reason_iad.store.tables import LineRow

        values = {"updated_at": datetime.now(UTC), "state": dict(state)}
        with self._sessions.begin() as session:
            insert_if_new(session, LineRow, {"name": name, "sequence": 0, **values})
            session.execute(update(LineRow).where(LineRow.name == name).values(**values))

    def states(self) -> tuple[LineState, ...]:
        """Every line, by name."""
        from sqlalchemy import select

        from reason_iad.store.tables import LineRow

        with self._reads() as session:
            rows = session.scalars(select(LineRow).order_by(LineRow.name))
            return tuple(LineState(row.name, row.sequence, row.updated_at, row.state) for row in rows)

    def unfinished(self, name: str) -> tuple[str, ...]:
        """Ids of the line's inspections that a stop interrupted, oldest first."""
        from sqlalchemy import select

        from reason_iad.store.tables import InspectionRow

        wanted = (
            select(InspectionRow.id)
            .where(
                InspectionRow.origin == "line", InspectionRow.who == name,
                InspectionRow.state.in_(("queued", "running")),
            )
            .order_by(InspectionRow.created_at, InspectionRow.id)
        )  # fmt: skip
        with self._reads() as session:
            return tuple(session.scalars(wanted))

    def alarm(
        self, alarm: DriftAlarm, before: bytes | None, after: bytes | None,
        also: Callable[[Session], None] | None = None,
    ) -> DriftAlarm:  # fmt: skip
        """Keep an alarm with its two pictures, JPEG; returns it with their digests.

        Args:
            alarm: as it was raised.
            before: a good part that the profile was learned from.
            after: a part that shows the drift.
            also: done in the same transaction, such as writing its message.
        """
        from reason_iad.store.queries import insert_if_new
        from reason_iad.store.tables import DriftAlarmRow, FileRow

        digests = [None if data is None else self._files.put(data) for data in (before, after)]
        with self._sessions.begin() as session:
            for digest, data in zip(digests, (before, after), strict=True):
                if digest is not None and data is not None:
                    values = {"sha256": digest, "media_type": "image/jpeg", "num_bytes": len(data)}
                    insert_if_new(session, FileRow, values | {"created_at": datetime.now(UTC)})
            row = DriftAlarmRow(
                id=alarm.id, line=alarm.line, category=alarm.category, quantity=alarm.quantity,
                raised_at=alarm.raised_at, facts=alarm.facts, before_sha256=digests[0], after_sha256=digests[1],
            )  # fmt: skip
            session.add(row)
            if also is not None:
                also(session)
            session.flush()
            return _alarm(row)

    def alarms(self, name: str | None = None, open_only: bool = False, limit: int = 100) -> tuple[DriftAlarm, ...]:
        """Alarms of a line, or of all, newest first."""
        from sqlalchemy import select

        from reason_iad.store.tables import DriftAlarmRow

        wanted = select(DriftAlarmRow).order_by(DriftAlarmRow.raised_at.desc(), DriftAlarmRow.id).limit(limit)
        if name is not None:
            wanted = wanted.where(DriftAlarmRow.line == name)
        if open_only:
            wanted = wanted.where(DriftAlarmRow.acknowledged_at.is_(None))
        with self._reads() as session:
            return tuple(_alarm(row) for row in session.scalars(wanted))

    def open_alarms(self) -> dict[str, int]:
        """How many alarms nobody has acknowledged, by line; lines without any are there, too."""
        from sqlalchemy import func, select

        from reason_iad.store.tables import DriftAlarmRow, LineRow

        counted = (
            select(LineRow.name, func.count(DriftAlarmRow.id))
            .outerjoin(
                DriftAlarmRow, (DriftAlarmRow.line == LineRow.name) & DriftAlarmRow.acknowledged_at.is_(None)
            )
            .group_by(LineRow.name)
        )  # fmt: skip
        with self._reads() as session:
            return {str(name): int(count) for name, count in session.execute(counted)}

    def find_alarm(self, identifier: str) -> DriftAlarm | None:
        """One alarm; None where there is none."""
        from reason_iad.store.tables import DriftAlarmRow

        with self._reads() as session:
            row = session.get(DriftAlarmRow, identifier)
            return None if row is None else _alarm(row)

    def acknowledge(self, identifier: str, who: str) -> DriftAlarm:
        """Note that a person has seen an alarm; the first one counts.

        Raises:
            InputError: there is no such alarm, or several begin like that.
        """
        from sqlalchemy import select

        from reason_iad.store.tables import DriftAlarmRow

        with self._sessions.begin() as session:
            named = select(DriftAlarmRow).where(DriftAlarmRow.id.startswith(identifier, autoescape=True)).limit(2)
            rows = list(session.scalars(named)) if identifier else []
            if len(rows) != 1:
                raise InputError(
                    f"{len(rows) or 'no'} alarms begin with {identifier!r}; expected one: list them with "
                    "`reason-iad line alarms`"
                )
            row = rows[0]
            if row.acknowledged_at is None:
                row.acknowledged_at, row.acknowledged_by = datetime.now(UTC), who[:100]
            return _alarm(row)


def new_id() -> str:
    """A name for a message or an alarm."""
    return secrets.token_hex(16)


def _alarm(row: DriftAlarmRow) -> DriftAlarm:
    return DriftAlarm(
        row.id, row.line, row.category, row.quantity, row.raised_at, dict(row.facts), row.before_sha256,
        row.after_sha256, row.acknowledged_at, row.acknowledged_by,
    )  # fmt: skip
