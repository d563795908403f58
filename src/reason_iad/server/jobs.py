"""One thing for a model process to do, and what is told of it on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from reason_iad.server.job_handler import Lesson, Task
from reason_iad.server.problems import HttpProblem
from reason_iad.server.tracing import Mark, Moment
from reason_iad.server.waiting import Priority

Events = AsyncIterator[tuple[str, dict[str, Any]] | None]


@dataclass
class Job:
    """One thing for a model process to do."""

    id: str
    kind: str
    client: str = ""  # who sent it; clients take turns
    priority: Priority = "person"
    payload: Task | Lesson | None = None  # None before an inspection of the record begins
    persisted: bool = False
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    result: dict[str, Any] | None = None
    error: HttpProblem | None = None
    ended: bool = False
    began: float = field(default_factory=time.monotonic)
    context: Any = None  # of the request that it came with, in its trace
    marks: list[Mark] = field(default_factory=lambda: [Mark("queued", time.time_ns())])  # for its trace

    def mark(self, moment: Moment, detail: str | int = "", at: int | None = None) -> None:
        """Note a moment for the trace."""
        self.marks.append(Mark(moment, at or time.time_ns(), detail))

    def tell(self, event: str, **data: Any) -> None:
        """Note an event, with the milliseconds since the job came, and wake whoever watches."""
        self.events.append((event, {"at": round(1000 * (time.monotonic() - self.began), 1), **data}))
        self.changed.set()
        self.changed = asyncio.Event()


def event_text(event: tuple[str, dict[str, Any]] | None) -> str:
    """One server-sent event; a comment where there is nothing to tell."""
    if event is None:
        return ": still here\n\n"
    return f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"


def pass_on(job: Job, kind: str, rest: tuple[Any, ...]) -> None:
    """Note what a model process says while it is at a job."""
    if kind == "try":
        job.mark("try", rest[0])
    elif kind == "stage":
        job.mark("stage", *rest)
        job.tell(kind, name=rest[0])
    else:
        job.tell(kind, text=rest[0])
