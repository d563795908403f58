"""What a detection run says: image and pixel measures by category, each with n, and their means over categories."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.benchmark.detect import DetectSetting
from reason_iad.benchmark.detect_maps import unpack_map, unpack_mask
from reason_iad.benchmark.plan_file import read_joined
from reason_iad.benchmark.record_log import Record, read_run_file
from reason_iad.errors import InputError
from reason_iad.files import write_whole
from reason_iad.metrics.classification import (
    auroc,
    average_precision,
    balanced_accuracy,
    expected_calibration_error,
    f1_max,
    miss,
    overkill,
)
from reason_iad.metrics.intervals import Estimate, bootstrap
from reason_iad.metrics.segmentation import PixelScores

MEASURES = (
    "image_auroc", "average_precision", "f1_max", "balanced_accuracy", "overkill", "miss", "ece",
    "pixel_auroc", "aupro",
)  # fmt: skip


@dataclass(frozen=True)
class CategorySummary:
    """Measures of one category; None where its images or masks do not allow one."""

    category: str
    num_normal: int
    num_defective: int
    num_masks: int  # defective images whose mask is known
    values: dict[str, float | None]  # by the names in `MEASURES`
    image_auroc: Estimate | None
    milliseconds: float


@dataclass(frozen=True)
class DetectSummary:
    """All categories of a run."""

    setting: DetectSetting
    categories: tuple[CategorySummary, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def mean(self, measure: str) -> float | None:
        """Mean over the categories that have the measure."""
        values = [one.values[measure] for one in self.categories]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            "setting": self.setting.to_mapping(),
            "mean": {name: self.mean(name) for name in MEASURES},
            "n": sum(one.num_normal + one.num_defective for one in self.categories),
            "unreadable": len(self.unreadable),
            "unreadable_ids": list(self.unreadable),
            "notes": list(self.notes),
            "categories": {
                one.category: {
                    **one.values,
                    "image_auroc_interval": one.image_auroc and [one.image_auroc.low, one.image_auroc.high],
                    "normal": one.num_normal, "defective": one.num_defective, "masks": one.num_masks,
                    "milliseconds": one.milliseconds,
                }
                for one in self.categories
            },
        }  # fmt: skip

    def render(self) -> str:
        """A table as Markdown, the mean over categories last."""
        header = ("category", *MEASURES, "normal", "defective", "masks", "ms")
        lines = [str(self.setting), "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        for one in self.categories:
            cells = [_cell(one.values[name]) for name in MEASURES]
            if one.image_auroc is not None:
                cells[0] += f" ({one.image_auroc.low:.3f}-{one.image_auroc.high:.3f})"
            counts = [str(one.num_normal), str(one.num_defective), str(one.num_masks), f"{one.milliseconds:.0f}"]
            lines.append("| " + " | ".join([one.category, *cells, *counts]) + " |")
        means = [_cell(self.mean(name)) for name in MEASURES]
        lines.append("| " + " | ".join(["mean", *means, "", "", "", ""]) + " |")
        if self.unreadable:
            lines += ["", f"{len(self.unreadable)} unreadable: {', '.join(self.unreadable[:10])}"]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines)


def summarize_detection(folder: Path) -> DetectSummary:
    """Summarize a detection run.

    Raises:
        InputError: the folder holds none, or no image of it could be judged.
    """
    facts = read_run_file(folder)
    if facts.get("task") != "detect":
        raise InputError(f"{folder} holds a run of {facts.get('task')!r}; expected one of `benchmark detect`")
    joined = read_joined(folder)
    found = joined.records
    if not found.answered:
        raise InputError(f"{folder} holds no judged image; expected at least one: see its records for the errors")
    names = sorted({record["category"] for record in found.answered})
    by_name = {name: [r for r in found.answered if r["category"] == name] for name in names}
    return DetectSummary(
        DetectSetting.from_mapping(facts["setting"]),
        tuple(_category(name, records) for name, records in by_name.items()),
        tuple(record["id"] for record in found.failed),
        tuple(joined.lines()),
    )


def report_detection(folders: Sequence[Path], out: Path | None, quiet: bool = False) -> list[DetectSummary]:
    """Summaries of detection runs, fewest references first; printed as Markdown, or written as Markdown and CSV."""
    found = sorted((summarize_detection(folder) for folder in folders), key=lambda one: one.setting.shots)
    text = "# Detection\n\n" + "\n\n".join(f"## {one.render()}" for one in found) + "\n"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "report.md", text, durable=False)
        write_whole(out / "report.csv", "\n".join(_csv_lines(found)) + "\n", durable=False)
    elif not quiet:
        sys.stdout.write(text)
    return found


def _csv_lines(summaries: Sequence[DetectSummary]) -> Iterator[str]:
    yield ",".join(("shots", "model", "seed", "category", *MEASURES, "normal", "defective", "masks"))
    for one in summaries:
        head = (one.setting.shots, one.setting.model, one.setting.seed)
        for row in one.categories:
            values = ["" if row.values[name] is None else row.values[name] for name in MEASURES]
            cells = (*head, row.category, *values, row.num_normal, row.num_defective, row.num_masks)
            yield ",".join(str(cell) for cell in cells)


def _category(name: str, records: Sequence[Record]) -> CategorySummary:
    truth = [record["defective"] for record in records]
    probabilities = [record["probability"] for record in records]
    called = [value > 0.5 for value in probabilities]
    values: dict[str, float | None] = dict.fromkeys(MEASURES)
    area = None
    if len(set(truth)) == 2:
        area = bootstrap(range(len(truth)), lambda i: auroc([truth[j] for j in i], [probabilities[j] for j in i]), 500)
        values |= {
            "image_auroc": area.value,
            "average_precision": average_precision(truth, probabilities),
            "f1_max": f1_max(truth, probabilities)[0],
            "balanced_accuracy": balanced_accuracy(truth, called),
        }
    values["overkill"] = overkill(truth, called) if False in truth else None
    values["miss"] = miss(truth, called) if True in truth else None
    values["ece"] = expected_calibration_error(truth, probabilities)
    pixels, masks = _pixels(records)
    if masks:
        values |= {"pixel_auroc": pixels.auroc(), "aupro": pixels.aupro()}
    milliseconds = sum(sum(record["milliseconds"].values()) for record in records) / len(records)
    return CategorySummary(name, truth.count(False), truth.count(True), masks, values, area, round(milliseconds, 1))


def _pixels(records: Sequence[Record]) -> tuple[PixelScores, int]:
    """Pixels of all images whose mask is known, and how many of these are defective."""
    pixels, masks = PixelScores(), 0
    for record in records:
        mask = unpack_mask(record)
        if mask is not None:
            pixels.add(unpack_map(record["map"]), mask)
            masks += bool(mask.any())
    return pixels, masks


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
