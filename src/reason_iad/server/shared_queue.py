"""The queue of one server among several on a shared record (PostgreSQL).

Inspections wait in the record, and whichever server has a free model process leases the next (`store.leases`); each
says every few seconds that it is still there. What happens to an inspection is kept in the record and told to all
servers, so that each can stream it from the first event to the last. Questions and lessons stay where they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from reason_iad import __version__
from reason_iad.errors import LeaseLostError, RecordUnavailableError
from reason_iad.server.hearing import Hearing
from reason_iad.server.job_handler import Task
from reason_iad.server.jobs import Events, Job
from reason_iad.server.lessons import SharedLessons
from reason_iad.server.model_workers import ONCE
from reason_iad.server.problems import HttpProblem
from reason_iad.server.queue import InspectionQueue
from reason_iad.server.tracing import Mark
from reason_iad.server.waiting import LOT_TURN, Priority
from reason_iad.store.leases import ENDINGS, add_event
from reason_iad.store.shelf import EVENT as SHELVED

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from reason_iad.store.leases import Lease, Queued, ServerState
    from reason_iad.types import InspectionReport

BEATS = 4  # signs of life in the time of a lease
LOOK_SECONDS = 2.0  # after which the record is looked into where no notice came
TIDY_SECONDS = 600.0  # after which what is no longer of use is forgotten
QUIET_SECONDS = 15.0  # after which whoever watches gets a sign of life
_log = logging.getLogger("reason_iad.server")


class SharedQueue(InspectionQueue):
    """Takes inspections of the record that all servers share; the rest is as with one server."""

    def __init__(self, *args: Any) -> None:
        """Take what `InspectionQueue` takes; the store must be shared."""
        super().__init__(*args)
        self.server = secrets.token_hex(16)
        self._leases = self._store.leases(self.server, self._settings.lease_seconds)
        self._queued: dict[str, Job] = {}  # inspections that wait, oldest first, as far as heard
        self._begun: deque[str] = deque(maxlen=512)  # that waited not long ago
        self._hearing, self._lessons = Hearing(), SharedLessons(self._store, self._settings.mirror)
        self._locks: dict[str, asyncio.Lock] = {}  # of inspections whose events are being written
        self._told: dict[str, int] = {}  # how many of a job's events are in the record
        self._servers, self._since_lot = 1, 0
        self._pulse = ThreadPoolExecutor(1, "pulse")  # a sign of life waits behind nothing
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Jobs that wait: inspections at all servers, questions and lessons at this one."""
        return len(self._queued) + len(self._waiting)

    @property
    def room(self) -> int:
        """How many may wait: each server brings its places."""
        return self._settings.queue_size * self._servers

    def position(self, identifier: str) -> int | None:
        """Place of an inspection among those that wait, from 1, by its arrival; None where it does not wait."""
        return next((n for n, one in enumerate(self._queued, 1) if one == identifier), None)

    def _all_waiting(self) -> list[Job]:
        return [*super()._all_waiting(), *self._queued.values()]

    async def servers(self) -> tuple[ServerState, ...]:
        """The servers that share the record."""
        return await asyncio.to_thread(self._leases.servers)

    async def stop(self) -> None:
        """Let the jobs that run end, for as long as the settings allow; the others wait for another server."""
        await super().stop()
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            self._listener.stop()
            await asyncio.to_thread(self._listener.join)
            with contextlib.suppress(RecordUnavailableError):
                await asyncio.to_thread(self._leases.leave)
        self._pulse.shutdown()

    def _enter(self, job: Job) -> None:
        """Put an inspection before all servers, where it is in the record; the rest waits here."""
        if not job.persisted:
            super()._enter(job)
            return
        if job.id not in self._begun:
            self._queued[job.id] = job
        self._wake.set()

    async def find(self, identifier: str) -> Job | None:
        """An inspection that was accepted, at whichever server; how it ended is known for an hour."""
        return Job(identifier, "inspect", persisted=True)

    async def result(self, job: Job, seconds: float) -> bool:
        """Wait for the end of a job at whichever server, or for the end of this server; whether it ended."""
        if not job.persisted:
            return await super().result(job, seconds)
        limit = time.monotonic() + seconds
        with self._hearing.of(job.id, at_end=True) as heard:
            while not await self._has_ended(job):
                left = limit - time.monotonic()
                if left <= 0 or self.draining:
                    return False
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), min(left, LOOK_SECONDS))
                heard.clear()
        return True

    async def follow(self, identifier: str) -> Events | None:
        """What happened and happens to an inspection, at whichever server; None where that is no longer known."""
        known = await asyncio.to_thread(self._leases.events, identifier)
        return self._stream(identifier) if known else None

    async def _stream(self, identifier: str) -> AsyncIterator[tuple[str, dict[str, Any]] | None]:
        seen, quiet = 0, time.monotonic()
        with self._hearing.of(identifier) as heard:
            while True:
                heard.clear()
                with contextlib.suppress(RecordUnavailableError):
                    for event in await asyncio.to_thread(self._leases.events, identifier, seen):
                        yield event.event, {"at": event.milliseconds, **event.data}
                        seen, quiet = event.id, time.monotonic()
                        if event.event in ENDINGS:
                            return
                if self.draining:
                    yield "stopping", {}
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), LOOK_SECONDS)
                if time.monotonic() - quiet > QUIET_SECONDS:
                    quiet = time.monotonic()
                    yield None
                    with contextlib.suppress(RecordUnavailableError):
                        if await asyncio.to_thread(self._store.get, identifier) is None:
                            return

    async def _take_up(self) -> None:
        """Begin to listen and to give signs of life; what a dead server was at is taken when its leases lapse."""
        loop = asyncio.get_running_loop()

        def hear(identifier: str, event: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._hear, identifier, event)

        self._listener = self._store.listen(hear)
        self._listener.start()
        self._tasks = [
            asyncio.create_task(self._beat(), name="signs of life"),
            asyncio.create_task(self._lessons.keep_alike(), name="mirror"),
        ]

    async def _beat(self) -> None:
        """Say that this server is there, again and again."""
        loop, silent, tidied = asyncio.get_running_loop(), False, time.monotonic()
        while True:
            running = [job.id for job in self._running.values() if job.persisted]
            facts = {
                "name": f"{socket.gethostname()}:{self._settings.port}", "version": __version__,
                "workers": self._settings.workers, "ready": self._model.ready,
            }  # fmt: skip
            try:
                beat = await loop.run_in_executor(self._pulse, self._leases.beat, facts, running)
                if time.monotonic() - tidied > TIDY_SECONDS:
                    tidied = time.monotonic()
                    await asyncio.to_thread(self._leases.tidy)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one may come through
                if not silent:
                    _log.warning("the record does not hear this server: %s", error)
                silent = True
            else:
                silent, self._servers = False, beat.servers
                self._queued = {one.id: _job_of(one) for one in beat.waiting}
                for identifier in beat.lost:
                    _log.warning("another server has taken over the inspection %s", identifier)
                self._metrics.queue.set(self.waiting)
            self._wake.set()
            await asyncio.sleep(self._settings.lease_seconds / BEATS)

    def _hear(self, identifier: str, event: str) -> None:
        """Act on a notice; without an id some may have been missed."""
        if event == "queued":
            self._queued.setdefault(identifier, Job(identifier, "inspect", persisted=True))
            self._wake.set()
        elif identifier and (self._queued.pop(identifier, None) is not None or event == "started"):
            self._begun.append(identifier)
        elif event == SHELVED:
            self._lessons.changed()
        ended = event in ENDINGS
        self._hearing.wake(identifier, ended)
        if ended or not identifier:
            self._tell_all()

    async def _has_ended(self, job: Job) -> bool:
        """Whether an inspection has ended, and with which error."""
        try:
            known = await asyncio.to_thread(self._leases.events, job.id)
        except RecordUnavailableError:  # it may come back while the client waits
            return False
        for event in known:
            if event.event in ENDINGS:
                job.ended = True
                if event.event == "failed":
                    told = event.data
                    job.error = HttpProblem(
                        told.get("status", 503), told.get("code", "failed"), told["error"], told.get("retry_after")
                    )
        return job.ended

    async def _next(self) -> Job | None:
        """A question or lesson of this server, else the inspection of the record whose turn it is."""
        if (job := await super()._next()) is not None or self.leaving or self.draining:
            return job
        at_them = [other.id for other in self._running.values() if other.persisted]
        try:
            lease = await asyncio.to_thread(self._leases.take, self._since_lot >= LOT_TURN - 1, at_them)
        except RecordUnavailableError:  # the next sign of life wakes us again
            return None
        if lease is None:
            return None
        self._since_lot = 0 if lease.priority == "lot" else self._since_lot + 1
        self._queued.pop(lease.id, None)
        self._begun.append(lease.id)
        return _job_of(lease)

    def _begin(self, job: Job) -> Task:
        """What the model process needs; the lease has marked the inspection as running."""
        record = self._store.get(job.id)
        if record is None:
            raise LeaseLostError(f"the inspection {job.id} was deleted")
        job.context = self._tracing.read(record.trace)
        return Task(job.id, self._store.request_of(record))

    async def _do(self, job: Job) -> None:
        if not job.persisted:
            async with self._lessons.turn() if job.kind in ONCE else contextlib.nullcontext():
                await super()._do(job)
            return
        self._locks[job.id], self._told[job.id] = asyncio.Lock(), 0
        telling = asyncio.create_task(self._tell(job))
        try:
            await super()._do(job)
        finally:
            telling.cancel()
            del self._locks[job.id], self._told[job.id]

    async def _tell(self, job: Job) -> None:
        """Write the stages of an inspection down as they come."""
        while True:
            changed = job.changed
            async with self._locks[job.id]:
                seen, new = len(job.events), self._untold(job)
                if new:
                    with contextlib.suppress(LeaseLostError, RecordUnavailableError):
                        await asyncio.to_thread(self._leases.tell, job.id, new)
                        self._told[job.id] = seen
            await changed.wait()

    def _untold(self, job: Job) -> list[tuple[str, dict[str, Any]]]:
        """Stages that are not in the record yet."""
        return [(event, {"name": data["name"]}) for event, data in job.events[self._told[job.id] :] if event == "stage"]

    async def _finish(self, job: Job, report: InspectionReport, files: dict[str, tuple[str, bytes]]) -> None:
        end = {"verdict": report.verdict, "probability": report.probability}
        async with self._locks[job.id]:
            also = _adding(job.id, [*self._untold(job), ("done", end)])
            await self._keep(lambda: self._store.finish(job.id, report, files, also, by=self.server))

    async def _note_failure(self, job: Job, problem: HttpProblem) -> None:
        end = {
            "error": problem.message, "code": problem.code, "status": problem.status, "retry_after": problem.retry_after
        }  # fmt: skip
        async with self._locks[job.id]:
            also = _adding(job.id, [*self._untold(job), ("failed", end)])
            await self._keep(lambda: self._store.fail(job.id, problem.message, also, by=self.server))

    async def _give_up(self, job: Job, problem: HttpProblem) -> None:
        """Leave an inspection to another server; only a question fails."""
        if not job.persisted:
            await super()._give_up(job, problem)
            return
        with contextlib.suppress(RecordUnavailableError):  # then its lease lapses
            await asyncio.to_thread(self._leases.release, job.id)
        job.error = problem
        self._end(job, "moved")


def _job_of(found: Lease | Queued) -> Job:
    job = Job(found.id, "inspect", found.who, cast(Priority, found.priority), persisted=True)
    job.began -= found.waited
    job.marks = [Mark("queued", time.time_ns() - round(1e9 * found.waited))]
    return job


def _adding(identifier: str, events: list[tuple[str, dict[str, Any]]]) -> Any:
    def add(session: Session) -> None:
        for event, data in events:
            add_event(session, identifier, event, data)

    return add
