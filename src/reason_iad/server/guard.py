"""What every request passes first: its name, host, origin, size and speed; and what every answer gets: safe headers.

Plain ASGI, so that bodies are counted as they arrive and streams pass through untouched.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reason_iad.languages import LANGUAGES, from_header, speak
from reason_iad.server.metrics import Metrics
from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import Settings, is_loopback
from reason_iad.server.tracing import Tracing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
LOCKED = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"


class Guard:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        self._app, self._settings, self._metrics, self._tracing = app, settings, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, hand it on, finish its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(6)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        began, status, answering = time.monotonic(), 500, False
        speak(_language(scope))

        async def answer(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                present = {name.lower() for name, _ in message["headers"]}
                extra = [(name, value) for name, value in SAFE_HEADERS if name not in present]
                if b"content-security-policy" not in present:
                    extra.append((b"content-security-policy", LOCKED))
                if b"cache-control" not in present:
                    extra.append((b"cache-control", b"no-store"))
                extra.append((b"x-request-id", request_id.encode()))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        with self._tracing.request(scope, _method(scope), request_id) as trace:
            try:
                self._check(scope)
                await self._app(scope, self._counted(scope, receive), answer)
            except HttpProblem as problem:
                if answering:
                    raise
                await _send_problem(answer, problem, request_id)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                trace(route, status)
                self._metrics.requests.labels(_method(scope), route, str(status)).inc()
                self._metrics.request_seconds.labels(route).observe(time.monotonic() - began)

    def _check(self, scope: Scope) -> None:
        """Refuse what a browser was tricked into sending, and bodies that say they are too large."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._settings.guarded and not self._is_ours(host):
            # Another site's name that points at this machine: a page of that site would be let in as us.
            raise HttpProblem(421, "wrong_host", f"the host {host[:100]!r} is not this server; use its own address")
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise HttpProblem(403, "wrong_origin", f"requests from pages of {origin[:100]!r} are not answered")
        length = headers.get(b"content-length", "0")
        if length.isdecimal() and int(length) > self._allowed(scope):
            raise self._too_large(scope)

    def _is_ours(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        return is_loopback(name) or name in self._settings.allowed_hosts

    def _allowed(self, scope: Scope) -> int:
        """Bytes of a body: images go to few places, and in base64 they are a third longer."""
        images = scope["path"] in ("/v1/inspections", "/v1/profiles")
        return self._settings.limits.max_bytes * 3 // 2 if images else 100_000

    def _too_large(self, scope: Scope) -> HttpProblem:
        allowed = self._allowed(scope)
        return HttpProblem(
            413, "too_large", f"the request has over {allowed:,} bytes; expected less: export it smaller"
        )

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body no further than allowed, and no longer than allowed."""
        taken, complete = 0, False
        limit = time.monotonic() + self._settings.limits.body_seconds

        async def counted() -> Message:
            nonlocal taken, complete
            if complete:  # what comes now is only the client going away
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, limit - time.monotonic()))
            except TimeoutError:
                seconds = self._settings.limits.body_seconds
                raise HttpProblem(408, "too_slow", f"the request did not arrive within {seconds:g} s") from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if taken > self._allowed(scope):
                    raise self._too_large(scope)
            return message

        return counted


def _language(scope: Scope) -> str:
    """The language of whoever asks: what they chose on the page, else what their browser likes."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    for cookie in headers.get(b"cookie", "").split(";"):
        name, _equals, value = cookie.strip().partition("=")
        if name == "language" and value in LANGUAGES:
            return str(value)
    return from_header(headers.get(b"accept-language", ""))


async def _send_problem(send: Send, problem: HttpProblem, request_id: str) -> None:
    body = json.dumps(problem.body(request_id)).encode()
    headers: list[tuple[bytes, bytes]] = [(k.lower().encode(), v.encode()) for k, v in problem.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _method(scope: dict[str, Any] | Scope) -> str:
    """The method, where it is one of the usual: a client could otherwise fill the memory with invented ones."""
    method = str(scope["method"])
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
