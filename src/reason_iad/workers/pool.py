"""A pool of model processes.

Work leaves this process because models hold the interpreter for seconds, because several of them use the cores better
than one, and because one that dies (out of memory, a fault in a library) must not take the program along.

The processes are started afresh (never forked: a forked copy of a process with threads may hang), their threads are
pinned, and a thread here attends each. Whichever is free takes the next task. A process that dies is replaced; its task
is done again, and given up when the process dies on it once more. When this process is gone, so are they.

A task is anything that can be pickled. What decides which waits (a fair queue, priorities) stands before the pool: with
no more tasks submitted than there are workers, the pool decides nothing.
"""

from __future__ import annotations

import functools
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from reason_iad.errors import WorkerLostError
from reason_iad.processor import cores
from reason_iad.workers.attendant import Attendant, Care, OnState
from reason_iad.workers.line import Line, Task
from reason_iad.workers.process import Factory, Tell

MAX_ATTEMPTS = 2  # a task is tried again once after its process died
_JOIN_SECONDS = 3.0


@dataclass(frozen=True)
class Event:
    """What happened to a task: told something, or ended with a result or an error."""

    task: Any
    kind: Literal["told", "done", "failed"]
    content: Any


class WorkerPool:
    """Processes with a model each, and the tasks they take from one line.

    with WorkerPool(factory, workers=2) as pool:
        for task, future in pool.in_order(tasks):
            ...
    """

    def __init__(
        self,
        factory: Factory,
        workers: int = 1,
        *,
        threads: int | None = None,
        restart_seconds: Sequence[float] = (0.0,),
        give_up: bool = True,
        on_state: OnState = lambda number, state, content: None,
    ) -> None:
        """Describe the pool; `start` (or a `with` block) starts it.

        Args:
            factory: loads the model in each process and returns what does its tasks; a program that makes a pool needs
                the guard `if __name__ == "__main__":`.
            workers: number of processes, each with the memory of a model.
            threads: of the numerical libraries in each; by default the cores are shared out where there are several.
            restart_seconds: waits before a process that keeps dying is started again; the last one repeats.
            give_up: end the pool where a model cannot be loaded; a server goes on trying.
            on_state: told, from a thread, what becomes of each process.
        """
        if threads is None and workers > 1:
            threads = max(1, cores() // workers)
        self._line = Line()
        care = Care(factory, threads, restart_seconds, give_up, on_state)
        self._crew = [Attendant(number, self._line, care) for number in range(workers)]

    def __enter__(self) -> WorkerPool:
        """Start the processes."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes at once."""
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes there are."""
        found = (self.pid(number) for number in range(len(self._crew)))
        return tuple(pid for pid in found if pid is not None)

    def pid(self, number: int) -> int | None:
        """Number that the system gave process `number` of the pool; None while there is none."""
        process = self._crew[number].process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start loading a model in each process; tasks can be submitted at once."""
        for attendant in self._crew:
            attendant.start()

    def submit(
        self,
        task: Any,
        listen: Tell | None = None,
        attempts: int = MAX_ATTEMPTS,
        *,
        on_begin: Callable[[int], None] = lambda number: None,
        wanted: int | None = None,
    ) -> Future[Any]:
        """Put a task at the end of the line.

        Args:
            task: what the handler is called with.
            listen: called, from a thread, with everything that the handler tells on the way.
            attempts: how often it may be tried; 1 for what must not be done twice.
            on_begin: called, from a thread, with the number of the process that takes it, at every try.
            wanted: number of the process that does it best; another takes it while that one is busy or gone.

        Returns:
            A future with the handler's result or an error: the project's own as it was raised there, `WorkerLostError`
            where the process died on it, `TaskFailedError` for a fault of the program.
        """
        waiting = Task(task, listen, attempts, on_begin, wanted)
        self._line.put(waiting)
        return waiting.future

    def stop_task(self, future: Future[Any], why: str) -> bool:
        """End a task, with its process where it runs; its future gets a `WorkerLostError` that says why.

        Returns:
            Whether a process was ended.
        """
        return self._line.stop(future, why)

    def events(self, tasks: Iterable[Any]) -> Iterator[Event]:
        """Do tasks in any order, and yield what happens to them as it happens; a few wait in line, not all."""
        heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        source = iter(tasks)

        def begin() -> int:
            for task in source:
                future = self.submit(task, functools.partial(_hear, heard, task))
                future.add_done_callback(functools.partial(_end, heard, task))
                return 1
            return 0

        unfinished = sum(begin() for _ in range(2 * len(self._crew)))
        while unfinished:
            event = heard.get()
            if event.kind != "told":
                unfinished += begin() - 1
            yield event

    def in_order(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Future[Any]]]:
        """Do tasks, and yield each with its finished future, in their order; a few are done ahead, not all."""
        ahead: deque[tuple[Any, Future[Any]]] = deque()
        for task in tasks:
            ahead.append((task, self.submit(task)))
            if len(ahead) >= 2 * len(self._crew):
                ahead[0][1].exception()  # waits
                yield ahead.popleft()
        while ahead:
            ahead[0][1].exception()
            yield ahead.popleft()

    def close(self, seconds: float = 0.0) -> None:
        """End the processes: idle ones by themselves, busy ones when they are done or `seconds` are over."""
        self._line.close(WorkerLostError("the workers were stopped"))
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and self._line.running:
            time.sleep(0.02)
        self._line.stop_running("the workers were stopped")
        for attendant in self._crew:
            if attendant.ident is None:  # never started
                continue
            attendant.join(_JOIN_SECONDS)
            if attendant.is_alive():
                attendant.kill()
                attendant.join(_JOIN_SECONDS)


def _hear(heard: queue.SimpleQueue[Event], task: Any, message: Any) -> None:
    heard.put(Event(task, "told", message))


def _end(heard: queue.SimpleQueue[Event], task: Any, future: Future[Any]) -> None:
    error = future.exception()
    heard.put(Event(task, "done", future.result()) if error is None else Event(task, "failed", error))
