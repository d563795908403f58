"""The queue before the model processes: bounded, persisted, watched, fair (`waiting`).

An inspection is in the record before its acceptance is told, so a kill loses none: on the next start those that
waited still wait, and those that ran are marked as failed. Questions and feedback join the same queue, ahead of
inspections (a person waits for them), and are not persisted: who asked is still there to ask again.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from reason_iad.server.job_handler import Lesson, Task
from reason_iad.server.job_runner import JobRunner
from reason_iad.server.jobs import Events, Job
from reason_iad.server.metrics import Metrics
from reason_iad.server.model_workers import ModelWorkers
from reason_iad.server.problems import HttpProblem
from reason_iad.server.settings import Settings
from reason_iad.server.tracing import Tracing
from reason_iad.server.waiting import ORDER, Priority
from reason_iad.store.idempotency import Claim
from reason_iad.store.leases import ServerState
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


class InspectionQueue(JobRunner):
    """Takes jobs where there is room, and tells how they go on."""

    def __init__(
        self, settings: Settings, store: Store, model: ModelWorkers, metrics: Metrics, tracing: Tracing
    ) -> None:
        super().__init__(settings, store, model, metrics, tracing)
        self._reserved = 0
        self._task: asyncio.Task[None] | None = None
        self.leaving = False  # a server that others replace: it takes no more from a shared record, and answers on

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

    async def find(self, identifier: str) -> Job | None:
        """An inspection that was accepted, to wait for its end; None where it ended long ago."""
        for _ in range(100):
            if (job := self._jobs.get(identifier)) is not None or not self._reserved:
                return job
            await asyncio.sleep(0.02)  # it may be in the record, and enter the queue in a moment
        return None

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
