"""A pool of actors on a Ray cluster, with the interface of the local pool: each actor has a model of its own.

A task is done by one actor at a time. An actor that is lost, by itself or with its machine, is replaced; its task is
done again by another, and given up when an actor is lost on it once more. Order, retries and errors are those of
`pool`; machines and autoscaling are Ray's. What travels are tasks and results; weights are read on each machine from
the program's folder, and this package has to be installed there.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from reason_iad.errors import InputError, ModelError, WorkerLostError
from reason_iad.workers.pool import MAX_ATTEMPTS, Event
from reason_iad.workers.process import Factory, Handler, portable

LOCAL = "local"
START_SECONDS = 900  # for a first actor to load its model
AHEAD = 4  # results for each actor that may wait for one before them in order


class Actor:
    """What runs inside an actor."""

    def __init__(self, factory: Factory) -> None:
        """Load the model."""
        self._handler: Handler | None = None
        self._unable: Exception | None = None
        try:
            self._handler = factory(lambda message: None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the pool must tell it
            self._unable = portable(error)

    def ready(self) -> Exception | None:
        """Answered once the model is loaded, or cannot be."""
        return self._unable

    def do(self, task: Any) -> list[tuple[str, Any]]:
        """Do a task: what it told on the way, and at last ("done", result) or ("failed", error)."""
        assert self._handler is not None
        messages: list[tuple[str, Any]] = []
        try:
            messages.append(("done", self._handler(task, lambda message: messages.append(("told", message)))))
        except Exception as error:  # noqa: BLE001 - one task must not end the actor
            messages.append(("failed", portable(error)))
        return messages


@dataclass(eq=False)
class _Task:
    """Something for an actor to do."""

    number: int
    content: Any
    losses: int = 0


class RayPool:
    """Actors with a model each.

    with RayPool(factory, workers=8, address="auto") as pool:
        for task, future in pool.in_order(tasks):
            ...
    """

    def __init__(self, factory: Factory, workers: int = 1, address: str = LOCAL) -> None:
        """Describe the pool; a `with` block starts it.

        Args:
            factory: loads the model in each actor and returns what does its tasks; must be picklable.
            workers: number of actors, each with one processor and the memory of a model.
            address: of the cluster ("ray://host:10001", "auto"); "local" starts one on this machine and ends it.
        """
        self._factory, self._workers, self._address = factory, workers, address
        self._ray: Any = None
        self._class: Any = None
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}  # actors that a machine may have no room for, as when another was lost
        self._running: dict[Any, tuple[Any, _Task]] = {}
        self._again: deque[_Task] = deque()  # tasks whose actor was lost
        self._losses_in_a_row = 0
        self._output = contextlib.ExitStack()  # puts standard output back

    def __enter__(self) -> RayPool:
        """Connect and start the actors.

        Raises:
            InputError: Ray is not installed, or the cluster cannot be reached.
        """
        self._ray = _connect(self._address, self._workers)
        self._output.enter_context(contextlib.redirect_stdout(_OwnOutput(sys.stdout)))
        self._class = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Actor)
        for _ in range(self._workers):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the actors, and the connection."""
        with self._output, contextlib.redirect_stdout(sys.stderr):  # Ray says what is left to say in this thread
            for actor in [*self._idle, *self._starting.values(), *(actor for actor, _ in self._running.values())]:
                self._ray.kill(actor)
            self._ray.shutdown()

    def events(self, tasks: Iterable[Any]) -> Iterator[Event]:
        """Do tasks in any order, and yield what came of each when it ends.

        Raises:
            ReasonIADError: the actors cannot be started, or not load the model.
            TaskFailedError: they cannot for a fault of the program.
        """
        for task, messages in self._ended(_Task(number, content) for number, content in enumerate(tasks)):
            for kind, content in messages:
                yield Event(task.content, kind, content)  # type: ignore[arg-type]

    def in_order(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Future[Any]]]:
        """Do tasks, and yield each with its finished future, in their order; a few are done ahead, not all.

        Raises:
            ReasonIADError: the actors cannot be started, or not load the model.
            TaskFailedError: they cannot for a fault of the program.
        """
        found: dict[int, tuple[_Task, Future[Any]]] = {}
        due = 0

        def near(source: Iterable[Any]) -> Iterator[_Task | None]:
            for number, content in enumerate(source):
                while number >= due + AHEAD * self._workers:
                    yield None  # not yet
                yield _Task(number, content)

        for task, messages in self._ended(near(tasks)):
            kind, content = messages[-1]
            future: Future[Any] = Future()
            (future.set_result if kind == "done" else future.set_exception)(content)
            found[task.number] = task, future
            while due in found:
                ended, result = found.pop(due)
                due += 1
                yield ended.content, result

    def _ended(self, tasks: Iterator[_Task | None]) -> Iterator[tuple[_Task, list[tuple[str, Any]]]]:
        """Tasks with what came of them, as they end; a None among `tasks` means that none is to be begun yet."""
        left = True
        while left or self._running or self._again:
            while self._idle and (self._again or left):
                task = self._again.popleft() if self._again else next(tasks, _END)
                if task is None:
                    break
                if task is _END:
                    left = False
                    continue
                actor = self._idle.pop()
                self._running[actor.do.remote(task.content)] = actor, task
            if (left or self._running or self._again) and (ended := self._wait()) is not None:
                yield ended

    def _wait(self) -> tuple[_Task, list[tuple[str, Any]]] | None:
        """Wait until something happens to an actor: a task and its messages where one ended."""
        reference = self._first()
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # the actor died, its machine, or Ray ended it for its memory
            return self._lose(reference, error)
        self._losses_in_a_row = 0
        if reference in self._starting:
            if found is not None:  # another would be as unable
                raise found
            self._idle.append(self._starting.pop(reference))
            return None
        actor, task = self._running.pop(reference)
        self._idle.append(actor)
        return task, found

    def _first(self) -> Any:
        """What ends first: a task, or the start of an actor."""
        waiting = [*self._running, *self._starting]
        limit = None if self._running else START_SECONDS
        finished = self._ray.wait(waiting, num_returns=1, timeout=limit)[0] if waiting else ()
        if not finished:
            raise ModelError(
                f"no worker on Ray was ready within {START_SECONDS} s; expected a free processor and memory for a "
                "model on some machine: use fewer workers"
            )
        return finished[0]

    def _lose(self, reference: Any, error: Exception) -> tuple[_Task, list[tuple[str, Any]]] | None:
        """Replace a lost actor; its task waits for another, or ends where it has lost too many."""
        self._losses_in_a_row += 1
        if self._losses_in_a_row > MAX_ATTEMPTS * self._workers:
            raise ModelError(
                f"the workers on Ray keep ending ({' '.join(str(error).split())[-200:]}); expected the package, its "
                "weights and memory for a model on each machine"
            ) from error
        self._start()
        if self._starting.pop(reference, None) is not None:
            return None
        _, task = self._running.pop(reference)
        task.losses += 1
        if task.losses < MAX_ATTEMPTS:
            self._again.append(task)
            return None
        lost = WorkerLostError(f"the worker on Ray ended {MAX_ATTEMPTS} times during it; see its memory use")
        return task, [("failed", lost)]

    def _start(self) -> None:
        actor = self._class.remote(self._factory)
        self._starting[actor.ready.remote()] = actor


_END = _Task(-1, None)


class _OwnOutput:
    """Standard output for the thread that makes it: what Ray's threads say of its machines goes to standard error."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """Write where it belongs."""
        stream = self._stream if threading.get_ident() == self._thread else sys.stderr
        return int(stream.write(text))

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self._stream, name)


def _connect(address: str, workers: int) -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed; expected it for --ray: pip install 'reason-iad[ray]'") from error
    try:
        if address == LOCAL:
            ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        else:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"the Ray cluster {address!r} cannot be reached ({error}); expected host:port") from error
    return ray
