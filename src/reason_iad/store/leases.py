"""Inspections that several servers share: whose turn it is, who is at it, and what becomes of those of a dead server.

A server leases an inspection (`take`), says now and then that it is still at it (`beat`), and ends it through the
store. A lease that was not renewed in time lapses: another server takes the inspection again, and after `MAX_ATTEMPTS`
it has failed. Every moment is one of the database's clock, so the clocks of the servers do not matter. PostgreSQL only:
it alone hands out a row to one server and lets the others pass it by (`FOR UPDATE SKIP LOCKED`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from reason_iad.errors import LeaseLostError
from reason_iad.store.notices import notify

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session, sessionmaker

    from reason_iad.store.tables import InspectionRow

MAX_ATTEMPTS = 2  # an inspection is done again once after its server ended
GIVEN_UP = "The server ended twice during this inspection; look at the image and the servers, then inspect it again."
ENDINGS = ("done", "failed")
GONE_SECONDS = 15.0  # after which a server that is silent does not count any more
KEPT_HOURS = 1.0  # for which the events of an inspection are kept after its end
MAX_LISTED = 1000  # waiting inspections whose places are known


@dataclass(frozen=True)
class Lease:
    """An inspection that this server is at."""

    id: str
    who: str
    priority: str
    attempt: int  # from 1
    waited: float  # seconds since it came


@dataclass(frozen=True)
class Queued:
    """An inspection that waits."""

    id: str
    who: str
    priority: str
    waited: float  # seconds since it came


@dataclass(frozen=True)
class Event:
    """Something that happened to an inspection, `milliseconds` after it came."""

    id: int
    event: str
    data: dict[str, Any]
    milliseconds: float


@dataclass(frozen=True)
class ServerState:
    """A server as it last told of itself."""

    id: str
    name: str
    version: str
    workers: int
    ready: int
    running: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Beat:
    """What a sign of life brought back.

    Attributes:
        lost: inspections that are no longer this server's.
        waiting: those that wait, oldest first.
        servers: that are there, this one included.
    """

    lost: frozenset[str]
    waiting: tuple[Queued, ...]
    servers: int


class Leases:
    """The inspections of one server among several; safe to share between threads."""

    def __init__(
        self, sessions: sessionmaker[Session], reads: sessionmaker[Session], server: str, seconds: float
    ) -> None:
        """Lease for the server with the id `server`, for `seconds` at a time."""
        self._sessions, self._reads, self.server, self.seconds = sessions, reads, server, seconds

    def take(self, lot_first: bool = False, at_them: Collection[str] = ()) -> Lease | None:
        """Begin the inspection whose turn it is; None where none waits.

        First those whose server ended; then a person's before a lot's, or the other way round; and among these the
        client's that was served longest ago.

        Args:
            lot_first: it is a lot's turn.
            at_them: inspections that this server is still at, though their leases may have lapsed.
        """
        from reason_iad.store.queries import now_of

        with self._sessions.begin() as session:
            while (row := session.scalars(_next(lot_first, at_them)).first()) is not None:
                if row.attempts >= MAX_ATTEMPTS:
                    _give_up(session, row)
                    continue
                now = now_of(session)
                row.state, row.attempts, row.started_at = "running", row.attempts + 1, now
                row.leased_by, row.lease_until = self.server, now + timedelta(seconds=self.seconds)
                add_event(session, row.id, "started", {"attempt": row.attempts})
                return Lease(row.id, row.who, row.priority, row.attempts, (now - row.created_at).total_seconds())
        return None

    def beat(self, facts: Mapping[str, Any], running: Collection[str]) -> Beat:
        """Say that this server is there and at some inspections; their leases are renewed.

        Args:
            facts: name, version, workers, ready: columns of the table of servers.
            running: ids of the inspections it is at.
        """
        from sqlalchemy import func, select, update
        from sqlalchemy.dialects.postgresql import insert

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import InspectionRow as Row
        from reason_iad.store.tables import ServerRow

        with self._sessions.begin() as session:
            now = moment(session)
            told = {**facts, "running": len(running), "seen_at": now}
            row = insert(ServerRow).values(id=self.server, started_at=now, **told)
            session.execute(row.on_conflict_do_update(index_elements=["id"], set_=told))
            kept = session.scalars(
                update(Row)
                .where(Row.id.in_(running), self._is_ours())
                .values(lease_until=now + timedelta(seconds=self.seconds))
                .returning(Row.id)
            )
            lost = frozenset(running) - set(kept)
            waiting = session.execute(
                select(Row.id, Row.who, Row.priority, now - Row.created_at)
                .where(Row.state == "queued", Row.origin == "server")
                .order_by(Row.created_at, Row.id)
                .limit(MAX_LISTED)
            )
            queued = tuple(Queued(one[0], one[1], one[2], one[3].total_seconds()) for one in waiting)
            alive = select(func.count()).where(ServerRow.seen_at > now - timedelta(seconds=GONE_SECONDS))
            return Beat(lost, queued, session.scalar(alive) or 1)

    def release(self, identifier: str) -> None:
        """Give an inspection back that was begun and cannot be finished here; another server begins it anew."""
        from sqlalchemy import update

        from reason_iad.store.tables import InspectionRow as Row

        with self._sessions.begin() as session:
            given = (
                update(Row)
                .where(Row.id == identifier, self._is_ours())
                .values(state="queued", attempts=Row.attempts - 1, leased_by=None, lease_until=None, started_at=None)
            )
            if session.scalars(given.returning(Row.id)).first() is not None:
                add_event(session, identifier, "queued", {"again": True})

    def tell(self, identifier: str, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Let every server know what happened to an inspection that this one is at.

        Raises:
            LeaseLostError: it is no longer this server's.
        """
        from sqlalchemy import select

        from reason_iad.store.tables import InspectionRow

        with self._sessions.begin() as session:
            held = select(InspectionRow.id).where(InspectionRow.id == identifier, self._is_ours()).with_for_update()
            if session.scalars(held).first() is None:
                raise LeaseLostError(f"the inspection {identifier} is at another server now")
            for event, data in events:
                add_event(session, identifier, event, data)

    def events(self, identifier: str, after: int = 0) -> tuple[Event, ...]:
        """What happened to an inspection, in order, behind the event with the id `after`."""
        from sqlalchemy import select

        from reason_iad.store.tables import EventRow, InspectionRow

        wanted = (
            select(EventRow.id, EventRow.event, EventRow.data, EventRow.at - InspectionRow.created_at)
            .join(InspectionRow, InspectionRow.id == EventRow.inspection_id)
            .where(EventRow.inspection_id == identifier, EventRow.id > after)
            .order_by(EventRow.id)
        )
        with self._reads() as session:
            return tuple(
                Event(number, event, dict(data), round(1000 * since.total_seconds(), 1))
                for number, event, data, since in session.execute(wanted)
            )

    def servers(self) -> tuple[ServerState, ...]:
        """The servers that are there, by name."""
        from sqlalchemy import select

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import ServerRow as Row

        with self._reads() as session:
            seen = moment(session) - timedelta(seconds=GONE_SECONDS)
            rows = session.scalars(select(Row).where(Row.seen_at > seen).order_by(Row.name, Row.id))
            return tuple(
                ServerState(r.id, r.name, r.version, r.workers, r.ready, r.running, r.started_at, r.seen_at)
                for r in rows
            )

    def leave(self) -> None:
        """Note that this server has ended."""
        from sqlalchemy import delete

        from reason_iad.store.tables import ServerRow

        with self._sessions.begin() as session:
            session.execute(delete(ServerRow).where(ServerRow.id == self.server))

    def tidy(self, hours: float = KEPT_HOURS) -> None:
        """Forget events of inspections that ended hours ago, clients that were silent, and servers that are gone."""
        from sqlalchemy import delete, exists

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import EventRow, RateRow, ServerRow
        from reason_iad.store.tables import InspectionRow as Row

        with self._sessions.begin() as session:
            old = moment(session) - timedelta(hours=hours)
            ended = exists().where(Row.id == EventRow.inspection_id, Row.finished_at < old)
            every = {"synchronize_session": False}
            session.execute(delete(EventRow).where(EventRow.at < old, ended), execution_options=every)
            session.execute(delete(RateRow).where(RateRow.at < old), execution_options=every)
            session.execute(delete(ServerRow).where(ServerRow.seen_at < old), execution_options=every)

    def _is_ours(self) -> ColumnElement[bool]:
        from reason_iad.store.tables import InspectionRow

        return (InspectionRow.leased_by == self.server) & (InspectionRow.state == "running")


def add_event(session: Session, identifier: str, event: str, data: Mapping[str, Any]) -> None:
    """Keep an event in the transaction of `session`, and tell the servers of it."""
    from reason_iad.store.queries import moment
    from reason_iad.store.tables import EventRow

    session.add(EventRow(inspection_id=identifier, at=moment(session), event=event, data=dict(data)))
    session.flush()  # its number is its place: behind the lock of the inspection's row
    notify(session, identifier, event)


def _next(lot_first: bool, at_them: Collection[str]) -> Any:
    """The inspection whose turn it is, locked; those that another server is just taking are passed by."""
    from sqlalchemy import case, func, or_, select
    from sqlalchemy.orm import aliased, defer

    from reason_iad.store.tables import InspectionRow as Row

    other = aliased(Row)
    lapsed = (Row.state == "running") & or_(Row.lease_until.is_(None), Row.lease_until < func.clock_timestamp())
    served = select(func.max(other.started_at)).where(other.who == Row.who).scalar_subquery()
    turn = case((Row.state == "running", 0), (Row.priority == ("lot" if lot_first else "person"), 1), else_=2)
    wanted = select(Row).where(Row.origin == "server", or_(Row.state == "queued", lapsed), Row.id.not_in(at_them))
    order = (turn, served.nulls_first(), Row.created_at, Row.id)
    return wanted.options(defer(Row.report)).order_by(*order).limit(1).with_for_update(skip_locked=True, of=Row)


def _give_up(session: Session, row: InspectionRow) -> None:
    from reason_iad.store.queries import now_of

    row.state, row.error, row.finished_at, row.lease_until = "failed", GIVEN_UP, now_of(session), None
    add_event(session, row.id, "failed", {"error": GIVEN_UP, "code": "interrupted"})
