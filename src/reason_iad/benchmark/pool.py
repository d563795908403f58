"""Units to workers: in this process, in several local ones, or on Ray; a lost worker's unit is asked again.

The machines of a Ray cluster read images and cache at the same paths, from a shared file system. What travels are the
units (names and questions, a few kilobytes an image) and their records; pixels, features and weights never do. A pool
is a generator of records, one for each job; closing it ends its workers. Which worker answers what shows in no
record.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from reason_iad.benchmark.plan import Unit, pending
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.solver import SolverFactory, error_record
from reason_iad.errors import WorkerLostError
from reason_iad.workers import MAX_ATTEMPTS, Event, Tell, WorkerPool


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


def answer_in_processes(factory: SolverFactory, units: Sequence[Unit], workers: int) -> Iterator[Record]:
    """Answer units in `workers` local processes, each with a model of its own.

    Args:
        factory: makes the solver inside a worker, and pins its threads; must be picklable.
        units: the work.
        workers: number of processes.

    Raises:
        ReasonIADError: the workers cannot load the model.
        TaskFailedError: a fault of the program.
    """
    with WorkerPool(functools.partial(_load, factory), min(workers, len(units))) as pool:
        yield from _records(pool.events(units))


def answer_on_ray(
    factory: SolverFactory, units: Sequence[Unit], address: str = "local", workers: int = 1
) -> Iterator[Record]:
    """Answer units by actors of a Ray cluster.

    Args:
        factory: makes the solver inside an actor; must be picklable.
        units: the work.
        address: of the cluster ("ray://host:10001", "auto"); "local" starts one on this machine and ends it.
        workers: number of actors.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
        ReasonIADError: the actors cannot be started, or not load the model.
        TaskFailedError: a fault of the program.
    """
    from reason_iad.workers.ray_pool import RayPool

    with RayPool(functools.partial(_load, factory), min(workers, len(units)), address) as pool:
        yield from _records(pool.events(units))


def _records(events: Iterable[Event]) -> Iterator[Record]:
    """One record for each job of the units that a pool is at."""
    done: set[str] = set()  # keys of the units that are being asked
    for event in events:
        if event.kind == "told":
            if event.content["key"] not in done:  # else told before its worker was lost
                done.add(event.content["key"])
                yield event.content
            continue
        if event.kind == "failed" and not isinstance(event.content, WorkerLostError):
            raise event.content
        for unit in pending([event.task], done):
            yield from give_up(unit)
        done.difference_update(job.key for job in event.task.jobs)


def _load(factory: SolverFactory, tell: Tell) -> Callable[[Unit, Tell], Any]:
    solver = factory()

    def answer(unit: Unit, tell: Tell) -> None:
        for record in solver.answer(unit):
            tell(record)

    return answer


def answer_in_threads(factory: SolverFactory, units: Sequence[Unit], parallel: int) -> Iterator[Record]:
    """Answer units from a model on a server, `parallel` at a time, in threads that share one solver.

    Each computes in its turn, and all wait for the server side by side. Records come as they are made.

    Args:
        factory: makes the solver.
        units: the work.
        parallel: most requests under way.

    Raises:
        ReasonIADError: the model cannot be used, or runs here.
    """
    from reason_iad.inspection.served import ask_at_once
    from reason_iad.models.turns import taking_turns

    solver, turn = factory(), threading.Lock()
    ask_at_once(getattr(solver, "inspector", None), parallel)
    left, heard = queue.SimpleQueue[Unit](), queue.SimpleQueue[Record | BaseException | None]()
    for unit in units:
        left.put(unit)
    stopped = threading.Event()

    def answer() -> None:
        try:
            while not stopped.is_set():
                unit = left.get_nowait()
                with taking_turns(turn):
                    for record in solver.answer(unit):
                        heard.put(record)
                        if stopped.is_set():
                            return
        except queue.Empty:
            pass
        except BaseException as error:  # noqa: BLE001 - the first thread raises it
            heard.put(error)
        heard.put(None)

    threads = [threading.Thread(target=answer, daemon=True) for _ in range(min(parallel, len(units)))]
    for thread in threads:
        thread.start()
    working = len(threads)
    try:
        while working:
            said = heard.get()
            if isinstance(said, BaseException):
                raise said
            if said is None:
                working -= 1
            else:
                yield said
    finally:
        stopped.set()
