"""Messages of production lines on their way: kept until a sink has taken them, in the order of their line.

A message is written in the transaction that ends its inspection, once for each sink, and leaves when the sink said that
it has it. A kill between these two moments delivers it again: at least once, and its id tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

Compose = Callable[[int], str]  # the text of a message, from its number in its line
MAX_ERROR = 500


@dataclass(frozen=True)
class Draft:
    """A message before it has its number.

    Attributes:
        message_id: its own, the same for all sinks.
        line: it comes from.
        kind: of message.
        sinks: names of those who get it.
        compose: its text, given its number.
    """

    message_id: str
    line: str
    kind: str
    sinks: tuple[str, ...]
    compose: Compose


@dataclass(frozen=True)
class Waiting:
    """A message that a sink has not taken yet."""

    id: int  # of the row
    message_id: str
    sequence: int
    kind: str
    payload: str
    attempts: int


class Outbox:
    """What waits for the sinks of every line; safe to share between threads."""

    def __init__(self, sessions: sessionmaker[Session], reads: sessionmaker[Session]) -> None:
        self._sessions, self._reads = sessions, reads

    def put(self, draft: Draft) -> int:
        """Keep a message; returns its number. On return it survives a kill."""
        with self._sessions.begin() as session:
            return add(session, draft)

    def waiting(self, line: str, sink: str, limit: int = 100) -> tuple[Waiting, ...]:
        """The oldest messages that a sink has not taken, in their order."""
        from sqlalchemy import select

        from reason_iad.store.tables import OutboxRow

        wanted = (
            select(OutboxRow)
            .where(OutboxRow.line == line, OutboxRow.sink == sink, OutboxRow.state == "waiting")
            .order_by(OutboxRow.sequence)
            .limit(limit)
        )
        with self._reads() as session:
            return tuple(
                Waiting(row.id, row.message_id, row.sequence, row.kind, row.payload, row.attempts)
                for row in session.scalars(wanted)
            )

    def delivered(self, identifier: int) -> None:
        """Note that a sink has a message."""
        self._change(identifier, state="delivered", ended_at=datetime.now(UTC))

    def refused(self, identifier: int, error: str) -> None:
        """Set a message aside that a sink will never take, so that those behind it go on; it stays to be looked at."""
        self._change(identifier, state="refused", error=error[:MAX_ERROR], ended_at=datetime.now(UTC))

    def failed(self, identifier: int, error: str) -> None:
        """Note an attempt that failed; the message waits on."""
        from reason_iad.store.tables import OutboxRow

        self._change(identifier, attempts=OutboxRow.attempts + 1, error=error[:MAX_ERROR])

    def counts(self, line: str) -> dict[str, dict[str, int]]:
        """How many messages of a line there are, by sink and state."""
        from sqlalchemy import func, select

        from reason_iad.store.tables import OutboxRow

        wanted = (
            select(OutboxRow.sink, OutboxRow.state, func.count())
            .where(OutboxRow.line == line)
            .group_by(OutboxRow.sink, OutboxRow.state)
        )
        found: dict[str, dict[str, int]] = {}
        with self._reads() as session:
            for sink, state, count in session.execute(wanted):
                found.setdefault(str(sink), {})[str(state)] = int(count)
        return found

    def prune(self, line: str, before: datetime) -> int:
        """Forget messages that were delivered before a moment; returns how many."""
        from sqlalchemy import delete

        from reason_iad.store.tables import OutboxRow

        gone = delete(OutboxRow).where(
            OutboxRow.line == line, OutboxRow.state == "delivered", OutboxRow.ended_at < before
        )
        with self._sessions.begin() as session:
            return len(list(session.scalars(gone.returning(OutboxRow.id))))

    def _change(self, identifier: int, **changes: object) -> None:
        from sqlalchemy import update

        from reason_iad.store.tables import OutboxRow

        with self._sessions.begin() as session:
            session.execute(update(OutboxRow).where(OutboxRow.id == identifier).values(**changes))


def add(session: Session, draft: Draft) -> int:
    """Give a message its number and keep it for each of its sinks, in the transaction of `session`."""
    from reason_iad.store.tables import OutboxRow

    sequence, now = _next(session, draft.line), datetime.now(UTC)
    payload = draft.compose(sequence)
    session.add_all(
        OutboxRow(
            line=draft.line, sink=sink, message_id=draft.message_id, sequence=sequence, kind=draft.kind,
            payload=payload, state="waiting", attempts=0, error="", created_at=now,
        )
        for sink in draft.sinks
    )  # fmt: skip
    return sequence


def adding(drafts: Sequence[Draft]) -> Callable[[Session], None]:
    """What adds messages to a transaction that someone else begins."""

    def add_all(session: Session) -> None:
        for draft in drafts:
            add(session, draft)

    return add_all


def _next(session: Session, line: str) -> int:
    """The number of a line's next message; the row's lock keeps two writers apart."""
    from sqlalchemy import update

    from reason_iad.store.queries import insert_if_new
    from reason_iad.store.tables import LineRow

    insert_if_new(session, LineRow, {"name": line, "sequence": 0, "updated_at": datetime.now(UTC), "state": {}})
    grown = update(LineRow).where(LineRow.name == line).values(sequence=LineRow.sequence + 1)
    return int(session.execute(grown.returning(LineRow.sequence)).scalar_one())
