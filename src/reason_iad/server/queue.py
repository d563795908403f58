"""The queue before the model processes: bounded, persisted, watched, fair (`waiting`).

An inspection is in the record before its acceptance is told, so a kill loses none: on the next start those that
waited still wait, and those that ran are marked as failed. Questions and feedback join the same queue, ahead of
inspections (a person waits for them), and are not persisted: who asked is still there to ask again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reason_iad.errors import (
    LeaseLostError,
    ModelUnavailableError,
    ReasonIADError,
    RecordUnavailableError,
    WorkerLostError,
)
from reason_iad.server.job_handler import Lesson, Task
from reason_iad.server.metrics import Metrics
from reason_iad.server.model_workers import ONCE, ModelWorkers
from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import Settings
from reason_iad.server.tracing import Mark, Moment, Tracing
from reason_iad.server.waiting import ORDER, Priority, Waiting
from reason_iad.store.idempotency import Claim
from reason_iad.store.leases import ServerState
from reason_iad.store.store import Store
from reason_iad.types import InspectionReport, InspectionRequest
from reason_iad.workers import TaskFailedError

_log = logging.getLogger("reason_iad.server")
KEPT_HISTORIES = 256  # of inspections that ended, for those who look late
MODEL_RETRY_SECONDS = 30  # after which to ask again where a model's own server does not answer
MAX_RECORD_WAIT = 8.0  # seconds between two tries to reach the record

T = TypeVar("T")
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


class InspectionQueue:
    """Takes jobs, runs as many at a time as there are free model processes, and writes what came of them down."""

    def __init__(
        self, settings: Settings, store: Store, model: ModelWorkers, metrics: Metrics, tracing: Tracing
    ) -> None:
        self._settings, self._store, self._model = settings, store, model
        self._metrics, self._tracing = metrics, tracing
        self._waiting: Waiting[Job] = Waiting()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Job] = {}
        self._at_model = 0  # of those that run: the others are read from the record, or written into it
        self._reserved = 0
        self._seconds = 2.0  # of a usual job, for Retry-After
        self._task: asyncio.Task[None] | None = None
        self.leaving = False  # a server that others replace: it takes no more from a shared record, and answers on
        self.draining = False
        self.ended = asyncio.Event()  # set, and replaced, whenever an inspection ends

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs that model processes are at."""
        return len(self._running)

    @property
    def room(self) -> int:
        """How many may wait."""
        return self._settings.queue_size

    def summary(self) -> dict[str, Any]:
        """What waits, by whose turn it is, and for how long the oldest has."""
        jobs = self._all_waiting()
        ages = [time.monotonic() - job.began for job in jobs]
        return {
            "waiting": {name: sum(job.priority == name for job in jobs) for name in ORDER},
            "clients": len({job.client for job in jobs}),
            "oldest_seconds": round(max(ages), 1) if ages else None, "draining": self.draining,
        }  # fmt: skip

    async def servers(self) -> tuple[ServerState, ...]:
        """The servers that share the record; none where it is one server's."""
        return ()

    def _all_waiting(self) -> list[Job]:
        return list(self._waiting)

    def position(self, identifier: str) -> int | None:
        """Place of an inspection in the queue, from 1; None where it does not wait."""
        job = self._jobs.get(identifier)
        return None if job is None else next((n for n, one in enumerate(self._waiting, 1) if one is job), None)

    async def start(self) -> None:
        """Take up what was left by the last run, and begin to work."""
        await self._take_up()
        self._model.on_change = self._wake.set
        self._task = asyncio.create_task(self._work(), name="queue")
        self._wake.set()

    async def _take_up(self) -> None:
        for identifier in await asyncio.to_thread(self._store.recover):
            job = Job(identifier, "inspect", persisted=True)
            job.tell("queued")
            self._jobs[identifier] = job
            self._waiting.add(job)

    def drain(self) -> None:
        """Accept nothing more and begin nothing more; those who wait are told."""
        self.draining = True
        self._wake.set()
        self._tell_all()
        for job in list(self._waiting):
            if not job.persisted:
                job.error = HttpProblem(503, "stopping", "the server is being stopped; ask again soon", retry_after=10)
                self._end(job, "failed", error=job.error.message)
            else:
                job.tell("stopping")

    async def stop(self) -> None:
        """Let the jobs that run end, for as long as the settings allow."""
        self.drain()
        ending = [*self._running, *([] if self._task is None else [self._task])]
        if ending:
            _, late = await asyncio.wait(ending, timeout=self._settings.stop_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def check_room(self) -> None:
        """Refuse early, before anything is read, what would be refused anyway.

        Raises:
            HttpProblem: 503 while stopping, 429 when the queue is full.
        """
        if self.draining:
            raise HttpProblem(503, "stopping", "the server is being stopped; send it again soon", retry_after=10)
        if self.waiting + self._reserved >= self.room:
            self._metrics.refused.inc()
            ahead = (self.waiting + 1) / max(1, self._model.ready)
            seconds = max(1, min(60, round(self._seconds * ahead / 2)))
            message = f"{self.waiting} inspections wait already and there is room for {self.room}"
            raise HttpProblem(429, "queue_full", f"{message}; try again in {seconds} s", retry_after=seconds)

    async def accept(
        self,
        request: InspectionRequest,
        who: str,
        media_type: str,
        priority: Priority = "person",
        claim: Claim | None = None,
    ) -> Job:
        """Put an inspection into the record and the queue.

        Args:
            request: the image and what to inspect it with.
            who: sent it; whoever sends many shares the model processes with the others.
            media_type: of the image.
            priority: whether a person waits for it, or it is one of a lot.
            claim: on the key that the request came with.

        Raises:
            HttpProblem: there is no room.
        """
        job = await self._record(request, who, media_type, priority, claim)
        self._enter(job)
        return job

    def find(self, identifier: str) -> Job | None:
        """An inspection that was accepted, to wait for its end; None where it ended long ago."""
        return self._jobs.get(identifier)

    async def _record(
        self, request: InspectionRequest, who: str, media_type: str, priority: Priority, claim: Claim | None
    ) -> Job:
        """Put an inspection into the record, where there is room; see `accept`."""
        self.check_room()
        self._reserved += 1  # two who ask at the same moment must not take the same place
        try:
            identifier = await asyncio.to_thread(
                self._store.accept, request, who, "server", media_type, priority, self._tracing.written(), claim
            )
        finally:
            self._reserved -= 1
        return Job(identifier, "inspect", who, priority, persisted=True)

    async def ask(self, kind: str, identifier: str, payload: Task | Lesson, who: str = "") -> Job:
        """Put a question, a feedback or a lesson into the queue.

        Raises:
            HttpProblem: there is no room.
        """
        self.check_room()
        job = Job(identifier, kind, who, "question", payload)
        self._enter(job)
        return job

    async def result(self, job: Job, seconds: float) -> bool:
        """Wait for a job's end, or for the server's; whether it ended."""
        limit = time.monotonic() + seconds
        while not job.ended and not (self.draining and job not in self._running.values()):
            left = limit - time.monotonic()
            if left <= 0:
                break
            try:
                await asyncio.wait_for(job.changed.wait(), left)
            except TimeoutError:
                break
        return job.ended

    def drop(self, job: Job) -> bool:
        """Take back a question or lesson that nobody waits for any more; False where it has begun."""
        if job.persisted or not self._waiting.remove(job):
            return False
        job.payload = None
        self._metrics.queue.set(self.waiting)
        return True

    async def follow(self, identifier: str) -> Events | None:
        """What happened and happens to an inspection that waits, runs, or ended not long ago; None for any other."""
        job = self._jobs.get(identifier)
        return None if job is None else self.watch(job)

    async def watch(self, job: Job, beat: float = 15.0) -> Events:
        """Everything that happened to a job and happens to it, to its end; None now and then while nothing does."""
        seen = 0
        while True:
            changed = job.changed
            while seen < len(job.events):
                yield job.events[seen]
                seen += 1
            if job.ended or (self.draining and job not in self._running.values()):
                return
            try:
                await asyncio.wait_for(changed.wait(), beat)
            except TimeoutError:
                yield None

    def _enter(self, job: Job) -> None:
        if job.persisted:
            self._jobs[job.id] = job
        self._waiting.add(job)
        job.context = self._tracing.here()
        job.tell("queued")
        self._metrics.queue.set(self.waiting)
        self._wake.set()

    async def _work(self) -> None:
        """Begin a job whenever there is one and a process is free."""
        while not self.draining:
            self._wake.clear()
            while self._at_model < self._model.ready and (job := await self._next()) is not None:
                self._metrics.queue.set(self.waiting)
                self._metrics.wait_seconds.labels(job.priority).observe(time.monotonic() - job.began)
                job.mark("taken")
                self._at_model += 1
                task = asyncio.create_task(self._do(job), name=f"{job.kind} {job.id}")
                self._running[task] = job
                task.add_done_callback(self._leave)
            await self._wake.wait()

    async def _next(self) -> Job | None:
        """The job whose turn it is."""
        return self._waiting.take(self._may_begin)

    def _may_begin(self, job: Job) -> bool:
        """Two jobs that change profiles are never done at once: the later would undo the earlier."""
        return job.kind not in ONCE or all(other.kind not in ONCE for other in self._running.values())

    def _leave(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()

    async def _ask_model(self, job: Job) -> dict[str, Any]:
        """Read an inspection from the record and have the job done; then its process is free for another."""
        try:
            if job.persisted:
                job.payload = await self._keep(lambda: self._begin(job))
            job.tell("started")
            return await self._model.run(job.kind, job.id, job.payload, lambda kind, rest: _pass_on(job, kind, rest))
        finally:
            self._at_model -= 1
            self._wake.set()

    async def _do(self, job: Job) -> None:
        began = time.monotonic()
        try:
            result = await self._ask_model(job)
            job.mark("answered")
            if job.persisted:
                report = InspectionReport.from_json(result["report"])
                await self._finish(job, report, result["files"])
                self._count(report, time.monotonic() - began)
                result = {"verdict": report.verdict, "probability": report.probability}
            job.result = result
            self._end(job, "done", **result)
        except WorkerLostError as error:
            await self._fail(job, HttpProblem(503, "interrupted", f"The inspection was interrupted: {error}.", 5))
        except ModelUnavailableError as error:
            await self._fail(job, HttpProblem(503, "model_unavailable", str(error), MODEL_RETRY_SECONDS))
        except RecordUnavailableError as error:  # and this server is being stopped
            await self._give_up(job, HttpProblem(503, "no_record", str(error), 10))
        except LeaseLostError as error:  # its new server tells how it ends
            job.error = HttpProblem(503, "moved", str(error), 5)
            self._end(job, "moved")
        except ReasonIADError as error:
            await self._fail(job, HttpProblem(422, "not_inspectable", str(error)))
        except TaskFailedError as error:
            _log.error("the %s job %s failed: %s", job.kind, job.id, "".join([str(error), *error.__notes__]))
            await self._fail(job, HttpProblem(500, "failed", str(error)))
        except asyncio.CancelledError:
            await self._give_up(job, HttpProblem(503, "stopping", "The server was stopped during the inspection.", 10))
            raise
        except Exception as error:  # noqa: BLE001 - the queue must go on
            await self._fail(job, HttpProblem(500, "failed", f"{type(error).__name__}: {error}"[:500]))
        finally:
            self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - began)
            job.payload = None  # images are not kept in memory

    def _begin(self, job: Job) -> Task:
        """Mark an inspection as running; gives what the model process needs."""
        record = self._store.get(job.id)
        assert record is not None
        if record.state == "queued":  # else it was marked before, by a try that the record did not answer
            self._store.start(job.id)
        job.context = job.context or self._tracing.read(record.trace)  # of before a restart, or from another server
        return Task(job.id, self._store.request_of(record))

    async def _finish(self, job: Job, report: InspectionReport, files: dict[str, tuple[str, bytes]]) -> None:
        """Write down what came of an inspection."""
        await self._keep(lambda: self._store.finish(job.id, report, files))

    async def _note_failure(self, job: Job, problem: HttpProblem) -> None:
        """Write down why an inspection has no report."""
        await self._keep(lambda: self._store.fail(job.id, problem.message))

    async def _give_up(self, job: Job, problem: HttpProblem) -> None:
        """End a job that the stop of the server interrupted."""
        await self._fail(job, problem)

    async def _keep(self, write: Callable[[], T]) -> T:
        """Read or write the record, again and again while it cannot be reached or has no room: nothing is lost."""
        wait = 0.25
        while True:
            try:
                return await asyncio.to_thread(write)
            except RecordUnavailableError as error:
                if wait >= MAX_RECORD_WAIT or self.draining:
                    _log.warning("%s", error)
                if self.draining:
                    raise
                await asyncio.sleep(wait)
                wait = min(2 * wait, MAX_RECORD_WAIT)

    async def _fail(self, job: Job, problem: HttpProblem) -> None:
        job.error = problem
        if job.persisted:
            self._metrics.inspections.labels("failed").inc()
            try:
                await self._note_failure(job, problem)
            except Exception:  # noqa: BLE001 - the record cannot be written: recovery marks it after the next start
                job.tell("unrecorded")
        self._end(job, "failed", error=problem.message)

    def _end(self, job: Job, event: str, **data: Any) -> None:
        job.ended = True
        job.tell(event, **data)
        self._tracing.job(job, None if job.error is None else job.error.code, {"verdict": data.get("verdict")})
        self._tell_all()
        ended = [identifier for identifier, other in self._jobs.items() if other.ended]
        for identifier in ended[:-KEPT_HISTORIES]:
            del self._jobs[identifier]

    def _tell_all(self) -> None:
        """Wake those who watch all inspections."""
        self.ended.set()
        self.ended = asyncio.Event()

    def _count(self, report: InspectionReport, seconds: float) -> None:
        self._metrics.inspections.labels(report.verdict).inc()
        if "verdict" not in report.milliseconds:
            self._metrics.unasked.inc()
        self._metrics.inspection_seconds.observe(seconds)
        for stage, milliseconds in report.milliseconds.items():
            self._metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)


def event_text(event: tuple[str, dict[str, Any]] | None) -> str:
    """One server-sent event; a comment where there is nothing to tell."""
    if event is None:
        return ": still here\n\n"
    return f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"


def _pass_on(job: Job, kind: str, rest: tuple[Any, ...]) -> None:
    if kind == "try":
        job.mark("try", rest[0])
    elif kind == "stage":
        job.mark("stage", *rest)
        job.tell(kind, name=rest[0])
    else:
        job.tell(kind, text=rest[0])
