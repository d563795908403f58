"""Inspections: send, follow, read, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from reason_iad.reporting.pdf import Paper
from reason_iad.server.access import Admin, AppState, Inspector, Server, Viewer, audit, errors
from reason_iad.server.idempotency import Once
from reason_iad.server.intake import BODY, read_inspection
from reason_iad.server.jobs import event_text
from reason_iad.server.problems import HttpProblem
from reason_iad.server.rendering import render_figure, render_page, render_pdf
from reason_iad.server.schemas import (
    VERDICTS,
    InspectionBody,
    InspectionList,
    inspection_body,
)
from reason_iad.server.security import Principal
from reason_iad.store.idempotency import Settled
from reason_iad.store.leases import ENDINGS
from reason_iad.store.record import FeedbackKind, Filter, Record, State

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of an inspection")]
ACCEPTED: dict[str, Any] = {"model": InspectionBody, "description": "accepted; not finished yet"}
PICTURES = "^(preview|thumbnail|map|shown-[0-9]{1,2})$"


@router.post(
    "",
    response_model=InspectionBody,
    openapi_extra={"requestBody": BODY},
    responses={**errors(408, 409, 413, 415, 500, 503), 202: ACCEPTED},
)
async def inspect(
    request: Request,
    response: Response,
    who: Inspector,
    server: Server,
    once: Once,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for the result; 0 only queues it")] = 30.0,
    priority: Annotated[
        Literal["person", "lot"], Query(description="whether a person waits for it, or it is one of many")
    ] = "person",
) -> Any:
    """Inspect an image.

    The answer is the finished inspection (200), or what is known of it so far (202) where it takes longer than `wait`:
    follow it under `Location`. An accepted inspection is on disk; it survives a restart of the server.
    """
    if once.key is None:  # else it may have been accepted before, when there was room
        server.queue.check_room()
    try:
        intake = await read_inspection(request, server)
    except HttpProblem as problem:
        await _note_refused(server, request, who, problem)
        raise
    async with once.claimed(intake.request) as claim:
        if isinstance(claim, Settled):
            identifier = str(claim.inspection_id)
            job = await server.queue.find(identifier)
        else:
            job = await server.queue.accept(intake.request, who.name, intake.media_type, priority, claim)
            identifier = job.id
            await audit(request, who, "inspect", identifier)
    again = isinstance(claim, Settled)
    seconds = min(wait, server.settings.limits.wait_seconds)
    if again and (await record_of(server, identifier)).state in ENDINGS:
        seconds = 0.0
    ended = job is not None and (wait > 0 or again) and await server.queue.result(job, seconds)
    if ended and job is not None and job.error is not None:
        if job.error.status >= 500:
            await once.reopen(claim)
        raise job.error
    record = await record_of(server, identifier)
    if again and record.state == "failed":  # too long ago for the queue to know more
        raise HttpProblem(422, "failed", record.error or "the inspection failed")
    ended = ended or (again and record.state == "done")
    response.status_code = 200 if ended else 202
    response.headers["Location"] = f"/v1/inspections/{identifier}"
    return inspection_body(record, server.queue.position(identifier), full=ended)


@router.get("", response_model=InspectionList, responses=errors())
async def find(
    who: Viewer,
    server: Server,
    state: Annotated[State | None, Query()] = None,
    verdict: Annotated[VERDICTS | None, Query()] = None,
    category: Annotated[str | None, Query(max_length=100)] = None,
    feedback: Annotated[FeedbackKind | None, Query()] = None,
    text: Annotated[str | None, Query(max_length=100, description="part of the image's name")] = None,
    since: Annotated[datetime | None, Query()] = None,
    until: Annotated[datetime | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before")] = None,
) -> Any:
    """List inspections, newest first."""
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise HttpProblem(422, "no_zone", f"{moment.isoformat()} has no time zone; expected one, such as Z for UTC")
    for value in (category, text):
        if value is not None and "\x00" in value:
            raise HttpProblem(422, "null_character", "a text holds a null character; expected plain text")
    wanted = Filter(
        state=state, verdict=verdict, category=category, feedback=feedback, text=text, since=since, until=until,
        before=_after(cursor), limit=limit,
    )  # fmt: skip
    found = await asyncio.to_thread(server.store.find, wanted)
    following = f"{found[-1].created_at.timestamp():.6f}-{found[-1].id}" if len(found) == limit else None
    bodies = [inspection_body(record, server.queue.position(record.id)) for record in found]
    return {"inspections": bodies, "next": following}


@router.get("/{id}", response_model=InspectionBody, responses=errors(404))
async def read(id: Id, who: Viewer, server: Server) -> Any:
    """One inspection with its whole report."""
    return inspection_body(await record_of(server, id), server.queue.position(id), full=True)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses=errors(404, content={"text/event-stream": {"schema": {"type": "string"}}}),
)
async def follow(id: Id, who: Viewer, server: Server) -> StreamingResponse:
    """What happens to an inspection, as server-sent events: queued, started, stage, done, failed."""
    followed = await server.queue.follow(id)
    record = await record_of(server, id)

    async def events() -> AsyncIterator[str]:
        if followed is not None:
            async for event in followed:
                yield event_text(event)
        elif record.state == "done":
            yield event_text(("done", {"verdict": record.verdict, "probability": record.probability}))
        else:
            yield event_text((record.state, {"error": record.error}))

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get(
    "/{id}/pictures/{name}",
    response_class=Response,
    responses=errors(404, content={"image/jpeg": {}, "image/png": {}}),
)
async def picture(id: Id, name: Annotated[str, Path(pattern=PICTURES)], who: Viewer, server: Server) -> Response:
    """A picture of an inspection. It was encoded by the server: bytes from clients are never handed out."""
    record = await record_of(server, id)
    digest = record.files.get(name)
    if digest is None:
        raise HttpProblem(
            404, "no_picture", f"the inspection {id} has no picture {name!r}; it has {sorted(record.files)}"
        )
    data = await asyncio.to_thread(server.store.files.get, digest)
    kind = "image/png" if name == "map" else "image/jpeg"
    return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=31536000, immutable"})


@router.get("/{id}/report.html", response_class=Response, responses=errors(404, 409, content={"text/html": {}}))
async def page(id: Id, who: Viewer, server: Server) -> Response:
    """The report as one page that holds everything it shows."""
    record = await finished(server, id)
    async with server.decoding:
        html, policy = await asyncio.to_thread(render_page, server.store, record)
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy})


@router.get("/{id}/figure.png", response_class=Response, responses=errors(404, 409, content={"image/png": {}}))
async def figure(id: Id, who: Viewer, server: Server) -> Response:
    """The report as one picture."""
    record = await finished(server, id)
    async with server.decoding:
        return Response(await asyncio.to_thread(render_figure, server.store, record), media_type="image/png")


@router.get("/{id}/report.pdf", response_class=Response, responses=errors(404, 409, content={"application/pdf": {}}))
async def pdf(id: Id, who: Viewer, server: Server, paper: Annotated[Paper, Query()] = "A4") -> Response:
    """The report on paper, in the language of Accept-Language."""
    record = await finished(server, id)
    async with server.decoding:
        data = await asyncio.to_thread(render_pdf, server.store, record, paper)
    return Response(data, media_type="application/pdf")


@router.delete("/{id}", status_code=204, responses=errors(404, 409))
async def remove(id: Id, request: Request, who: Admin, server: Server) -> Response:
    """Delete an inspection with its feedback, and the files that no other inspection has."""
    record = await record_of(server, id)
    if record.state in ("queued", "running"):
        raise HttpProblem(409, "not_finished", f"the inspection {id} is {record.state}; wait until it has ended")
    await asyncio.to_thread(server.store.remove, id)
    await audit(request, who, "delete", id)
    return Response(status_code=204)


async def _note_refused(server: AppState, request: Request, who: Principal, problem: HttpProblem) -> None:
    """Leave a trace of an image that was sent and cannot be inspected: a part must not vanish without a word."""
    if (upload := problem.upload) is None:
        return
    identifier = await asyncio.to_thread(
        server.store.refuse, upload.name, upload.sha256, problem.message, upload.asked, who.name
    )
    server.metrics.inspections.labels("failed").inc()
    await audit(request, who, "inspect", identifier, problem.code)


async def record_of(server: AppState, identifier: str) -> Record:
    """One inspection.

    Raises:
        HttpProblem: 404, there is none.
    """
    record = await asyncio.to_thread(server.store.get, identifier)
    if record is None:
        raise HttpProblem(404, "no_inspection", f"there is no inspection {identifier}")
    return record


async def finished(server: AppState, identifier: str) -> Record:
    """One inspection that has its report.

    Raises:
        HttpProblem: 404 there is none, 409 it has none yet or failed.
    """
    record = await record_of(server, identifier)
    if record.state != "done":
        raise HttpProblem(409, "not_finished", f"the inspection {identifier} is {record.state}; it has no report")
    return record


def _after(cursor: str | None) -> tuple[datetime, str] | None:
    """Read a cursor made by `find`.

    Raises:
        HttpProblem: 422, it was made elsewhere.
    """
    from datetime import UTC

    if cursor is None:
        return None
    moment, _, identifier = cursor.partition("-")
    try:
        return datetime.fromtimestamp(float(moment), UTC), identifier
    except (ValueError, OverflowError, OSError) as error:
        raise HttpProblem(
            422, "bad_cursor", "the cursor is not one of ours; expected `next` of the page before"
        ) from error
