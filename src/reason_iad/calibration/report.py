"""What a calibration brought, as a text, a table and a reliability diagram."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.benchmark.charts import Axis, Point, Series, plot
from reason_iad.calibration.fusion import FittedFusion, Quality
from reason_iad.calibration.questions import FittedKind
from reason_iad.files import write_whole

FORMS = {
    "with_evidence": "with references", "one_reference": "with one reference", "without_evidence": "without references",
}  # fmt: skip


@dataclass(frozen=True)
class CalibrationReport:
    """The fits of one model, and what is to be said about them.

    Attributes:
        model: its name.
        fusions: by form.
        kinds: by type of question; empty where no questions were asked.
        notes: what was left out or taken for something.
    """

    model: str
    fusions: Sequence[FittedFusion]
    kinds: Sequence[FittedKind] = ()
    notes: Sequence[str] = ()

    def to_markdown(self) -> str:
        """Tables with intervals, of images and questions that the fits did not see."""
        lines = [f"# Calibration of {self.model}", ""]
        if self.fusions:
            lines += [
                "Probability of a defect, on images left out (whole products where there are enough). Before: the mean "
                "of the log-odds of model and evidence. Intervals of 95 %, by bootstrap over images.", "",
                "| form | n | | AUROC | balanced accuracy at 0.5 | calibration error |", "|---|---|---|---|---|---|",
            ]  # fmt: skip
        for one in self.fusions:
            for name, quality in (("before", one.before), ("after", one.after)):
                cells = (quality.auroc, quality.balanced_accuracy, quality.calibration_error)
                told = " | ".join(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in cells)
                lines.append(f"| {FORMS[one.key]} | {one.n} | {name} | {told} |")
        if self.kinds:
            lines += [
                "", "Options of questions, fitted on one half of the images and measured on the other, and back.", "",
                "| type | n | temperature | accuracy before | after | calibration error before | after |",
                "|---|---|---|---|---|---|---|",
            ]  # fmt: skip
        for kind in self.kinds:
            told = " | ".join(
                f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in (*kind.accuracy, *kind.calibration_error)
            )
            lines.append(f"| {kind.kind} | {kind.n} | {kind.temperature:g} | {told} |")
        lines += ["", *(f"- {one.record['note']}; offset {_offset(one)}" for one in self.fusions)]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).strip() + "\n"

    def reliability_svg(self) -> str:
        """Stated probability against the share that is defective, before and after, a line each."""
        series = []
        for number, one in enumerate(self.fusions):
            for name, quality, joined in (("before", one.before, False), ("after", one.after, True)):
                series.append(Series(f"{FORMS[one.key]}, {name}", _points(quality), joined, 2 * number + joined))
        x, y = Axis("stated probability", 0.0, 1.0), Axis("share that is defective", 0.0, 1.0)
        return plot(f"Reliability of {self.model}", x, y, series, diagonal=True)

    def made(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept with the fit."""
        quality = {
            one.key: {
                "n": one.n,
                "auroc": _numbers(one.after.auroc),
                "balanced_accuracy": _numbers(one.after.balanced_accuracy),
                "calibration_error": _numbers(one.after.calibration_error),
            }
            for one in self.fusions
        }
        return {**data, "quality": quality, "notes": list(self.notes)}

    def write(self, folder: Path, settings: Mapping[str, Any]) -> list[Path]:
        """Write text, diagram and settings; gives the files.

        Raises:
            OSError: they cannot be written.
        """
        files = {
            "calibration.md": self.to_markdown(),
            "settings.json": json.dumps(settings, indent=1) + "\n",
            **({"reliability.svg": self.reliability_svg()} if self.fusions else {}),
        }
        for name, content in files.items():
            write_whole(folder / name, content)
        return [folder / name for name in files]


def _offset(one: FittedFusion) -> str:
    return "subtracted" if one.record["offset"] else "not subtracted"


def _numbers(estimate: Any) -> list[float]:
    return [round(estimate.value, 4), round(estimate.low, 4), round(estimate.high, 4)]


def _points(quality: Quality) -> list[Point]:
    most = max((one.n for one in quality.bins), default=1)
    return [Point(one.stated, one.observed, size=3 + 6 * (one.n / most) ** 0.5) for one in quality.bins]
