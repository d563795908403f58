"""A hand-made inspection for tests of reports and commands: every field filled, no model involved."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad import types


def make_pixels(height: int = 120, width: int = 160) -> np.ndarray:
    """A gray gradient with a dark scratch; (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    gray = 120 + 60 * x / width + 20 * np.sin(y / 3)
    gray[np.abs(y - height * 0.3 - x * 0.2) < 2] = 30
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def make_map(height: int = 32, width: int = 32) -> np.ndarray:
    """A calibrated map with one bump in the middle of the upper half; (h, w) float32 in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    bump = np.exp(-(((x - width / 2) / 5) ** 2) - ((y - height / 3) / 3) ** 2)
    return np.clip(bump * 1.2 - 0.1, 0, 1).astype(np.float32)


def make_trace() -> types.LatentTrace:
    rng = np.random.default_rng(0)
    best, steps = 0.61, []
    for i in range(6):
        rewards = tuple(float(r) for r in best + rng.normal(0, 0.02, 8))
        best = max(best, *rewards)
        steps.append(
            types.LatentStep(
                step=i,
                rewards=rewards,
                mean_reward=best - 0.01,
                best_reward=best,
                answer=(0.9, 0.1),
                answer_entropy=0.4 - 0.03 * i,
                latent_entropy=0.5,
                proposed=(5, 9),
                kept=(5, 9)[: i % 3],
                milliseconds=41.0 + i,
            )
        )
    patches = (types.InjectedPatch(5, (70, 30, 90, 50), 1, 2.4), types.InjectedPatch(9, (90, 30, 110, 50), 1, 1.7))
    return types.LatentTrace(
        "reinforce", tuple(steps), 0.61, best, (0.8, 0.2), (0.93, 0.07), "patience", False, patches, 260.0
    )


def make_report(**changes: Any) -> types.InspectionReport:
    """A defective part with everything a report can hold; `changes` replace fields."""
    report = types.InspectionReport(
        image="plate_017.png",
        image_hw=(120, 160),
        image_sha256="ab" * 32,
        verdict="defective",
        probability=0.968,
        probability_note="Calibrated on 400 held-out images of synthetic parts (expected calibration error 0.03).",
        anomaly_score=0.91,
        category="metal plate",
        category_source="recognized",
        category_probability=0.83,
        defect_type="scratch",
        description="A thin dark line runs across the plate from the middle left to the center; its edges are sharp.",
        consequence="The coating may be broken there, so that the plate rusts from the line outward.",
        regions=(
            types.Region((58, 30, 104, 56), "center", 0.97, 0.062),
            types.Region((8, 34, 26, 44), "middle left", 0.58, 0.009),
        ),
        evidence=types.EvidenceSummary(
            3,
            0.91,
            0.01,
            True,
            "Odd area at the center, strength 0.97, 6.2 % of the image.",
            ("vit-s14", "efficientnet"),
        ),
        answers=(
            types.Answer(
                "Is there a defect in the part?",
                "Yes, there is a defect.",
                (
                    types.OptionProbability("Yes, there is a defect.", 0.968),
                    types.OptionProbability("No, the part is normal.", 0.032),
                ),
                0.2,
            ),
            types.Answer(
                "What kind of defect is it?",
                "scratch",
                tuple(
                    types.OptionProbability(t, p)
                    for t, p in (("scratch", 0.71), ("dent", 0.16), ("stain", 0.09), ("crack", 0.04))
                ),
                0.62,
            ),
        ),
        citations=(
            types.Citation(
                "plate-normal", "metal plate", "normal", "A good plate is evenly gray.", "general knowledge", 0.0325
            ),
            types.Citation(
                "plate-scratch",
                "metal plate",
                "defect",
                "Scratches are thin bright or dark lines; they come from handling.",
                "https://example.org/plates?a=1&b=2",
                0.0310,
                "scratch",
            ),
        ),
        trace=make_trace(),
        notes=("plate_017.png was turned upright by its EXIF orientation (6)",),
        milliseconds={"vision": 412.0, "evidence": 160.5, "prefix": 310.0, "reasoning": 260.0, "answers": 333.1},
        versions={"reason-iad": "0.1.0", "model": "nano"},
    )
    return dataclasses.replace(report, **changes)


@dataclass(frozen=True)
class MadeInspection:
    """What `Inspector.run` gives back."""

    report: types.InspectionReport
    pixels: np.ndarray
    anomaly_map: np.ndarray | None
    reference_pixels: tuple[np.ndarray, ...]
