"""The server's end of the model processes: one pool of them, seen from the event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reason_iad.errors import WorkerLostError
from reason_iad.languages import translatable
from reason_iad.server import job_handler
from reason_iad.server.metrics import Metrics
from reason_iad.server.settings import Settings
from reason_iad.workers import MAX_ATTEMPTS, State, WorkerPool

_log = logging.getLogger("reason_iad.server")
RESTART_SECONDS = (0.5, 2.0, 10.0, 30.0)  # waits before a process that keeps dying is started again
ONCE = ("feedback", "learn")  # kinds of jobs that change a profile: not tried again when the process died
REMEMBERED = 1024  # inspections of which it is known which process has them before it
Listener = Callable[[str, tuple[Any, ...]], None]


@dataclass(frozen=True)
class Doing:
    """What a model process is at."""

    kind: str
    id: str  # of the inspection
    since: float = field(default_factory=time.monotonic)  # when this try began


@dataclass
class Worker:
    """A model process, as the event loop knows it; one that dies is followed by another of the same number."""

    number: int
    state: State = "stopped"
    pid: int | None = None
    doing: Doing | None = None
    jobs: int = 0  # that ended, since the server started
    restarts: int = 0

    @property
    def memory_bytes(self) -> int | None:
        """Its resident memory, where the system tells it."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")


class ModelWorkers:
    """Processes with a model each. All methods belong to the event loop that called `start`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.detail = ""  # what the process that is furthest says of itself
        self.facts: dict[str, str] = {}
        self.on_change: Callable[[], None] = lambda: None  # called when a process is ready or lost
        self._workers = [Worker(number) for number in range(settings.workers)]
        self._homes: OrderedDict[str, int] = OrderedDict()  # which process has an inspection before it
        self._pool: WorkerPool | None = None
        self._at: Counter[WorkerPool] = Counter()  # jobs that each pool has
        self._renewing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def state(self) -> Literal["stopped", "loading", "ready", "unable"]:
        """Of the process that is furthest."""
        found = {worker.state for worker in self._workers}
        if "ready" in found:
            return "ready"
        if "unable" in found:
            return "unable"
        return "loading" if found & {"loading", "lost"} else "stopped"

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes there are."""
        return () if self._pool is None else self._pool.pids

    @property
    def ready(self) -> int:
        """Processes whose model is loaded."""
        return sum(worker.state == "ready" for worker in self._workers)

    @property
    def workers(self) -> list[Worker]:
        """How each process is now."""
        for worker in self._workers:
            worker.pid = None if self._pool is None else self._pool.pid(worker.number)
        return self._workers

    def start(self) -> None:
        """Start loading the models."""
        self._loop = asyncio.get_running_loop()
        first = self._pool = self._make(lambda *heard: self._hear(*heard) if self._pool is first else None)
        for worker in self._workers:
            worker.state = "loading"
        self.detail = translatable("starting the model process")
        self._pool.start()

    async def renew(self) -> bool:
        """Load the models anew, beside those there are, and let them take over when all are ready.

        What runs is ended by the process that is at it; nothing is refused meanwhile, and where the new ones cannot be
        loaded the old ones go on. It needs the memory of both. Returns whether the new ones took over.
        """
        async with self._renewing:
            fresh: asyncio.Queue[tuple[int, State, Any]] = asyncio.Queue()
            hear: Callable[[int, State, Any], None] = lambda *heard: fresh.put_nowait(heard)  # noqa: E731
            pool = self._make(lambda *heard: self._hear(*heard) if self._pool is pool else hear(*heard))
            pool.start()
            ready: dict[int, Any] = {}
            try:
                while len(ready) < self._settings.workers:
                    number, state, content = await fresh.get()
                    if state == "ready":
                        ready[number] = content
                    elif state in ("unable", "lost"):
                        _log.error("the models cannot be loaded anew, so those of before go on: %s", content)
                        break
            finally:
                if len(ready) < self._settings.workers:
                    await asyncio.to_thread(pool.close)
            if len(ready) < self._settings.workers:
                return False
            old, self._pool, self.facts = self._pool, pool, ready[0]
            self._homes.clear()  # images are before the old processes
            for worker in self._workers:
                worker.state = "ready"
            self.on_change()
            assert old is not None
            while self._at[old]:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(old.close)
            del self._at[old]
            return True

    def _make(self, hear: Callable[[int, State, Any], None]) -> WorkerPool:
        """Processes that tell of themselves in the event loop."""
        factory = functools.partial(job_handler.load, self._settings.factory, self._settings.method)
        return WorkerPool(
            factory, self._settings.workers, restart_seconds=RESTART_SECONDS, give_up=False,
            on_state=functools.partial(self._later, hear),
        )  # fmt: skip

    async def run(self, kind: str, identifier: str, payload: Any, listen: Listener) -> dict[str, Any]:
        """Do one job; what the process says on the way goes to `listen(kind, rest)`.

        The time that it may take begins when a process takes it. A question goes to the process that has the inspection
        before it, if that one is free.

        Raises:
            ReasonIADError: it cannot be done as asked.
            WorkerLostError: the process died, or the job took longer than allowed and the process was stopped.
            TaskFailedError: a fault of the program.
        """
        pool = self._pool
        assert pool is not None
        begun = asyncio.Event()
        tries: list[tuple[Worker, Doing]] = []

        def begin(number: int) -> None:
            if tries:
                self._leave(*tries[-1], "lost")
            worker, doing = self._workers[number], Doing(kind, identifier)
            worker.doing = doing
            tries.append((worker, doing))
            listen("try", (number,))
            self._remember(identifier, number)
            begun.set()

        self._at[pool] += 1
        future = pool.submit(
            (kind, payload),
            functools.partial(self._later, lambda message: listen(message[0], message[1:])),
            1 if kind in ONCE else MAX_ATTEMPTS,
            on_begin=functools.partial(self._later, begin),
            wanted=self._homes.get(identifier) if kind == "ask" else None,
        )
        result: asyncio.Future[dict[str, Any]] = asyncio.wrap_future(future)
        try:
            await _first(result, begun)
            limit = self._settings.limits.inspection_seconds
            while not result.done():
                left = tries[-1][1].since + limit - time.monotonic()
                await asyncio.wait({result}, timeout=max(left, 0.0))
                if not result.done() and time.monotonic() >= tries[-1][1].since + limit:
                    pool.stop_task(future, f"it took longer than {limit:g} s and was stopped")
                    break
            return await result
        finally:
            self._at[pool] -= 1
            if tries:
                self._leave(*tries[-1], _outcome(result))
            result.cancel()

    async def stop(self) -> None:
        """Let the processes end by themselves, or make them."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)

    def _remember(self, identifier: str, number: int) -> None:
        self._homes[identifier] = number
        self._homes.move_to_end(identifier)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call something in the event loop; called in a thread of the pool."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop was closed before the process ended
            return

    def _leave(self, worker: Worker, doing: Doing, result: str) -> None:
        """Note that a process is no longer at a job."""
        if worker.doing is not doing:
            return
        worker.doing = None
        worker.jobs += 1
        name = str(worker.number)
        self._metrics.worker_jobs.labels(name, doing.kind, result).inc()
        self._metrics.worker_seconds.labels(name).inc(time.monotonic() - doing.since)

    def _hear(self, number: int, state: State, content: Any) -> None:
        worker = self._workers[number]
        before = worker.state
        if state == "lost":
            self._metrics.restarts.inc()
            self._metrics.worker_restarts.labels(str(number)).inc()
            worker.restarts += 1
            if worker.doing is not None:
                self._leave(worker, worker.doing, "lost")
        if before == "unable" and state in ("loading", "lost"):
            state = "unable"  # until it is ready: that it is tried again is no news
        elif state == "lost":
            content = "the model process stopped; it is being started again"
        worker.state = state
        if state == "ready":
            self.facts = content
        if state != "ready" and before != "unable":
            self.detail = str(content)
        if self.ready:
            self.detail = ""
        self._metrics.ready.set(self.ready > 0)
        self._metrics.workers.set(self.ready)
        self.on_change()


async def _first(result: asyncio.Future[Any], begun: asyncio.Event) -> None:
    """Wait until a job has begun, or ended before it could."""
    beginning = asyncio.ensure_future(begun.wait())
    try:
        await asyncio.wait({result, beginning}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        beginning.cancel()


def _outcome(result: asyncio.Future[Any]) -> str:
    """How a job ended, for the count of its process."""
    if not result.done() or result.cancelled() or isinstance(result.exception(), WorkerLostError):
        return "lost"
    return "done" if result.exception() is None else "failed"
