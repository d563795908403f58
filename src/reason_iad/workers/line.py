"""The tasks of a pool: those that wait, those that run, and what becomes of one whose process dies.

Every method may be called from any thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from typing import Any

from reason_iad.errors import WorkerLostError
from reason_iad.workers.process import Tell

_LOOK_SECONDS = 0.5  # how often a thread without work looks whether its process still lives


@dataclass(eq=False)
class Task:
    """Something for a process to do."""

    content: Any
    listen: Tell | None
    attempts: int  # how often it may be tried
    on_begin: Callable[[int], None] = lambda number: None  # told the number of the process that takes it
    wanted: int | None = None  # number of the process that does it best; another takes it while that one is busy
    future: Future[Any] = field(default_factory=Future)
    losses: int = 0  # processes that died on it
    process: SpawnProcess | None = None  # that does it
    stopped: str = ""  # why it was stopped from outside

    def fail(self, error: Exception) -> None:
        """End with an error, unless whoever submitted it canceled it."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


class Line:
    """Tasks in the order they came; a task whose process died goes to the front."""

    def __init__(self) -> None:
        """Begin empty and open."""
        self._waiting: deque[Task] = deque()
        self._running: dict[Future[Any], Task] = {}
        self._idle: set[int] = set()  # processes that wait for a task
        self._changed = threading.Condition()
        self._end: Exception | None = None  # why it is closed

    @property
    def open(self) -> bool:
        """Whether tasks are still begun."""
        return self._end is None

    @property
    def running(self) -> int:
        """Number of tasks that processes are at."""
        return len(self._running)

    def put(self, task: Task) -> None:
        """Add a task at the end; where the line is closed, the task ends with the reason."""
        with self._changed:
            end = self._end
            if end is None:
                self._waiting.append(task)
                self._changed.notify_all()  # whichever is wanted
        if end is not None:
            task.fail(end)

    def take(self, process: SpawnProcess, number: int = 0) -> Task | None:
        """Wait for a task and give it to a process; None when the line is closed.

        Args:
            process: that will do it.
            number: of the process in its pool.

        Raises:
            EOFError: the process died while it waited.
        """
        with self._changed:
            try:
                while self._end is None:
                    if not process.is_alive():
                        raise EOFError
                    self._idle.add(number)
                    if (task := self._next(number)) is None:
                        self._changed.wait(_LOOK_SECONDS)
                        continue
                    self._waiting.remove(task)
                    if task.losses or task.future.set_running_or_notify_cancel():
                        task.process = process
                        self._running[task.future] = task
                        return task
            finally:
                self._idle.discard(number)
        return None

    def _next(self, number: int) -> Task | None:
        """The first task that no other idle process does better."""
        return next((one for one in self._waiting if one.wanted == number or one.wanted not in self._idle), None)

    def leave(self, task: Task) -> None:
        """A process is done with a task."""
        with self._changed:
            task.process = None
            self._running.pop(task.future, None)

    def lose(self, task: Task) -> None:
        """The process died on a task: it is tried again first of all, or ends with an error."""
        with self._changed:
            self.leave(task)
            task.losses += 1
            again = self._end is None and not task.stopped and task.losses < task.attempts
            if again:
                self._waiting.appendleft(task)
                self._changed.notify_all()
        if not again:
            often = "once" if task.losses == 1 else "twice" if task.losses == 2 else f"{task.losses} times"
            task.fail(WorkerLostError(task.stopped or f"the model process ended {often} during it; see its memory use"))

    def stop(self, future: Future[Any], why: str) -> bool:
        """End one task, with its process where it runs; whether a process was ended."""
        with self._changed:
            task = self._running.get(future) or next((one for one in self._waiting if one.future is future), None)
            if task is None:
                return False
            task.stopped = why
            if task.process is not None:
                task.process.kill()  # its thread sees that, and ends the task
                return True
            self._waiting.remove(task)
        task.fail(WorkerLostError(why))
        return False

    def close(self, why: Exception) -> None:
        """Begin nothing more; what waits, and what comes, ends with the reason."""
        with self._changed:
            self._end = self._end or why
            dropped = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for task in dropped:
            task.fail(why)

    def stop_running(self, why: str) -> None:
        """Stop every task that runs."""
        for future in list(self._running):
            self.stop(future, why)

    def pause(self, seconds: float) -> None:
        """Wait, or until the line is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None, seconds)
