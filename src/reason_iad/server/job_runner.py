"""What becomes of jobs: as many at a time as there are free model processes, and what came of each is written down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from reason_iad.errors import (
    LeaseLostError,
    ModelUnavailableError,
    ReasonIADError,
    RecordUnavailableError,
    WorkerLostError,
)
from reason_iad.server.job_handler import Task
from reason_iad.server.jobs import Job, pass_on
from reason_iad.server.metrics import Metrics
from reason_iad.server.model_workers import ONCE, ModelWorkers
from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import Settings
from reason_iad.server.tracing import Tracing
from reason_iad.server.waiting import Waiting
from reason_iad.store.store import Store
from reason_iad.types import InspectionReport
from reason_iad.workers import TaskFailedError

_log = logging.getLogger("reason_iad.server")
KEPT_HISTORIES = 256  # of inspections that ended, for those who look late
MODEL_RETRY_SECONDS = 30  # after which to ask again where a model's own server does not answer
MAX_RECORD_WAIT = 8.0  # seconds between two tries to reach the record

T = TypeVar("T")


class JobRunner:
    """Has the jobs that wait done, and notes in the record how each ended."""

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
        self._seconds = 2.0  # of a usual job, for Retry-After
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
            return await self._model.run(job.kind, job.id, job.payload, lambda kind, rest: pass_on(job, kind, rest))
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
