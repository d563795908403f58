"""Who is asking, what they may do, and how often."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import ROLES, Role, Settings

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


def authenticate(settings: Settings, authorization: str | None) -> Principal:
    """Find out who is asking from the Authorization header.

    Raises:
        HttpProblem: 401 without a token, or with one that is not known.
    """
    if not settings.tokens:
        return LOCAL
    scheme, _, presented = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise HttpProblem(
            401, "no_token", "no bearer token was sent; expected the header 'Authorization: Bearer TOKEN'"
        )
    matching = [token for token in settings.tokens if token.matches(presented.strip())]
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
            wait = max(1, round((1 - level) / self._rate + 0.5))
            raise HttpProblem(429, "too_many_requests", f"{client} asks too often; wait {wait} s", retry_after=wait)
        self._buckets[client] = (level - 1, now)
        self._buckets.move_to_end(client)
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
