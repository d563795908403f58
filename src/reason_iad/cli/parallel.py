"""Inspecting a batch in several processes, each with a model of its own; results come in the order of the jobs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reason_iad.cli.batch import Inspection, Job, Loader, Outcome, one_by_one
from reason_iad.errors import InputError, ReasonIADError, WorkerLostError
from reason_iad.workers import Tell, WorkerPool


def in_processes(jobs: Sequence[Job], args: argparse.Namespace, load: Loader) -> Iterator[Outcome]:
    """Inspect every image in `args.jobs` processes; one that is unusable, or ends its process, gives its error.

    Raises:
        ReasonIADError: the model cannot be loaded.
        TaskFailedError: a fault of the program.
    """
    plain = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "run"})
    # The references go to the processes once; with each job they would be copied again and prepared again.
    factory = functools.partial(_load, plain, load, jobs[0].request.references)
    bare = (_with_references(job, ()) for job in jobs)
    with WorkerPool(factory, min(args.jobs, len(jobs))) as pool:
        for job, (_, future) in zip(jobs, pool.in_order(bare), strict=True):
            error = future.exception()
            if isinstance(error, WorkerLostError):
                error = WorkerLostError(f"{job.path}: {error}")
            elif error is not None and not isinstance(error, InputError):
                raise error
            yield job, future.result() if error is None else error


def _load(args: argparse.Namespace, load: Loader, references: Sequence[Any], tell: Tell) -> Callable[..., Any]:
    inspector = load(args, tell)

    def inspect(job: Job, tell: Tell) -> Inspection:
        _, found = next(one_by_one([_with_references(job, references)], inspector))
        if isinstance(found, ReasonIADError):
            raise found
        if not hasattr(found, "session"):
            return found
        bare: Inspection = dataclasses.replace(found, session=None)  # type: ignore[type-var]
        return bare  # the prompt's keys and values stay here

    return inspect


def _with_references(job: Job, references: Sequence[Any]) -> Job:
    return dataclasses.replace(job, request=dataclasses.replace(job.request, references=tuple(references)))
