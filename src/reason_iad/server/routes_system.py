"""Knowledge, profiles, audit, and the server's own state."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from importlib.resources import files
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Path, Query, Request, Response
from markupsafe import Markup

from reason_iad import __version__
from reason_iad.knowledge.translations import names
from reason_iad.languages import LANGUAGES, _, language, messages, told
from reason_iad.server.access import Admin, AppState, Server, Viewer, audit, errors, someone, state_of
from reason_iad.server.idempotency import Once
from reason_iad.server.intake import read_images
from reason_iad.server.job_handler import Lesson
from reason_iad.server.knowledge import profile_facts
from reason_iad.server.metrics import MEDIA_TYPE
from reason_iad.server.problems import HttpProblem
from reason_iad.server.schemas import (
    AuditBody,
    CategoryBody,
    ErrorBody,
    HealthBody,
    KnowledgeHit,
    LessonBody,
    ProfileBody,
)
from reason_iad.server.security import Principal, authenticate, require
from reason_iad.server.status import StatusBody, look

router = APIRouter()
Name = Annotated[str, Path(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _\-]*$", description="of a category")]
MAX_LESSON = 100  # images
_LESSON = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["category", "images"],
                "properties": {
                    "category": {"type": "string", "minLength": 1, "maxLength": 100},
                    "images": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
                },
            }
        }
    },
}
ASSETS = {
    "app.css": "text/css", "app.js": "text/javascript", "view.js": "text/javascript", "threshold.js": "text/javascript",
    "board.js": "text/javascript", "label.js": "text/javascript", "board.css": "text/css",
    "icon.svg": "image/svg+xml",
}  # fmt: skip
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The page to work in."""
    return _page("index.html")


@router.get("/board", include_in_schema=False)
async def board() -> Response:
    """The page for a screen over the line."""
    return _page("board.html")


@router.get("/label", include_in_schema=False)
async def label() -> Response:
    """The page to name defects on."""
    return _page("label.html")


@router.get("/assets/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """A file of the page, from a fixed list."""
    if name not in ASSETS:
        raise HttpProblem(404, "no_file", f"there is no {name[:80]!r}")
    return Response(_asset(name), media_type=ASSETS[name], headers={"Cache-Control": "no-cache"})


@router.get("/healthz", tags=["system"], response_model=HealthBody, responses={421: {"model": ErrorBody}})
async def health() -> Any:
    """Whether the server process lives."""
    return {"status": "ok"}


@router.get(
    "/readyz", tags=["system"], response_model=HealthBody,
    responses={421: {"model": ErrorBody}, 503: {"model": HealthBody, "description": "not yet, or no more"}},
)  # fmt: skip
async def readiness(response: Response, server: Server) -> Any:
    """Whether inspections are done now: the model is loaded and the record can be reached."""
    for part, ping in (("the database", server.store.ping), ("the evidence", server.store.files.ping)):
        try:
            await asyncio.to_thread(ping)
        except Exception as error:  # noqa: BLE001 - whatever the driver raises; its text may name an address or a user
            response.status_code = 503
            return {"status": "no record", "detail": f"{part} cannot be used: {type(error).__name__}"}
    if server.queue.draining or server.queue.leaving:
        response.status_code = 503
        return {"status": "stopping", "detail": ""}
    if server.model.state != "ready":
        response.status_code = 503
    return {"status": "ok" if server.model.state == "ready" else server.model.state, "detail": server.model.detail}


@router.get(
    "/metrics", tags=["system"], response_class=Response,
    responses=errors(content={"text/plain": {"schema": {"type": "string"}}}),
)  # fmt: skip
async def metrics(who: Viewer, server: Server) -> Response:
    """Numbers for Prometheus; also while the record is out of reach, which is one of them."""
    numbers, began = server.metrics, time.monotonic()
    numbers.tell_queue(server.queue.summary()["waiting"], server.queue.running, server.settings.queue_size)
    numbers.tell_workers(server.model.workers)
    try:
        states = await asyncio.to_thread(server.store.lines.states)
        numbers.tell_lines(states, await asyncio.to_thread(server.store.lines.open_alarms))
    except Exception:  # noqa: BLE001 - whatever the driver raises, the record is out of reach
        numbers.record_up.set(0)
    else:
        numbers.record_up.set(1)
        numbers.record_seconds.set(time.monotonic() - began)
    return Response(numbers.render(), headers={"Content-Type": MEDIA_TYPE})


@router.get("/v1/status", tags=["system"], response_model=StatusBody, responses=errors())
async def status(
    request: Request,
    server: Server,
    whole: Annotated[
        bool, Query(description="also processes, queue, record, versions, profiles and lines; for an admin")
    ] = False,
) -> Any:
    """State of the model and the queue; also without a token, so that the page can say that it needs one."""
    who = await someone(request) if whole else _known(request, server)
    if whole and who is not None:
        require(who, "admin")
    counts: dict[str, int] = {}
    if who is not None:
        with contextlib.suppress(Exception):  # whatever the driver raises; an admin sees it below
            counts = await asyncio.to_thread(server.store.counts)
    limits = server.settings.limits
    return {
        "version": __version__, "model": server.model.state, "detail": told(server.model.detail) if who else "",
        "model_name": " ".join(server.model.facts.values()) if who else "", "waiting": server.queue.waiting,
        "running": server.queue.running, "workers": server.settings.workers, "workers_ready": server.model.ready,
        "room": server.queue.room, "tokens": server.settings.guarded, "who": who and who.name,
        "role": who and who.role, "max_bytes": limits.max_bytes, "max_pixels": limits.max_pixels, "counts": counts,
        "whole": await look(server) if whole else None,
    }  # fmt: skip


@router.get("/v1/categories", tags=["knowledge"], response_model=list[CategoryBody], responses=errors())
async def categories(who: Viewer, server: Server) -> Any:
    """The kinds of products that knowledge or a profile exists for."""
    return await asyncio.to_thread(server.knowledge.categories)


@router.get("/v1/knowledge", tags=["knowledge"], response_model=list[KnowledgeHit], responses=errors())
async def search(
    who: Viewer,
    server: Server,
    q: Annotated[str, Query(min_length=1, max_length=300, pattern=r"\S", description="a question or a few words")],
    category: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 8,
) -> Any:
    """Search the knowledge that inspections cite."""
    return await asyncio.to_thread(server.knowledge.search, q, category, limit)


@router.get("/v1/profiles", tags=["profiles"], response_model=list[ProfileBody], responses=errors())
async def profiles(who: Viewer, server: Server) -> Any:
    """What was learned from images of good parts."""
    from reason_iad.evidence.profile_store import list_profiles

    return await asyncio.to_thread(lambda: [profile_facts(name) for name in list_profiles()])


@router.get("/v1/profiles/{category}", tags=["profiles"], response_model=ProfileBody, responses=errors(404))
async def profile(category: Name, who: Viewer, server: Server) -> Any:
    """One profile."""
    from reason_iad.evidence.profile_store import find_profile

    if find_profile(category) is None:
        raise HttpProblem(404, "no_profile", f"there is no profile of {category!r}")
    return await asyncio.to_thread(profile_facts, category)


@router.post(
    "/v1/profiles", tags=["profiles"], response_model=LessonBody, status_code=201,
    openapi_extra={"requestBody": _LESSON}, responses=errors(408, 409, 413, 415, 500, 503),
)  # fmt: skip
async def learn(request: Request, who: Admin, server: Server, once: Once) -> Any:
    """Learn a category's profile from images of good parts."""
    if once.key is None:  # else it may have been learned before, when there was room
        server.queue.check_room()
    category, images = await read_images(request, server, MAX_LESSON)
    return await once.done([category, images], lambda: _learn(category, images, request, who, server))


async def _learn(
    category: str, images: list[tuple[bytes, str]], request: Request, who: Principal, server: AppState
) -> Any:
    from reason_iad.evidence.profile_store import profile_folder

    profile_folder(category)  # refuses a name that no folder should have
    job = await server.queue.ask("learn", f"lesson-{category}", Lesson(category, tuple(images)), who.name)
    ended = await server.queue.result(job, server.settings.limits.inspection_seconds)
    await audit(request, who, "learn", category)
    if job.error is not None:
        raise job.error
    if not ended or job.result is None:
        raise HttpProblem(503, "too_long", "the model is busy; send fewer images, or learn with `reason-iad learn`", 5)
    return {"category": category, **job.result, "warnings": [told(one) for one in job.result["warnings"]]}


@router.get("/v1/audit", tags=["system"], response_model=list[AuditBody], responses=errors())
async def audit_log(
    request: Request, who: Admin, server: Server, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> Any:
    """Who did what, newest first."""
    return await asyncio.to_thread(state_of(request).store.audit_log, limit)


@router.get(
    "/v1/schemas/report", tags=["system"], response_class=Response,
    responses=errors(content={"application/schema+json": {"schema": {"type": "object"}}}),
)  # fmt: skip
async def report_schema(who: Viewer) -> Response:
    """The JSON Schema of a report."""
    from reason_iad.reporting.schema import schema_text

    return Response(schema_text(), media_type="application/schema+json")


def _known(request: Request, server: AppState) -> Principal | None:
    """Who is asking; None where it is nobody that is known."""
    try:
        return authenticate(server.settings, server.tokens, request.headers.get("authorization"))
    except HttpProblem:
        return None


def _page(name: str) -> Response:
    """A page in the language of whoever asks, with the words that its scripts need."""
    words = _words(language())
    text = _templates().get_template(name).render(language=language(), languages=LANGUAGES, words=Markup(words))  # noqa: S704
    headers = {"Content-Security-Policy": _PAGE_POLICY, "Vary": "Accept-Language, Cookie"}
    return Response(text, media_type="text/html", headers=headers)


@functools.cache
def _words(code: str) -> str:
    """The catalog of a language as far as pages need it: what their scripts say, and short names that they are sent."""
    scripts = "".join(_asset(name).decode() for name in ASSETS if name.endswith(".js"))
    needed: dict[str, str | list[str]] = {
        text: told
        for text, told in messages(code).items()
        if json.dumps(text)[1:-1] in scripts or (len(text) < 32 and "{" not in text)
    }
    needed = {**(names(code) if code != "en" else {}), **needed}
    return json.dumps(needed, ensure_ascii=False).replace("<", "\\u003c")


@functools.cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(loader=jinja2.PackageLoader("reason_iad.server", "web"), autoescape=True)
    found.globals.update(_=_)
    return found


def _asset(name: str) -> bytes:
    return (files("reason_iad.server") / "web" / name).read_bytes()
