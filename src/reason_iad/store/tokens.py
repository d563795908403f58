"""Bearer tokens kept in the record, by their hashes: made or revoked once, they hold at every server within seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reason_iad.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker


@dataclass(frozen=True)
class KeptToken:
    """A token as the record knows it."""

    name: str
    role: str
    sha256: str


class Tokens:
    """The tokens of a record; safe to share between threads."""

    def __init__(self, sessions: sessionmaker[Session], reads: sessionmaker[Session]) -> None:
        self._sessions, self._reads = sessions, reads

    def all(self) -> tuple[KeptToken, ...]:
        """Every token that holds now."""
        from sqlalchemy import select

        from reason_iad.store.tables import TokenRow

        with self._reads() as session:
            rows = session.scalars(select(TokenRow).order_by(TokenRow.name))
            return tuple(KeptToken(row.name, row.role, row.sha256) for row in rows)

    def add(self, token: KeptToken) -> None:
        """Keep a token.

        Raises:
            InputError: its name is taken.
        """
        from reason_iad.store.queries import now_of
        from reason_iad.store.tables import TokenRow

        with self._sessions.begin() as session:
            if session.get(TokenRow, token.name) is not None:
                raise InputError(f"the name {token.name!r} is taken; expected a new name, or revoke that token first")
            session.add(TokenRow(**vars(token), created_at=now_of(session)))

    def revoke(self, name: str) -> None:
        """Forget a token: within seconds no server knows it any more.

        Raises:
            InputError: there is none of that name.
        """
        from sqlalchemy import delete

        from reason_iad.store.tables import TokenRow

        with self._sessions.begin() as session:
            gone = delete(TokenRow).where(TokenRow.name == name).returning(TokenRow.name)
            if session.scalars(gone).first() is None:
                raise InputError(f"the record holds no token named {name!r}; expected one that was made in it")
