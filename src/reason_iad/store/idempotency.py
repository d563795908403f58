"""Requests that a client may send again without having them done again, each under a key that the client chose.

A client whose connection broke does not know whether its request was done. It sends it again under the same key (header
`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header) and is told what came of it the first time. Whoever takes
a request claims its key; what came of it is kept for `KEPT_HOURS`. A claim that nobody settled lapses, by the
database's clock: its server ended. An inspection settles the claim in the transaction that accepts it, so it is never
made twice.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reason_iad.errors import KeyInUseError, KeyReusedError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session, sessionmaker

KEPT_HOURS = 24.0  # for which a key belongs to a request
TIDY_SECONDS = 600.0  # after which keys that are no longer kept are deleted


@dataclass(frozen=True)
class Claim:
    """The right to do a request, until it lapses."""

    who: str
    key: str
    id: str


@dataclass(frozen=True)
class Settled:
    """What came of a request that was done before: an inspection, or another answer."""

    inspection_id: str | None
    answer: dict[str, Any] | None


class IdempotencyKeys:
    """The keys of a record; safe to share between threads and servers."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions, self._tidied, self._tidying = sessions, float("-inf"), threading.Lock()

    def claim(self, who: str, key: str, fingerprint: str, seconds: float) -> Claim | Settled:
        """Take a request, or learn what came of it before.

        Args:
            who: sent it; a key is one client's.
            key: that the client gave it.
            fingerprint: of all that was asked.
            seconds: for which nobody else may take it, unless it is settled or given back.

        Raises:
            KeyInUseError: it was taken and is not settled.
            KeyReusedError: another request came under this key.
        """
        from sqlalchemy import select

        from reason_iad.store.queries import insert_if_new, now_of
        from reason_iad.store.tables import IdempotencyRow as Row

        self._tidy()
        claim = Claim(who[:100], key, secrets.token_hex(16))
        with self._sessions.begin() as session:
            now = now_of(session)
            taken = {
                "fingerprint": fingerprint, "claim": claim.id, "created_at": now, "inspection_id": None, "answer": None,
                "claimed_until": now + timedelta(seconds=seconds),
            }  # fmt: skip
            insert_if_new(session, Row, {"who": claim.who, "key": key, **taken})
            row = session.scalars(select(Row).where(*_of(claim)).with_for_update()).one_or_none()
            if row is None:  # whoever had it gave it back between the two statements
                raise KeyInUseError(f"the key {key[:40]!r} was just given back; send it again")
            if row.claim == claim.id:
                return claim
            if row.created_at > now - timedelta(hours=KEPT_HOURS):
                if row.fingerprint != fingerprint:
                    raise KeyReusedError(
                        f"the key {key[:40]!r} came with another request before; expected a new one for each request"
                    )
                if row.claimed_until is None:
                    return Settled(row.inspection_id, row.answer)
                if row.claimed_until > now:
                    raise KeyInUseError(
                        f"the request with the key {key[:40]!r} is not answered yet; send it again soon"
                    )
            for name, value in taken.items():
                setattr(row, name, value)
        return claim

    def settle(self, claim: Claim, answer: dict[str, Any]) -> None:
        """Keep the answer to a request; nothing where the claim has lapsed and another took it."""
        from sqlalchemy import update

        from reason_iad.store.tables import IdempotencyRow as Row

        with self._sessions.begin() as session:
            session.execute(update(Row).where(*_of(claim, own=True)).values(answer=answer, claimed_until=None))

    def give_back(self, claim: Claim, settled: bool = False) -> None:
        """Let the key be as if it had never come: nothing was done, or (`settled`) it shall be done again."""
        from sqlalchemy import delete

        from reason_iad.store.tables import IdempotencyRow as Row

        with self._sessions.begin() as session:
            gone = delete(Row).where(*_of(claim, own=True))
            session.execute(gone if settled else gone.where(Row.claimed_until.is_not(None)))

    def forget_open(self) -> None:
        """Let go of what nobody settled; for the one server of a record, when it starts."""
        from sqlalchemy import delete

        from reason_iad.store.tables import IdempotencyRow as Row

        with self._sessions.begin() as session:
            session.execute(delete(Row).where(Row.claimed_until.is_not(None)))

    def _tidy(self) -> None:
        """Delete, now and then, keys that are kept no longer."""
        from sqlalchemy import delete

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import IdempotencyRow as Row

        with self._tidying:
            if time.monotonic() - self._tidied < TIDY_SECONDS:
                return
            self._tidied = time.monotonic()
        with self._sessions.begin() as session:
            old = Row.created_at < moment(session) - timedelta(hours=KEPT_HOURS)
            session.execute(delete(Row).where(old), execution_options={"synchronize_session": False})


def settle_with(session: Session, claim: Claim, inspection_id: str) -> None:
    """Settle a claim with an inspection, in the transaction that makes it.

    Raises:
        KeyInUseError: the claim has lapsed and another took it: the inspection must not be made.
    """
    from sqlalchemy import update

    from reason_iad.store.tables import IdempotencyRow as Row

    kept = update(Row).where(*_of(claim, own=True)).values(inspection_id=inspection_id, claimed_until=None)
    if session.scalars(kept.returning(Row.key)).first() is None:
        raise KeyInUseError(f"the request with the key {claim.key[:40]!r} is being done by another server")


def _of(claim: Claim, own: bool = False) -> tuple[ColumnElement[bool], ...]:
    """The row of a key; with `own` only while this claim has it."""
    from reason_iad.store.tables import IdempotencyRow as Row

    found = (Row.who == claim.who, Row.key == claim.key)
    return (*found, Row.claim == claim.id) if own else found
