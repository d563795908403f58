"""What is said about an inspection: questions that are answered, and feedback that teaches."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request

from reason_iad import languages
from reason_iad.errors import InputError
from reason_iad.server.access import AppState, Inspector, Server, audit, errors
from reason_iad.server.idempotency import Once
from reason_iad.server.intake import check_choices
from reason_iad.server.job_handler import Task
from reason_iad.server.jobs import Job
from reason_iad.server.problems import HttpProblem
from reason_iad.server.routes_inspections import Id, finished
from reason_iad.server.schemas import FeedbackBody, FeedbackRequest, QuestionAnswer, QuestionRequest
from reason_iad.server.security import Principal
from reason_iad.store.record import Feedback, Record

router = APIRouter(prefix="/v1/inspections", tags=["inspections"])
LEARNS = {"false_alarm": "normal", "missed": "defective"}  # what a profile is told


@router.post("/{id}/questions", response_model=QuestionAnswer, responses=errors(404, 408, 409, 413, 500, 503))
async def ask(id: Id, question: QuestionRequest, request: Request, who: Inspector, server: Server, once: Once) -> Any:
    """Ask about an image that was inspected.

    The model keeps the prompt of recent images, so it answers without looking again; `prepared` says whether it did.
    """
    check_choices(question.choices)
    return await once.done(question, lambda: _ask(id, question, request, who, server))


async def _ask(id: str, question: QuestionRequest, request: Request, who: Principal, server: AppState) -> Any:
    record = await finished(server, id)
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
async def correct(id: Id, said: FeedbackRequest, request: Request, who: Inspector, server: Server, once: Once) -> Any:
    """Say that a verdict was a false alarm, that it missed a defect, or that it was right.

    Where a profile of the category was learned, it learns from this too. A comment that names a type of defect ("it is
    a scratch") makes the odd area an example of it. `effect` says what came of both.
    """
    if "\x00" in said.comment:
        raise HttpProblem(422, "null_character", "the comment holds a null character; expected plain text")
    return await once.done(said, lambda: _correct(id, said, request, who, server))


async def _correct(id: str, said: FeedbackRequest, request: Request, who: Principal, server: AppState) -> Any:
    record = await finished(server, id)
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
