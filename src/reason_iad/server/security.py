"""Who is asking, what they may do, and how often."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from reason_iad.errors import InputError
from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import ROLES, Role, Settings, Token, read_tokens

if TYPE_CHECKING:
    from reason_iad.store.store import Store

_log = logging.getLogger("reason_iad.server")
READ_SECONDS = 2.0  # after which tokens are read again
MAX_CLIENTS = 10_000  # whose rate is remembered


@dataclass(frozen=True)
class Principal:
    """Who acts, and as what."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Principal("local", "admin")  # without tokens: whoever sits at this machine


class TokenBook:
    """The tokens that hold now: a change in their file or in the record holds within `READ_SECONDS`."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._tokens, self._read_at = settings.tokens, float("-inf")
        self._lock = threading.Lock()

    def current(self) -> tuple[Token, ...]:
        """Those of now; where they cannot be read, those that were known last."""
        source = self._settings.token_source
        with self._lock:
            if source is None or time.monotonic() - self._read_at < READ_SECONDS:
                return self._tokens
            self._read_at = time.monotonic()
        try:
            if isinstance(source, Path):
                self._tokens = read_tokens(source)
            else:
                found = self._store.tokens.all()
                self._tokens = tuple(Token(one.name, cast(Role, one.role), one.sha256) for one in found)
        except InputError as error:
            _log.warning("the tokens cannot be read again, so those of before hold: %s", error)
        return self._tokens


def authenticate(settings: Settings, tokens: TokenBook, authorization: str | None) -> Principal:
    """Find out who is asking from the Authorization header.

    Raises:
        HttpProblem: 401 without a token, or with one that is not known.
    """
    if not settings.guarded:
        return LOCAL
    scheme, _, presented = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise HttpProblem(
            401, "no_token", "no bearer token was sent; expected the header 'Authorization: Bearer TOKEN'"
        )
    matching = [token for token in tokens.current() if token.matches(presented.strip())]
    if not matching:
        raise HttpProblem(401, "wrong_token", "the bearer token is not known; ask for a new one")
    return Principal(matching[0].name, matching[0].role)


def require(principal: Principal, role: Role) -> None:
    """Refuse what a role does not include.

    Raises:
        HttpProblem: 403.
    """
    if not principal.may(role):
        raise HttpProblem(403, "not_allowed", f"{principal.name} is a {principal.role}; this needs the role {role}")


class RateLimiter:
    """A bucket for each client: it holds `burst` requests and fills again evenly."""

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request.

        Raises:
            HttpProblem: 429 when the bucket is empty.
        """
        now = self._clock()
        level, then = self._buckets.get(client, (float(self._burst), now))
        level = min(self._burst, level + (now - then) * self._rate)
        if level < 1:
            raise self.too_often(client, level)
        self._buckets[client] = (level - 1, now)
        self._buckets.move_to_end(client)
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)

    def too_often(self, client: str, level: float = 0.0) -> HttpProblem:
        """The answer to a client whose bucket is at `level`, below 1."""
        wait = max(1, round((1 - level) / self._rate + 0.5))
        return HttpProblem(429, "too_many_requests", f"{client} asks too often; wait {wait} s", retry_after=wait)
