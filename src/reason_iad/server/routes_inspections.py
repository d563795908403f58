"""Inspections: send, follow, read, ask, correct, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from reason_iad import languages
from reason_iad.errors import InputError
from reason_iad.reporting.pdf import Paper
from reason_iad.server.access import Admin, AppState, Inspector, Server, Viewer, audit, errors
from reason_iad.server.intake import BODY, check_choices, read_inspection
from reason_iad.server.job_handler import Task
from reason_iad.server.problems import HttpProblem
from reason_iad.server.queue import Job, event_text
from reason_iad.server.rendering import render_figure, render_page, render_pdf
from reason_iad.server.schemas import (
    VERDICTS,
    FeedbackBody,
    FeedbackRequest,
    InspectionBody,
    InspectionList,
    QuestionAnswer,
    QuestionRequest,
    inspection_body,
)
from reason_iad.server.security import Principal
from reason_iad.store.record import Feedback, FeedbackKind, Filter, Record, State

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of an inspection")]
LEARNS = {"false_alarm": "normal", "missed": "defective"}  # what a profile is told
ACCEPTED: dict[str, Any] = {"model": InspectionBody, "description": "accepted; not finished yet"}
PICTURES = "^(preview|thumbnail|map|shown-[0-9]{1,2})$"


@router.post(
    "",
    response_model=InspectionBody,
    openapi_extra={"requestBody": BODY},
    responses={**errors(408, 413, 415, 500, 503), 202: ACCEPTED},
)
async def inspect(
    request: Request,
    response: Response,
    who: Inspector,
    server: Server,
    wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for the result; 0 only queues it")] = 30.0,
    priority: Annotated[
        Literal["person", "lot"], Query(description="whether a person waits for it, or it is one of many")
    ] = "person",
) -> Any:
    """Inspect an image.

    The answer is the finished inspection (200), or what is known of it so far (202) where it takes longer than `wait`:
    follow it under `Location`. An accepted inspection is on disk; it survives a restart of the server.
    """
    server.queue.check_room()
    try:
        intake = await read_inspection(request, server)
    except HttpProblem as problem:
        await _note_refused(server, request, who, problem)
        raise
    job = await server.queue.accept(intake.request, who.name, intake.media_type, priority)
    await audit(request, who, "inspect", job.id)
    ended = await server.queue.result(job, min(wait, server.settings.limits.wait_seconds)) if wait else False
    if ended and job.error is not None:
        raise job.error
    record = await _record(server, job.id)
    response.status_code = 200 if ended else 202
    response.headers["Location"] = f"/v1/inspections/{job.id}"
    return inspection_body(record, server.queue.position(job.id), full=ended)


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
    return inspection_body(await _record(server, id), server.queue.position(id), full=True)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses=errors(404, content={"text/event-stream": {"schema": {"type": "string"}}}),
)
async def follow(id: Id, who: Viewer, server: Server) -> StreamingResponse:
    """What happens to an inspection, as server-sent events: queued, started, stage, done, failed."""
    followed = await server.queue.follow(id)
    record = await _record(server, id)

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
    record = await _record(server, id)
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
    record = await _finished(server, id)
    async with server.decoding:
        html, policy = await asyncio.to_thread(render_page, server.store, record)
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy})


@router.get("/{id}/figure.png", response_class=Response, responses=errors(404, 409, content={"image/png": {}}))
async def figure(id: Id, who: Viewer, server: Server) -> Response:
    """The report as one picture."""
    record = await _finished(server, id)
    async with server.decoding:
        return Response(await asyncio.to_thread(render_figure, server.store, record), media_type="image/png")


@router.get("/{id}/report.pdf", response_class=Response, responses=errors(404, 409, content={"application/pdf": {}}))
async def pdf(id: Id, who: Viewer, server: Server, paper: Annotated[Paper, Query()] = "A4") -> Response:
    """The report on paper, in the language of Accept-Language."""
    record = await _finished(server, id)
    async with server.decoding:
        data = await asyncio.to_thread(render_pdf, server.store, record, paper)
    return Response(data, media_type="application/pdf")


@router.post("/{id}/questions", response_model=QuestionAnswer, responses=errors(404, 408, 409, 413, 500, 503))
async def ask(id: Id, question: QuestionRequest, request: Request, who: Inspector, server: Server) -> Any:
    """Ask about an image that was inspected.

    The model keeps the prompt of recent images, so it answers without looking again; `prepared` says whether it did.
    """
    check_choices(question.choices)
    record = await _finished(server, id)
    category = record.category if record.category != "unknown" else None
    kept = await asyncio.to_thread(server.store.request_of, record)
    task = Task(id, replace(kept, question=question.question, choices=tuple(question.choices), category=category))
    began = time.monotonic()
    result = await _finish(server, await server.queue.ask("ask", id, task, who.name))
    await audit(request, who, "ask", id)
    return {**result, "milliseconds": round(1000 * (time.monotonic() - began), 1)}


@router.post(
    "/{id}/feedback", response_model=FeedbackBody, status_code=201, responses=errors(404, 408, 409, 413, 500, 503)
)
async def correct(id: Id, said: FeedbackRequest, request: Request, who: Inspector, server: Server) -> Any:
    """Say that a verdict was a false alarm, that it missed a defect, or that it was right.

    Where a profile of the category was learned, it learns from this too. A comment that names a type of defect ("it is
    a scratch") makes the odd area an example of it. `effect` says what came of both.
    """
    if "\x00" in said.comment:
        raise HttpProblem(422, "null_character", "the comment holds a null character; expected plain text")
    record = await _finished(server, id)
    if (said.kind, record.verdict) in (("false_alarm", "normal"), ("missed", "defective")):
        raise HttpProblem(409, "no_fit", f"the verdict was {record.verdict}: {said.kind} does not fit it")
    kept = await asyncio.to_thread(server.store.add_feedback, id, said.kind, who.name, said.comment)
    server.metrics.feedback.labels(said.kind).inc()
    effect = await _teach(server, record, kept, who.name)
    understood, told = None, None
    if said.comment.strip() and said.kind != "false_alarm":
        understood, told = await asyncio.to_thread(_name_it, server, record, said.comment, who.name)
    effect = f"{effect} {told}" if told else effect
    await asyncio.to_thread(server.store.note_effect, kept.id, effect)
    await audit(request, who, f"feedback {said.kind}", id, effect)
    return {
        "kind": kept.kind,
        "comment": kept.comment,
        "who": who.name,
        "created_at": kept.created_at,
        "effect": languages.told(effect),
        "understood": understood,
    }


@router.delete("/{id}", status_code=204, responses=errors(404, 409))
async def remove(id: Id, request: Request, who: Admin, server: Server) -> Response:
    """Delete an inspection with its feedback, and the files that no other inspection has."""
    record = await _record(server, id)
    if record.state in ("queued", "running"):
        raise HttpProblem(409, "not_finished", f"the inspection {id} is {record.state}; wait until it has ended")
    await asyncio.to_thread(server.store.remove, id)
    await audit(request, who, "delete", id)
    return Response(status_code=204)


async def _teach(server: AppState, record: Record, said: Feedback, who: str) -> str:
    """Let the profile of the category learn from a feedback; says what came of it."""
    from reason_iad.evidence.profile_store import find_profile

    category = record.category or ""
    if said.kind not in LEARNS:
        return "Kept."
    if category in ("", "unknown") or find_profile(category) is None:
        return f"Kept. There is no profile of {category or 'unknown'} yet that could learn from it."
    kept = await asyncio.to_thread(server.store.request_of, record)
    task = Task(record.id, replace(kept, category=category), LEARNS[said.kind])
    try:
        result = await _finish(server, await server.queue.ask("feedback", record.id, task, who))
    except (HttpProblem, InputError) as error:
        return f"Kept, but the profile of {category} did not learn from it: {error}"
    known = f"{result['normals']} good and {result['defectives']} defective images"
    return f"Kept. The profile of {category} is now version {result['version']} and knows {known}."


def _name_it(server: AppState, record: Record, comment: str, who: str) -> tuple[str | None, str | None]:
    """Make the odd area an example of the type that a comment names; the type, and what came of it.

    Nothing is said of a comment that names no known type.
    """
    from reason_iad.naming.said import type_said
    from reason_iad.store.labels import known_types, label_only_area

    said = type_said(comment, known_types(str(record.category), server.knowledge.defects_of(str(record.category))))
    if not said.named:
        return None, None
    if said.defect_type is None:
        why = "may say what it is not" if said.denied else "names several"
        return (
            None,
            f"The comment mentions {', '.join(said.named)} and {why}: no example was made; name it under Label.",
        )
    try:
        done = label_only_area(server.store, record.id, said.defect_type, who)
    except InputError as error:
        return None, f"Understood: {said.defect_type}; no example was made: {error}"
    return done.defect_type, (
        f"Understood: {done.defect_type}. The odd area is now an example of it; {record.category} has {done.examples}."
    )


async def _note_refused(server: AppState, request: Request, who: Principal, problem: HttpProblem) -> None:
    """Leave a trace of an image that was sent and cannot be inspected: a part must not vanish without a word."""
    if (upload := problem.upload) is None:
        return
    identifier = await asyncio.to_thread(
        server.store.refuse, upload.name, upload.sha256, problem.message, upload.asked, who.name
    )
    server.metrics.inspections.labels("failed").inc()
    await audit(request, who, "inspect", identifier, problem.code)


async def _finish(server: AppState, job: Job) -> dict[str, Any]:
    """Wait for a question or a lesson."""
    if not await server.queue.result(job, server.settings.limits.wait_seconds):
        if server.queue.drop(job) or server.queue.draining:
            raise HttpProblem(503, "too_long", "the model is busy and did not begin; ask again", retry_after=5)
        raise HttpProblem(503, "too_long", "the model is at it still; look again, or ask again", retry_after=5)
    if job.error is not None:
        raise job.error
    assert job.result is not None
    return job.result


async def _record(server: AppState, identifier: str) -> Record:
    record = await asyncio.to_thread(server.store.get, identifier)
    if record is None:
        raise HttpProblem(404, "no_inspection", f"there is no inspection {identifier}")
    return record


async def _finished(server: AppState, identifier: str) -> Record:
    record = await _record(server, identifier)
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
