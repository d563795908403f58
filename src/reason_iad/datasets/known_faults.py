"""Faults of published data that are known, with who found them, applied only where a run asks for it.

A published figure has these faults in it; a figure without them is a better one and another one. So nothing here is
applied unasked, and a run says which it was.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from reason_iad.datasets.mmad_types import MmadSample


@dataclass(frozen=True)
class KnownFault:
    """One fault of a published data set.

    Attributes:
        id: short name.
        images: regular expression over the whole name of an image.
        image_hw: size that the wrong image has, where a corrected release exists; None where there is none.
        kind: type of the question that is wrong; empty for all questions about the image.
        what: what is wrong.
        source: who found it.
    """

    id: str
    images: str
    image_hw: tuple[int, int] | None
    kind: str
    what: str
    source: str

    def concerns(self, sample: MmadSample) -> bool:
        """Whether a sample has the fault."""
        if not re.fullmatch(self.images, sample.name):
            return False
        if self.image_hw is not None and sample.png_hw != self.image_hw:
            return False
        return not self.kind or any(question.kind == self.kind for question in sample.questions)

    def without(self, sample: MmadSample) -> MmadSample | None:
        """The sample without what is wrong; None where nothing is left of it."""
        kept = tuple(question for question in sample.questions if self.kind and question.kind != self.kind)
        return replace(sample, questions=kept) if kept else None


def _read(name: str) -> tuple[KnownFault, ...]:
    text = (files("reason_iad.datasets") / "data" / name).read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        height, _, width = row["image_hw"].partition("x")
        size = (int(height), int(width)) if height else None
        found.append(KnownFault(row["id"], row["images"], size, row["type"], row["what"], row["source"]))
    return tuple(found)


MMAD_FAULTS = _read("known_faults_mmad.csv")


def known_faults_of(sample: MmadSample, faults: Sequence[KnownFault]) -> tuple[KnownFault, ...]:
    """Those of `faults` that a sample has."""
    return tuple(fault for fault in faults if fault.concerns(sample))
