"""The server's end of the model process: one pool of one process, seen from the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from reason_iad.server import job_handler
from reason_iad.server.metrics import Metrics
from reason_iad.server.settings import Settings
from reason_iad.workers import MAX_ATTEMPTS, State, WorkerPool

RESTART_SECONDS = (0.5, 2.0, 10.0, 30.0)  # waits before a process that keeps dying is started again
ONCE = ("feedback", "learn")  # kinds of jobs that change a profile: not tried again when the process died
Listener = Callable[[str, tuple[Any, ...]], None]


class ModelProcess:
    """One process with the model. All methods belong to the event loop that called `start`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.state, self.detail = "stopped", ""  # stopped, loading, ready, unable
        self.facts: dict[str, str] = {}
        self.ready = asyncio.Event()
        self._pool: WorkerPool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        pids = () if self._pool is None else self._pool.pids
        return pids[0] if pids else None

    def start(self) -> None:
        """Start loading the model; `ready` is set when it is there."""
        self._loop = asyncio.get_running_loop()
        factory = functools.partial(job_handler.load, self._settings.factory, self._settings.method)
        self._pool = WorkerPool(
            factory, restart_seconds=RESTART_SECONDS, give_up=False, on_state=functools.partial(self._later, self._hear)
        )
        self.state, self.detail = "loading", "starting the model process"
        self._pool.start()

    async def run(self, kind: str, payload: Any, listen: Listener) -> dict[str, Any]:
        """Do one job; what the process says on the way goes to `listen(kind, rest)`.

        Raises:
            ReasonIADError: it cannot be done as asked.
            WorkerLostError: the process died, or the job took longer than allowed and the process was stopped.
            TaskFailedError: a fault of the program.
        """
        assert self._pool is not None
        future = self._pool.submit(
            (kind, payload),
            functools.partial(self._later, lambda message: listen(message[0], message[1:])),
            1 if kind in ONCE else MAX_ATTEMPTS,
        )
        limit = self._settings.limits.inspection_seconds
        result: asyncio.Future[dict[str, Any]] = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({result}, timeout=limit)
            if not done and self._pool.stop_task(future, f"it took longer than {limit:g} s and was stopped"):
                self.ready.clear()  # the time of what comes next begins when there is a process for it
            return await result
        finally:
            result.cancel()

    async def stop(self) -> None:
        """Let the process end by itself, or make it."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call something in the event loop; called in a thread of the pool."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop was closed before the process ended
            return

    def _hear(self, number: int, state: State, content: Any) -> None:
        if state == "ready":
            self.state, self.detail, self.facts = "ready", "", content
        elif state == "lost":
            self._metrics.restarts.inc()
            if self.state != "unable":
                self.state, self.detail = "loading", "the model process stopped; it is being started again"
        elif state != "loading" or self.state != "unable":
            self.state, self.detail = state, str(content)
        self._metrics.ready.set(state == "ready")
        (self.ready.set if state == "ready" else self.ready.clear)()
