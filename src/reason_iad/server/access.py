"""What every route is given: the state of the server, and who is asking."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reason_iad.errors import RecordUnavailableError
from reason_iad.server.knowledge import KnowledgeSearch
from reason_iad.server.metrics import Metrics
from reason_iad.server.model_workers import ModelWorkers
from reason_iad.server.problems import HttpProblem
from reason_iad.server.queue import InspectionQueue
from reason_iad.server.schemas import ErrorBody
from reason_iad.server.security import Principal, RateLimiter, TokenBook, authenticate, require
from reason_iad.server.settings import Role, Settings
from reason_iad.store.store import Store

_BEARER = HTTPBearer(auto_error=False, description="a token made by `reason-iad records token`")


@dataclass
class AppState:
    """Everything that the routes share, made once at the start."""

    settings: Settings
    metrics: Metrics
    store: Store
    model: ModelWorkers
    queue: InspectionQueue
    knowledge: KnowledgeSearch
    limiter: RateLimiter
    tokens: TokenBook
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))  # images decoded at once
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def state_of(request: Request) -> AppState:
    """The state of the server that a request came to."""
    return cast(AppState, request.app.state.reason_iad)


def client_of(request: Request) -> str:
    """Address of whoever asks."""
    return request.client.host if request.client else ""


async def audit(request: Request, who: Principal, action: str, target: str, outcome: str = "ok") -> None:
    """Add a line to the audit log."""
    store = state_of(request).store
    await asyncio.to_thread(store.audit, who.name, who.role, action, target, outcome, client_of(request))


async def someone(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
) -> Principal:
    """Whoever is asking, with any role.

    Raises:
        HttpProblem: 401 not known, 429 too often.
    """
    state = state_of(request)
    try:
        who = await asyncio.to_thread(authenticate, state.settings, state.tokens, request.headers.get("authorization"))
    except HttpProblem as problem:
        client = client_of(request)
        await _count(state, f"unknown at {client}")  # guessing is slow
        await asyncio.to_thread(state.store.audit, "unknown", "", "sign in", request.url.path, problem.code, client)
        raise
    await _count(state, f"{who.name} at {client_of(request)}" if who.name == "local" else who.name)
    return who


async def _count(state: AppState, client: str) -> None:
    """Count a request of a client here, and in the record where several servers count together.

    Raises:
        HttpProblem: 429, too often.
    """
    state.limiter.take(client)
    if not state.store.shared:
        return
    limits = state.settings.limits
    with contextlib.suppress(RecordUnavailableError):  # then what was counted here must do
        if not await asyncio.to_thread(state.store.rates.take, client, limits.requests_per_minute, limits.burst):
            raise state.limiter.too_often(client)


def _needs(role: Role) -> Any:
    async def check(request: Request, who: Annotated[Principal, Depends(someone)]) -> Principal:
        try:
            require(who, role)
        except HttpProblem as problem:
            await audit(request, who, request.method, request.url.path, problem.code)
            raise
        return who

    return Depends(check)


Viewer = Annotated[Principal, _needs("viewer")]
Inspector = Annotated[Principal, _needs("inspector")]
Admin = Annotated[Principal, _needs("admin")]
Server = Annotated[AppState, Depends(state_of)]

_WORDS = {
    400: "not understood", 401: "no token, or a wrong one", 403: "not allowed", 404: "no such thing",
    408: "the body came too slowly", 409: "not now", 413: "too large", 415: "not an accepted kind",
    421: "another server's name", 422: "understood, but not usable", 429: "no room or too often: see Retry-After",
    500: "a fault of the server", 503: "not ready, stopping, or no answer of the model's server: see Retry-After",
}  # fmt: skip
_EVERYWHERE = (400, 401, 403, 421, 422, 429)


def errors(*statuses: int, **media: Any) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for OpenAPI: those that every route has, and `statuses`.

    Args:
        statuses: of further errors.
        media: `content`, what a good answer holds, by media type, where that is not JSON.
    """
    found: dict[int | str, dict[str, Any]] = {200: media} if media else {}
    for status in sorted({*_EVERYWHERE, *statuses}):
        found[status] = {"model": ErrorBody, "description": _WORDS[status]}
    return found
