"""An inspector without a model, for measurements of what surrounds one: it says how bright an image is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad.images import LoadedImage, Pixels, read_image
from reason_iad.types import InspectionReport, InspectionRequest


@dataclass(frozen=True)
class CheapInspection:
    """A report with its pixels."""

    report: InspectionReport
    pixels: Pixels
    anomaly_map: None = None
    reference_pixels: tuple[Pixels, ...] = ()


class CheapInspector:
    """Calls an image defective where it is brighter than half."""

    def run(self, request: InspectionRequest) -> CheapInspection:
        """Inspect one image."""
        given: Any = request.image
        image = given if isinstance(given, LoadedImage) else read_image(given, name=request.name)
        brightness = float(np.mean(image.pixels)) / 255
        report = InspectionReport(
            image=image.name,
            image_hw=image.image_hw,
            image_sha256=image.sha256,
            verdict="defective" if brightness > 0.55 else "normal",
            probability=brightness,
            probability_note="brightness",
            anomaly_score=brightness,
            category="unknown",
            category_source="unknown",
            category_probability=None,
            defect_type=None,
            description="",
            consequence=None,
            notes=image.notes,
            milliseconds={"total": 1.0},
        )
        return CheapInspection(report, image.pixels)


def load(_: argparse.Namespace, say: Callable[[str], None]) -> Any:
    """Stand in for loading a model; what it gives has the part of `InspectsImages` that these runs use."""
    say("loading nothing")
    return CheapInspector()
