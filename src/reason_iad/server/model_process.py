"""The server's end of the model process: starts it, hands it one job at a time, notices when it dies, replaces it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from reason_iad.server import worker
from reason_iad.server.metrics import Metrics
from reason_iad.server.settings import Settings

RESTART_SECONDS = (0.5, 2.0, 10.0, 30.0)  # waits before a process that keeps dying is started again
Listener = Callable[[str, tuple[Any, ...]], None]


class JobLostError(Exception):
    """The model process ended, or was stopped, during a job."""


class JobRefusedError(Exception):
    """The job cannot be done as asked; the message is for the client."""


class JobFailedError(Exception):
    """A fault of the program during a job."""


class ModelProcess:
    """One process with the model. All methods belong to the event loop that called `start`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.state, self.detail = "stopped", ""  # stopped, loading, ready, unable
        self.facts: dict[str, str] = {}
        self.ready = asyncio.Event()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._job: tuple[str, asyncio.Future[dict[str, Any]], Listener] | None = None
        self._deaths = 0
        self._stopping = False
        self._generation = 0
        self._restart: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start loading the model; `ready` is set when it is there."""
        self._loop = asyncio.get_running_loop()
        self._generation += 1
        self.state, self.detail = "loading", "starting the model process"
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._settings.factory, self._settings.method)
        self._process = context.Process(target=worker.main, args=arguments, name="reason-iad-model", daemon=True)
        self._process.start()
        theirs.close()  # so that our end closes when the process dies
        reader = threading.Thread(
            target=self._read, args=(self._connection, self._loop, self._generation), daemon=True, name="model-reader"
        )
        reader.start()

    async def run(self, job: str, kind: str, payload: Any, listen: Listener) -> dict[str, Any]:
        """Do one job; what the process says on the way goes to `listen(kind, rest)`.

        Raises:
            JobRefusedError: it cannot be done as asked.
            JobFailedError: a fault of the program.
            JobLostError: the process died, or the job took longer than allowed and the process was stopped.
        """
        assert self._connection is not None
        assert self._loop is not None
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._job = (job, future, listen)
        try:
            await asyncio.to_thread(self._connection.send, (kind, job, payload))
            limit = self._settings.limits.inspection_seconds
            return await asyncio.wait_for(asyncio.shield(future), limit)
        except TimeoutError as error:
            self._kill()
            raise JobLostError(f"it took longer than {limit:g} s and was stopped") from error
        except (OSError, ValueError) as error:  # the pipe broke under us
            raise JobLostError("the model process stopped") from error
        finally:
            future.cancel()
            self._job = None

    async def stop(self) -> None:
        """Let the process end by itself, or make it."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        process, connection = self._process, self._connection
        if connection is not None:
            with contextlib.suppress(OSError, ValueError):
                connection.send(("stop",))
        if process is not None:
            await asyncio.to_thread(process.join, 2.0)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join, 5.0)
        self.state = "stopped"
        self.ready.clear()

    def _kill(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    def _read(self, connection: Connection, loop: asyncio.AbstractEventLoop, generation: int) -> None:
        """Runs in a thread of its own: hand on what the process says, and tell when it is gone."""
        with contextlib.suppress(RuntimeError):  # the loop may close before the process does
            try:
                while True:
                    loop.call_soon_threadsafe(self._hear, generation, connection.recv())
            except (EOFError, OSError):
                connection.close()
                loop.call_soon_threadsafe(self._ended, generation)

    def _hear(self, generation: int, message: tuple[Any, ...]) -> None:
        if generation != self._generation:
            return
        kind, *rest = message
        if kind == "loading":
            self.detail = str(rest[0])
        elif kind == "ready":
            self.state, self.detail, self.facts, self._deaths = "ready", "", rest[0], self._deaths
            self._metrics.ready.set(1)
            self.ready.set()
        elif kind == "unable":
            self.state, self.detail = "unable", str(rest[0])
        elif self._job is not None and rest[0] == self._job[0]:
            self._on_job(kind, rest[1:])

    def _on_job(self, kind: str, rest: list[Any]) -> None:
        assert self._job is not None
        _, future, listen = self._job
        if kind in ("stage", "text"):
            listen(kind, tuple(rest))
        elif not future.done():
            if kind == "done":
                self._deaths = 0
                future.set_result(rest[0])
            else:
                future.set_exception(JobRefusedError(rest[0]) if kind == "refused" else JobFailedError(rest[0]))

    def _ended(self, generation: int) -> None:
        if generation != self._generation:
            return
        self._metrics.ready.set(0)
        self.ready.clear()
        if self._job is not None and not self._job[1].done():
            self._job[1].set_exception(JobLostError("the model process stopped during it"))
        if self._stopping or self._loop is None:
            return
        self._metrics.restarts.inc()
        wait = RESTART_SECONDS[min(self._deaths, len(RESTART_SECONDS) - 1)]
        self._deaths += 1
        if self.state != "unable":
            self.state, self.detail = "loading", "the model process stopped; it is being started again"
        self._restart = self._loop.call_later(wait, self.start)
