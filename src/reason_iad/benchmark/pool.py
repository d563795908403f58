"""Units to workers: in this process, or in several local ones; a lost worker's questions are asked again.

Each pool is a generator of records; closing it ends its workers. Which worker answers what does not show in a record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from reason_iad.benchmark.plan import Unit, pending
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.solver import Solver, SolverFactory, error_record
from reason_iad.errors import ModelError

MAX_ATTEMPTS = 3  # a unit that takes its worker down this often is recorded as an error


class WorkerLostError(Exception):
    """A worker ended in the middle of its work."""


def answer_here(factory: SolverFactory, units: Sequence[Unit]) -> Iterator[Record]:
    """Answer all units in this process, one after the other."""
    solver = factory()
    for unit in units:
        yield from solver.answer(unit)


def give_up(unit: Unit) -> Iterator[Record]:
    """Error records for a unit that keeps ending its workers."""
    error = WorkerLostError(f"the worker ended {MAX_ATTEMPTS} times on this image; see its memory use")
    for job in unit.jobs:
        yield error_record(unit, job, error)


@dataclass(eq=False)
class _Worker:
    """A process, its pipe, and what it is working on."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    unit: Unit | None = None
    attempts: int = 0
    done: set[str] = field(default_factory=set)


def answer_in_processes(factory: SolverFactory, units: Sequence[Unit], workers: int) -> Iterator[Record]:
    """Answer units in `workers` local processes, each with a model of its own.

    Args:
        factory: makes the solver inside a worker; must be picklable.
        units: the work.
        workers: number of processes.

    Raises:
        ModelError: the workers cannot be started.
    """
    queue: deque[tuple[Unit, int]] = deque((unit, 0) for unit in units)
    crew = [_start(factory) for _ in range(min(workers, len(units)))]
    failed_starts = 0
    try:
        while queue or any(worker.unit is not None for worker in crew):
            for worker in crew:
                if worker.ready and worker.unit is None and queue:
                    worker.unit, worker.attempts = queue.popleft()
                    worker.done = set()
                    with contextlib.suppress(OSError):  # it just ended; its pipe says so below
                        worker.pipe.send(worker.unit)
            for pipe in wait([worker.pipe for worker in crew]):
                worker = next(one for one in crew if one.pipe is pipe)
                try:
                    kind, content = worker.pipe.recv()
                except (EOFError, OSError):
                    failed_starts = 0 if worker.ready else failed_starts + 1
                    yield from _requeue(worker, queue)
                    crew.remove(worker)
                    if failed_starts >= MAX_ATTEMPTS:
                        raise ModelError(
                            "the workers end before they are ready; expected memory for a model each: "
                            "use fewer --workers"
                        ) from None
                    crew.append(_start(factory))
                    continue
                if kind == "record":
                    worker.done.add(content["key"])
                    yield content
                elif kind == "ready":
                    worker.ready = True
                elif kind == "done":
                    worker.unit = None
                else:
                    raise content
    finally:
        for worker in crew:
            worker.pipe.close()  # an idle worker ends by itself
        for worker in crew:
            worker.process.join(0.5 if worker.unit is None else 0)
            worker.process.terminate()
            worker.process.join(10)


def _start(factory: SolverFactory) -> _Worker:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(factory, theirs), daemon=True)
    process.start()
    theirs.close()  # so that its end is seen here
    return _Worker(process, mine)


def _requeue(worker: _Worker, queue: deque[tuple[Unit, int]]) -> Iterator[Record]:
    if worker.unit is None:
        return
    for unit in pending([worker.unit], worker.done):
        if worker.attempts + 1 >= MAX_ATTEMPTS:
            yield from give_up(unit)
        else:
            queue.appendleft((unit, worker.attempts + 1))


def _work(factory: SolverFactory, pipe: Connection) -> None:
    """A worker's life: load once, answer what comes, end when the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides when to stop
    try:
        solver: Solver = factory()
    except Exception as error:  # noqa: BLE001 - told to the first process, which raises it
        pipe.send(("failed", error))
        return
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(("ready", None))
        while True:
            unit = pipe.recv()
            for record in solver.answer(unit):
                pipe.send(("record", record))
            pipe.send(("done", None))
