"""The audit log as a hash chain: each line holds the hash of itself and of the line before.

Whoever changes, removes or inserts a line breaks every hash behind it, and `verify` finds the first that does not fit.
Whoever may write the whole database could make the chain anew; so note the head that `records verify` prints where
they cannot write, and give it to a later check.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reason_iad.errors import InputError
from reason_iad.files import sha256
from reason_iad.store.record import AuditEntry

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

START = "0" * 64  # what the first line is chained to


@dataclass(frozen=True)
class ChainState:
    """What a check of the audit log found.

    Attributes:
        lines: that fit, from the first on.
        head: hash of the last of them; with `lines` it names this state of the log.
        fault: what does not fit, in words; None where everything does.
    """

    lines: int
    head: str
    fault: str | None = None


def link(before: str, at: datetime, texts: Sequence[str]) -> str:
    """Hash of a line of the log.

    Args:
        before: hash of the line before it.
        at: when; without zone it is in UTC.
        texts: who, role, action, target, outcome, client.
    """
    moment = (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat(timespec="microseconds")
    return sha256(before, json.dumps([moment, *texts], ensure_ascii=True))


class AuditLog:
    """The lines of a record; safe to share between threads and between servers."""

    def __init__(self, sessions: sessionmaker[Session], reads: sessionmaker[Session]) -> None:
        self._sessions, self._reads = sessions, reads

    def add(self, who: str, role: str, action: str, target: str, outcome: str, client: str) -> None:
        """Add a line; those who add at once wait for each other, so that the chain has one order."""
        from sqlalchemy import select

        from reason_iad.store.queries import now_of
        from reason_iad.store.tables import AuditHeadRow, AuditRow

        texts = (who[:100], role[:16], action[:50], target[:255], outcome[:100], client[:64])
        with self._sessions.begin() as session:
            head = session.scalars(select(AuditHeadRow).with_for_update()).one()
            at = now_of(session)
            head.hash, head.lines = link(head.hash, at, texts), head.lines + 1
            names = ("who", "role", "action", "target", "outcome", "client")
            session.add(AuditRow(at=at, hash=head.hash, **dict(zip(names, texts, strict=True))))

    def newest(self, limit: int) -> tuple[AuditEntry, ...]:
        """The newest lines, newest first."""
        from sqlalchemy import select

        from reason_iad.store.tables import AuditRow

        with self._reads() as session:
            rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit))
            return tuple(AuditEntry(r.at, r.who, r.role, r.action, r.target, r.outcome, r.client) for r in rows)

    def verify(self, noted: str | None = None) -> ChainState:
        """Check every line, from the first on.

        Args:
            noted: LINES:HASH that an earlier check gave; the log must have been there.

        Raises:
            InputError: `noted` is no such pair.
        """
        from sqlalchemy import select

        from reason_iad.store.tables import AuditHeadRow, AuditRow

        wanted = None if noted is None else _noted(noted)
        with self._reads() as session:
            if session.get_bind().dialect.name == "postgresql":  # one state of the log, though others write
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            head = session.scalars(select(AuditHeadRow)).one()
            lines, last, seen = 0, START, wanted is None or wanted == (0, START)
            every = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=1000)
            with session.scalars(every) as rows:
                for row in rows:
                    texts = (row.who, row.role, row.action, row.target, row.outcome, row.client)
                    expected = link(last, row.at, texts)
                    if row.hash != expected:
                        why = "has no hash" if row.hash is None else "does not fit the one before it"
                        told = f"line {lines + 1} ({row.at:%Y-%m-%d %H:%M:%S}, {row.action} by {row.who}) {why}"
                        return ChainState(lines, last, told)
                    lines, last = lines + 1, expected
                    seen = seen or (lines, last) == wanted
        if (head.lines, head.hash) != (lines, last):
            return ChainState(lines, last, f"the log ends after {lines} lines; expected {head.lines}")
        return ChainState(lines, last, None if seen else f"the log was never at {noted}")


def _noted(text: str) -> tuple[int, str]:
    lines, _, digest = text.partition(":")
    if not lines.isdecimal() or len(digest) != len(START):
        raise InputError(f"the head is {text!r}; expected LINES:HASH as `reason-iad records verify` prints it")
    return int(lines), digest
