"""Published figures on MMAD, one-shot, in percent: for reading beside a run, never mixed with what was measured here.

Another data set, other models, other hardware: a run on other questions cannot be ranked against them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from reason_iad.datasets.mmad import TYPES

NOTE = "Published by others, on MMAD, one-shot, official scoring, in %; not measured here, comparable on MMAD only"


@dataclass(frozen=True)
class PublishedResult:
    """One line of a published table."""

    method: str
    accuracy: dict[str, float]  # by type, in percent
    average: float
    kind: str
    trained: str  # whether on images that MMAD asks about: no, yes with what, or not stated
    source: str


def published_results() -> tuple[PublishedResult, ...]:
    """All published figures that ship with the package."""
    text = (files("reason_iad.benchmark") / "data" / "published.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedResult(
            row["method"],
            {kind: float(row[kind]) for kind in TYPES},
            float(row["average"]),
            row["kind"],
            row["trained"],
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )
