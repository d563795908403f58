"""How often a client may ask, counted once for all servers of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker


class Rates:
    """A bucket for each client, in the record: it holds `burst` requests and fills again evenly. PostgreSQL only."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def take(self, client: str, per_minute: int, burst: int) -> bool:
        """Count one request; whether it is allowed. One that is not leaves the bucket as it was."""
        from sqlalchemy import Double, extract, func, literal
        from sqlalchemy.dialects.postgresql import insert

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import RateRow as Row

        with self._sessions.begin() as session:
            now = moment(session)
            new = insert(Row).values(client=client[:255], level=burst - 1.0, at=now)
            level = func.least(literal(burst, Double()), Row.level + per_minute / 60 * extract("epoch", now - Row.at))
            taken = new.on_conflict_do_update(
                index_elements=["client"], set_={"level": level - 1, "at": now}, where=level >= 1
            )
            return session.scalars(taken.returning(Row.client)).first() is not None
