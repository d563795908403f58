"""Inspecting a batch in several processes, each with a model of its own; results come in the order of the jobs."""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from reason_iad.cli.batch import Inspection, InspectsImages, Job, Loader, Outcome, one_by_one
from reason_iad.errors import InputError

_inspector: InspectsImages | None = None  # of this process


def in_processes(jobs: Sequence[Job], args: argparse.Namespace, load: Loader) -> Iterator[Outcome]:
    """Inspect every image in `args.jobs` processes; an unusable one gives its error instead."""
    count = min(args.jobs, len(jobs))
    context = multiprocessing.get_context("spawn")
    plain = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "run"})
    with ProcessPoolExecutor(count, context, _prepare, (plain, load, jobs[0].request.references, count)) as pool:
        ahead: deque[tuple[Job, Future[Inspection | InputError]]] = deque()
        left = iter(jobs)
        for job in left:
            # The references went to the processes once; with each job they would be copied again and prepared again.
            ahead.append((job, pool.submit(_inspect, _with_references(job, ()))))
            if len(ahead) >= 2 * count:  # not all at once: finished ones wait in memory with their pixels
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()


_references: Sequence[Any] = ()


def _prepare(args: argparse.Namespace, load: Loader, references: Sequence[Any], count: int) -> None:
    global _inspector, _references
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    _inspector, _references = load(args, lambda _: None), references


def _inspect(job: Job) -> Inspection | InputError:
    assert _inspector is not None
    _, found = next(one_by_one([_with_references(job, _references)], _inspector))
    if isinstance(found, InputError) or not hasattr(found, "session"):
        return found
    bare: Inspection = dataclasses.replace(found, session=None)  # type: ignore[type-var]
    return bare  # the prompt's keys and values stay here


def _with_references(job: Job, references: Sequence[Any]) -> Job:
    return dataclasses.replace(job, request=dataclasses.replace(job.request, references=tuple(references)))
