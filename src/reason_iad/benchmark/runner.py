"""One run, or several side by side: plan what is pending, let the pool answer, write every record as it comes."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from reason_iad import __version__
from reason_iad.benchmark.content import Content
from reason_iad.benchmark.plan import AnySetting, QuestionUnit, Shard, Unit, pending, plan
from reason_iad.benchmark.plan_file import write_plan
from reason_iad.benchmark.record_log import FORMAT, Record, RecordLog, read_records, write_run_file
from reason_iad.benchmark.setting import Setting
from reason_iad.datasets.mmad import MmadQuestions, MmadSample

Pool = Callable[[Sequence[Unit]], Iterator[Record]]


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    done: int  # in this process
    total: int  # to be asked by this process
    errors: int
    seconds: float  # since the first answer, so that loading the model does not count

    @property
    def rate(self) -> float:
        """Questions a second."""
        return (self.done - 1) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What the rest should take; None before the second record."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True)
class RunOutcome:
    """What one call of `run` did."""

    asked: int
    errors: int
    kept: int  # recorded before
    duplicates: int  # repeat another question, and were not asked again
    left: int  # still to be asked, where time was up
    damaged: tuple[str, ...]  # lines of the logs that are no record
    seconds: float
    own_seconds: float  # spent here, outside the pool: the harness' own cost


def run_questions(
    questions: MmadQuestions,
    folders: Mapping[Setting, Path],
    pool: Pool,
    facts: Mapping[str, Any] | None = None,
    shard: Shard | None = None,
    limit: int | None = None,
    retry_errors: bool = False,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunOutcome:
    """Ask all questions under all settings, each setting into its own folder; go on where an earlier call stopped.

    Args:
        questions: what is asked.
        folders: the folder of each setting's run.
        pool: answers units of work.
        facts: more about the data, kept with the plan.
        shard: this process's share of the images.
        limit: only so many images, spread over the file.
        retry_errors: ask again what ended in an error.
        seconds: stop after that long; the same call goes on later.
        on_progress: called after every record.

    Raises:
        InputError: a folder holds another run, or another process writes it.
        OSError: there is no room for the records.
    """
    shard = shard or Shard()
    contents = {setting: Content.of(setting) for setting in folders}
    for setting, folder in folders.items():
        write_run_file(folder, describe("mmad", setting, contents[setting].to_mapping()))
    samples = mixed(spread(questions.samples, limit))[shard.index :: shard.count]
    units = list(plan(samples, {setting: one.fingerprint for setting, one in contents.items()}))
    places = {sample.id: place for place, sample in enumerate(questions.samples)}
    source = {**questions.source, "limit": limit, **(facts or {}), "faults": [str(fault) for fault in questions.faults]}
    for setting, folder in folders.items():
        write_plan(folder, shard.name, source, _rows(units, setting, places))
    return run_units(units, folders, pool, shard.name, retry_errors, seconds, on_progress)


def _rows(units: Sequence[QuestionUnit], setting: Setting, places: Mapping[str, int]) -> list[Record]:
    """What the plan of a setting says, each with its place in the question file."""
    return [
        {**unit.truth(job), "order": [places[unit.sample.id], job.question.number]}
        for unit in units
        for job in unit.jobs
        if job.setting == setting
    ]


def run_units(
    units: Sequence[Unit],
    folders: Mapping[Any, Path],
    pool: Pool,
    log: str,
    retry_errors: bool = False,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunOutcome:
    """Do what is pending of `units` and record it; see `run_questions`. `log` names this process's files."""
    began = perf_counter()
    earlier = {setting: read_records(folder) for setting, folder in folders.items()}
    done = {key for records in earlier.values() for key in records.keys}
    if retry_errors:
        done -= {record["key"] for records in earlier.values() for record in records.failed}
    left = pending(units, done)
    logs = {setting: RecordLog(folder, log) for setting, folder in folders.items()}
    damaged = tuple(line for records in earlier.values() for line in records.damaged)
    total = sum(len(unit.jobs) for unit in left)
    planned = [job.key for unit in units for job in unit.jobs]
    kept = len(set(planned)) - total
    try:
        asked, errors, waited = _drive(left, pool, logs, total, began + (seconds or float("inf")), on_progress)
    finally:
        for one in logs.values():
            one.close()
    spent = perf_counter() - began
    duplicates = len(planned) - len(set(planned))
    return RunOutcome(asked, errors, kept, duplicates, total - asked, damaged, spent, spent - waited)


def _drive(
    left: Sequence[Unit],
    pool: Pool,
    logs: Mapping[Any, RecordLog],
    total: int,
    deadline: float,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[int, int, float]:
    """Write what the pool answers; returns how many, how many errors, and the seconds waited for the pool."""
    settings = {job.key: job.setting for unit in left for job in unit.jobs}
    asked, errors, waited, first = 0, 0, 0.0, 0.0
    records = pool(left) if left else iter(())
    try:
        while True:
            waiting = perf_counter()
            record = next(records, None)
            waited += perf_counter() - waiting
            if record is None:
                return asked, errors, waited
            setting = settings.pop(record["key"], None)
            if setting is None:  # a worker that was given up for lost has answered after all
                continue
            logs[setting].write(record)
            asked, errors = asked + 1, errors + ("error" in record)
            first = first or perf_counter()
            if on_progress is not None:
                on_progress(Progress(asked, total, errors, perf_counter() - first))
            if perf_counter() > deadline:  # after the answer is written: it was paid for
                return asked, errors, waited
    finally:
        close = getattr(records, "close", None)
        if close is not None:
            close()


def spread(samples: Sequence[Any], limit: int | None) -> list[Any]:
    """`limit` samples at even distances, so that a part of a file in order of categories has all of them.

    >>> spread([0, 1, 2, 3, 4, 5], 3), spread([0, 1], None)
    ([0, 2, 4], [0, 1])
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    return [samples[index * len(samples) // limit] for index in range(limit)]


def mixed(samples: Sequence[MmadSample]) -> list[MmadSample]:
    """Samples in an order that looks random and is always the same: a run stopped early is a fair part of the whole."""
    return sorted(samples, key=lambda sample: hashlib.sha256(sample.id.encode()).digest())


def describe(task: str, setting: AnySetting, content: Mapping[str, str]) -> dict[str, Any]:
    """What `run.json` says: task, setting and content make the run, the rest is for people."""
    return {
        "task": task,
        "format": FORMAT,
        "setting": setting.to_mapping(),
        "content": dict(content),
        "version": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
