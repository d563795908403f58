"""Units to actors of a Ray cluster, each with a model of its own; a lost actor's unit is asked again by another.

The machines of the cluster read images and cache at the same paths, from a shared file system. What travels through Ray
are the units (names and questions, a few kilobytes an image) and their records; pixels, features and weights never do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reason_iad.benchmark.plan import Unit
from reason_iad.benchmark.pool import give_up
from reason_iad.benchmark.record_log import Record
from reason_iad.errors import InputError, ModelError, ModelUnavailableError
from reason_iad.workers import MAX_ATTEMPTS

if TYPE_CHECKING:
    from reason_iad.benchmark.solver import SolverFactory

LOCAL = "local"
START_SECONDS = 900  # for a first worker to load its model


class Answering:
    """What runs inside an actor."""

    def __init__(self, factory: SolverFactory) -> None:
        self._solver = factory()

    def ready(self) -> None:
        """Answered once the model is loaded."""

    def answer(self, unit: Unit) -> list[Record]:
        """All records of a unit."""
        return list(self._solver.answer(unit))


def answer_on_ray(
    factory: SolverFactory, units: Sequence[Unit], address: str = LOCAL, workers: int = 1
) -> Iterator[Record]:
    """Answer units on a Ray cluster.

    Args:
        factory: makes the solver inside an actor; must be picklable.
        units: the work.
        address: of the cluster ("ray://host:10001", "auto"); "local" starts one on this machine and ends it.
        workers: number of actors.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
        ModelError: the actors cannot be started, or a model's server is away.
    """
    ray = _connect(address, workers)
    actor_class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Answering)
    queue: deque[tuple[Unit, int]] = deque((unit, 0) for unit in units)
    running: dict[Any, tuple[Any, Unit, int]] = {}
    starting: dict[Any, Any] = {}  # actors that a machine may have no room for, as when another was lost
    idle: list[Any] = []
    losses_in_a_row = 0

    def start() -> None:
        actor = actor_class.remote(factory)
        starting[actor.ready.remote()] = actor

    for _ in range(min(workers, len(units))):
        start()
    try:
        while queue or running:
            while idle and queue:
                actor, (unit, attempts) = idle.pop(), queue.popleft()
                running[actor.answer.remote(unit)] = (actor, unit, attempts)
            waiting = [*running, *starting]
            finished, _ = ray.wait(waiting, num_returns=1, timeout=None if running else START_SECONDS)
            if not finished:
                raise ModelError(
                    f"no worker on Ray was ready within {START_SECONDS} s; expected a free processor and memory for a "
                    "model on some machine: use fewer --workers"
                )
            try:
                found = ray.get(finished[0])
            except (ray.exceptions.RayActorError, ray.exceptions.RayTaskError) as error:
                if isinstance(cause := getattr(error, "cause", None), ModelUnavailableError):
                    raise cause from error
                losses_in_a_row += 1
                if losses_in_a_row > MAX_ATTEMPTS * workers:
                    raise ModelError(
                        f"the workers on Ray keep ending ({_reason(error)}); expected the package, its weights and "
                        "memory for a model on each machine"
                    ) from error
                start()
                if finished[0] in starting:
                    del starting[finished[0]]
                    continue
                _, unit, attempts = running.pop(finished[0])
                if attempts + 1 >= MAX_ATTEMPTS:
                    yield from give_up(unit)
                else:
                    queue.appendleft((unit, attempts + 1))
                continue
            losses_in_a_row = 0
            if finished[0] in starting:
                idle.append(starting.pop(finished[0]))
                continue
            idle.append(running.pop(finished[0])[0])
            yield from found
    finally:
        for actor in [*idle, *starting.values(), *(actor for actor, *_ in running.values())]:
            ray.kill(actor)
        ray.shutdown()


def _connect(address: str, workers: int) -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed; expected it for --ray: pip install 'reason-iad[ray]'") from error
    try:
        if address == LOCAL:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        else:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"the Ray cluster {address!r} cannot be reached ({error}); expected host:port") from error
    return ray


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]
