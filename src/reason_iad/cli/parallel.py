"""Inspecting a batch in several processes, threads or on Ray; results come in the order of the jobs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from reason_iad.cli.batch import Inspection, Job, Loader, Outcome, one_by_one
from reason_iad.cli.made_by import made_by
from reason_iad.errors import InputError, ReasonIADError, WorkerLostError
from reason_iad.workers import Tell, WorkerPool

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage
    from reason_iad.types import ImageSource


def in_processes(jobs: Iterable[Job], count: int, args: argparse.Namespace, load: Loader) -> Iterator[Outcome]:
    """Inspect every image in `count` processes; one that is unusable, or ends its process, gives its error.

    Jobs are taken a few ahead of the results. With `--ray` the processes are actors of that cluster, which get the
    bytes of the files; they refuse to work where their model, knowledge or profiles are others than those here.

    Raises:
        InputError: Ray is not installed or the cluster not reached, or a machine of it has other knowledge or profiles.
        ReasonIADError: the model cannot be loaded.
        TaskFailedError: a fault of the program.
    """
    left = iter(jobs)
    begin = next(left, None)
    if begin is None:
        return
    plain = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "run"})
    # The references go to the processes once; with each job they would be copied again and prepared again.
    factory = functools.partial(_load, plain, load, begin.request.references)
    bare: Iterator[Job] = (_with_references(job, ()) for job in itertools.chain([begin], left))
    pooled: Any = WorkerPool(factory, count)
    if args.ray is not None:
        from reason_iad.workers.ray_pool import RayPool

        alike = functools.partial(_load_alike, made_by(args, _loaded(begin.request.references)), factory)
        pooled, bare = RayPool(alike, count, args.ray), map(_with_bytes, bare)
    with pooled as pool:
        for job, future in pool.in_order(bare):
            error = future.exception()
            if isinstance(error, WorkerLostError):
                error = WorkerLostError(f"{job.name}: {error}")
            elif error is not None:  # the model cannot be loaded, or a fault of the program
                raise error
            yield job, future.result() if error is None else error


def _loaded(references: Sequence[ImageSource]) -> list[LoadedImage]:
    """References as the command has read them."""
    from reason_iad.images import LoadedImage

    return [one for one in references if isinstance(one, LoadedImage)]


def _load_alike(expected: Mapping[str, Any], factory: functools.partial[Callable[..., Any]], tell: Tell) -> Any:
    """Load the inspector on another machine, if it would do there what it would do here."""
    args, _, references = factory.args
    found = made_by(args, _loaded(references))
    if differ := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        raise InputError(
            f"found another {' and '.join(differ)} on a machine of the cluster; expected what this machine has: let "
            "REASON_IAD_HOME be a folder that all of them share, and install the same version"
        )
    return factory(tell)


def _with_bytes(job: Job) -> Job:
    """The job with its file's bytes: other machines do not see the folder."""
    try:
        data = job.path.read_bytes()
    except OSError:  # reading it there says what is wrong
        return job
    return dataclasses.replace(job, request=dataclasses.replace(job.request, image=data, name=job.name))


def _load(args: argparse.Namespace, load: Loader, references: Sequence[Any], tell: Tell) -> Callable[..., Any]:
    inspector = load(args, tell)

    def inspect(job: Job, tell: Tell) -> Inspection | ReasonIADError:
        _, found = next(one_by_one([_with_references(job, references)], lambda: inspector))
        if isinstance(found, ReasonIADError) or not hasattr(found, "session"):
            return found
        bare: Inspection = dataclasses.replace(found, session=None)  # type: ignore[type-var]
        return bare  # the prompt's keys and values stay here

    return inspect


def _with_references(job: Job, references: Sequence[Any]) -> Job:
    return dataclasses.replace(job, request=dataclasses.replace(job.request, references=tuple(references)))


def in_threads(
    jobs: Iterable[Job], count: int, args: argparse.Namespace, load: Loader, tell: Tell
) -> Iterator[Outcome]:
    """Inspect every image with a model on a server, `count` at a time; results come in the order of the jobs.

    The threads share one inspector; each computes in its turn, and all wait for the server side by side.

    Raises:
        ReasonIADError: the model cannot be used.
    """
    from reason_iad.inspection.served import ask_at_once
    from reason_iad.models.turns import taking_turns

    turn, loaded = threading.Lock(), load(args, tell)
    ask_at_once(loaded, count)

    def inspect(job: Job) -> Outcome:
        with taking_turns(turn):
            return next(one_by_one([job], lambda: loaded))

    with ThreadPoolExecutor(count) as pool:
        ahead: deque[Future[Outcome]] = deque()
        try:
            for job in jobs:
                ahead.append(pool.submit(inspect, job))
                if len(ahead) >= 2 * count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
