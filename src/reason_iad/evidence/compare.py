"""Compare one image with the references of its category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence import calibrate, conformal, regions
from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.features import extract
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers
from reason_iad.types import EvidenceSummary, Region

if TYPE_CHECKING:
    import torch

UNLIKE = "The image does not resemble the references: it may show another product."
ENOUGH_NORMALS = 9  # held-out normals from which a p-value can reach 0.1


@dataclass(frozen=True, eq=False)
class EvidenceMap:
    """What differs from the references, where, and how much, on a scale that is the same for every image.

    Attributes:
        raw: fused distances (h, w); 1 is the edge of what normals show.
        anomaly_map: calibrated (h, w), in [0, 1]; 0 up to that edge.
        anomaly_score: of the image, in [0, 1]; 0.5 at the edge of what the references themselves show.
        p_value: share of held-out normals at least as odd; None without enough of them.
        gate_open: the largest odd area exceeds what normals explain.
        num_references: how many images it was compared with.
        streams: names of the streams fused.
        warnings: why the comparison itself may be meaningless.
        max_regions: how many odd areas are named at most.
        region_share: odd areas weaker than this share of the first are not named.
    """

    raw: Array
    anomaly_map: Array
    anomaly_score: float
    p_value: float | None
    gate_open: bool
    num_references: int
    streams: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    max_regions: int = 5
    region_share: float = 0.5

    def regions(self, image_hw: tuple[int, int]) -> tuple[Region, ...]:
        """The odd areas, most evidence first, boxes in pixels of an `image_hw` image; none while the gate is closed."""
        if not self.gate_open:
            return ()
        return regions.find_regions(
            self.anomaly_map, image_hw, max_regions=self.max_regions, region_share=self.region_share
        )

    def grid(self, rows: int, columns: int) -> Array:
        """The strongest calibrated value inside each cell of a grid over the image: (rows, columns), in [0, 1]."""
        height, width = self.anomaly_map.shape
        found = np.empty((rows, columns), dtype=np.float32)
        for row in range(rows):
            top, bottom = row * height // rows, max(row * height // rows + 1, -(-(row + 1) * height // rows))
            for column in range(columns):
                left = column * width // columns
                right = max(left + 1, -(-(column + 1) * width // columns))
                found[row, column] = self.anomaly_map[top:bottom, left:right].max()
        return found

    def text(self, image_hw: tuple[int, int]) -> str:
        """One line for the model: how odd the image is, where, and how sure that is."""
        count = f"{self.num_references} normal reference{'s' if self.num_references > 1 else ''}"
        found = self.regions(image_hw)
        sure = "" if self.p_value is None else f" {self.p_value:.0%} of normal parts look at least this odd."
        if not found:
            score = f"(score {self.anomaly_score:.2f})"
            return f"Compared with {count}: no area differs more than normal parts do {score}.{sure}"
        places = ", ".join(f"{region.place} ({_strength_word(region.strength)})" for region in found[:3])
        return f"Compared with {count}: differs at {places} (score {self.anomaly_score:.2f}).{sure}"

    def summary(self, image_hw: tuple[int, int]) -> EvidenceSummary:
        """The part of it that goes into a report."""
        return EvidenceSummary(
            num_references=self.num_references,
            anomaly_score=self.anomaly_score,
            p_value=self.p_value,
            gate_open=self.gate_open,
            text=self.text(image_hw),
            streams=self.streams,
        )


def compare(pixels: Pixels, bank: MemoryBank, vision: VisionTowers) -> EvidenceMap:
    """Compare `pixels` (H, W, 3) of any size with the references in `bank`, by the same `vision` it was built with."""
    features = extract([pixels], vision, bank.options)
    return compare_features({name: one[0] for name, one in features.items()}, bank)


def compare_features(features: dict[str, torch.Tensor], bank: MemoryBank) -> EvidenceMap:
    """Compare one image, given its features (H, W, C) by source, with the references in `bank`."""
    measured = bank.measure(features)
    raw = measured.raw
    normal = bank.calibration
    score = calibrate.anomaly_score(measured.statistic, normal.median_statistic, normal.edge_statistic)
    scores = bank.normal_scores
    return EvidenceMap(
        raw=raw,
        anomaly_map=normal.fused.apply(raw),
        anomaly_score=score,
        p_value=conformal.p_value(score, scores) if len(scores) >= ENOUGH_NORMALS else None,
        gate_open=regions.largest_area(raw > normal.fused.low) >= normal.area_limit,
        num_references=bank.num_references,
        streams=tuple(stream.name for stream in bank.options.streams),
        warnings=(UNLIKE,) if _is_unlike(measured.distances, bank) else (),
    )


def _is_unlike(distances: dict[str, Array], bank: MemoryBank) -> bool:
    """Whether half of the patches are as far from the references as those of another product would be."""
    return any(
        stream.unlike is not None and float(np.median(distances[stream.name])) > stream.unlike
        for stream in bank.options.streams
    )


def _strength_word(strength: float) -> str:
    return "strong" if strength >= 0.6 else "clear" if strength >= 0.25 else "weak"
