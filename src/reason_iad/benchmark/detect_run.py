"""Detection on a data set, resumable: what is pending is judged, labels and masks go into the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reason_iad.benchmark.content import Content
from reason_iad.benchmark.detect import DetectSetting, plan_detection, shortages
from reason_iad.benchmark.plan import Shard
from reason_iad.benchmark.plan_file import write_plan
from reason_iad.benchmark.record_log import write_run_file
from reason_iad.benchmark.runner import Pool, Progress, RunOutcome, describe, run_units
from reason_iad.benchmark.setting import Setting
from reason_iad.datasets.base import Fault, ImageDataset


def run_detection(
    dataset: ImageDataset,
    setting: DetectSetting,
    folder: Path,
    pool: Pool,
    shard: Shard | None = None,
    limit: int | None = None,
    retry_errors: bool = False,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[RunOutcome, tuple[Fault, ...]]:
    """Judge all test images of a data set, or go on with it; see `runner.run_questions` for the arguments.

    Returns:
        What was done, and the faults of the data.

    Raises:
        InputError: no category can be judged, the folder holds another run, or another process writes it.
        OSError: there is no room for the records.
    """
    shard = shard or Shard()
    content = content_of(setting)
    units = plan_detection(dataset, setting, limit, content=content.fingerprint)[shard.index :: shard.count]
    write_run_file(folder, describe("detect", setting, content.to_mapping()))
    rows = []
    faults = [*dataset.faults, *shortages(dataset, setting)]
    for unit in units:
        for job in unit.jobs:
            row = unit.truth(job)
            rows.append({**row, "order": [row["category"], row["id"]]})
            if row["defective"] and ((row["mask"] is None and job.sample.masks) or "expected" in row["mask_taken"]):
                faults.append(Fault(job.sample.name, row["mask_taken"]))
    source = {
        "dataset": dataset.name, "limit": limit, "faults": [str(fault) for fault in faults],
        "taken": list(dataset.taken),
    }  # fmt: skip
    write_plan(folder, shard.name, source, rows)
    outcome = run_units(units, {setting: folder}, pool, shard.name, retry_errors, seconds, on_progress)
    return outcome, tuple(faults)


def content_of(setting: DetectSetting) -> Content:
    """What the judgments depend on: of the comparison alone nothing but this version of it."""
    return Content.of(Setting(model=setting.model)) if setting.model else Content("")
