"""Compare one image with the references of its category."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence import calibrate, conformal, regions, significance, suitability
from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.features import extract
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels, resize
from reason_iad.models.base import VisionTowers
from reason_iad.types import EvidenceSummary, Region, Verdict

if TYPE_CHECKING:
    import torch

UNLIKE = "it does not resemble the references: it may show another product, or this one at another size"
FEW = 0.5  # share of `Stream.farther` added to it, divided by the references beyond the first: few show little
ENOUGH_NORMALS = 9  # held-out normals from which a p-value can reach 0.1
UNUSUAL = 0.1  # estimated share of good parts at least as odd, up to which an area is called significant


@dataclass(frozen=True, eq=False)
class EvidenceMap:
    """What differs from the references, where, and how much, on a scale that is the same for every image.

    Attributes:
        raw: fused distances (h, w); `edge` is the edge of what patches of normals show.
        anomaly_map: calibrated (h, w), in [0, 1]; 0 up to that edge.
        anomaly_score: of the image, in [0, 1]; at 0.5 about one good part in twenty looks at least this odd.
        p_value: rank of the score among known normals, as a share; None where there are too few.
        num_references: how many images it was compared with.
        streams: names of the streams fused.
        edge: value of `raw` from which a patch is odd.
        mass_limit: mass of an odd area that none of the references reaches, each beside the others.
        num_normals: that the p-value is a rank among: held-out ones, else the references, each left out in turn.
        held_out: whether these normals are no references.
        unsuitable: why the image is no picture of this product; None where it is one.
        compared_with: what it was compared with, in the plural.
        max_regions: how many odd areas are named at most.
        region_share: odd areas weaker than this share of the first are not named.
        template: the very same object without a defect, as it lies under the image; None where there is none.
    """

    raw: Array
    anomaly_map: Array
    anomaly_score: float
    p_value: float | None
    num_references: int
    streams: tuple[str, ...]
    edge: float = 1.0
    mass_limit: float = 0.0
    num_normals: int = 0
    held_out: bool = False
    unsuitable: str | None = None
    compared_with: str = "normal references"
    max_regions: int = 5
    region_share: float = 0.5
    template: Pixels | None = None

    @cached_property
    def heat(self) -> Array:
        """How much each patch exceeds what normals show (h, w); where none does, what stands out in the image."""
        found = np.clip(self.raw - self.edge, 0.0, None)
        heat: Array = found if found.any() else np.clip(self.raw - np.quantile(self.raw, 0.9), 0.0, None)
        return heat

    @property
    def share(self) -> float:
        """Estimated share of good parts at least this odd, in (0, 1]."""
        return significance.estimated_share(self.anomaly_score)

    @property
    def gate_open(self) -> bool:
        """Whether an area is significant: larger than any that references show, on an image that is odd as a whole."""
        odd = self.share <= UNUSUAL and bool((self.raw > self.edge).any())
        return odd and significance.largest_mass(self.heat) > self.mass_limit

    def regions(self, image_hw: tuple[int, int]) -> tuple[Region, ...]:
        """The significant areas, of largest mass first, boxes in pixels of an `image_hw` image."""
        if not self.gate_open:
            return ()
        return regions.find_regions(
            self.heat, self.anomaly_map, image_hw, self.mass_limit, self.max_regions, self.region_share
        )

    def shown(self, image_hw: tuple[int, int], verdict: Verdict) -> tuple[Region, ...]:
        """The areas that go with a verdict: none with a normal one, else the significant ones, or the oddest, weak."""
        if verdict == "normal":
            return ()
        return self.regions(image_hw) or self._oddest(image_hw)

    def _oddest(self, image_hw: tuple[int, int]) -> tuple[Region, ...]:
        """The area of largest mass, significant or not; none where the map is flat."""
        found = regions.find_regions(self.heat, self.anomaly_map, image_hw, max_regions=1)
        return tuple(dataclasses.replace(region, weak=True) for region in found)

    def judge(self, max_overkill: float) -> Verdict:
        """Verdict of the comparison alone at a false-alarm rate of at most `max_overkill`."""
        if self.unsuitable is not None:
            return "uncertain"
        share = significance.share_of_normals(self.anomaly_score, self.p_value, self.num_normals, max_overkill)
        return significance.judge(share, max_overkill)

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

    def text(self, image_hw: tuple[int, int], verdict: Verdict | None = None) -> str:
        """One line: how odd the image is, where, and how sure that is.

        Args:
            image_hw: size of the image.
            verdict: of the whole report, so that both name the same places; None before it is known.
        """
        named = self.compared_with if self.num_references > 1 else self.compared_with.removesuffix("s")
        count = f"{self.num_references} {named}"
        score = f"(score {self.anomaly_score:.2f})"
        known = verdict or ("uncertain" if self.share <= UNUSUAL else "normal")
        found = self.shown(image_hw, known)
        if not found:
            line = f"no area differs more than normal parts do {score}."
        elif found[0].weak:
            line = f"no area differs more than normal parts do {score}; the oddest is at {found[0].place} (weak)."
        else:
            places = ", ".join(f"{region.place} ({_strength_word(region.strength)})" for region in found[:3])
            line = f"differs at {places} {score}."
        return f"Compared with {count}: {line}{self._rank()}"

    def _rank(self) -> str:
        """How the image ranks among known normals, as a sentence after another one; empty where they are too few."""
        if self.p_value is None:
            return ""
        if self.held_out:
            return f" {self.p_value:.0%} of normal parts look at least this odd."
        as_odd = round(self.p_value * (self.num_normals + 1)) - 1
        if as_odd == 0:
            return f" Odder than each of the {self.num_normals} references beside the others."
        return f" {as_odd} of the {self.num_normals} references look at least this odd beside the others."

    def summary(self, image_hw: tuple[int, int], verdict: Verdict | None = None) -> EvidenceSummary:
        """The part of it that goes into a report; `verdict` as in `text`."""
        return EvidenceSummary(
            num_references=self.num_references,
            anomaly_score=self.anomaly_score,
            p_value=self.p_value,
            gate_open=self.gate_open if verdict != "normal" else False,
            text=self.text(image_hw, verdict),
            streams=self.streams,
            num_normals=self.num_normals,
            normal_share=self.share,
            unsuitable=self.unsuitable,
        )


def compare(pixels: Pixels, bank: MemoryBank, vision: VisionTowers) -> EvidenceMap:
    """Compare `pixels` (H, W, 3) of any size with the references in `bank`, by the same `vision` it was built with."""
    features = extract([pixels], vision, bank.options)
    return compare_features({name: one[0] for name, one in features.items()}, bank, pixels)


def compare_features(features: dict[str, torch.Tensor], bank: MemoryBank, pixels: Pixels | None = None) -> EvidenceMap:
    """Compare one image, given its features (H, W, C) by source, with the references in `bank`.

    Args:
        features: of the image.
        bank: the references.
        pixels: the image (H, W, 3), or a smaller copy, whose light and focus are looked at, too.
    """
    measured = bank.measure(features)
    normal = bank.calibration
    score = calibrate.anomaly_score(measured.statistic, normal.median_statistic, normal.edge_statistic)
    held_out = len(bank.normal_scores) >= ENOUGH_NORMALS
    ranked = len(bank.reference_scores) >= significance.ENOUGH_TO_RANK
    known = bank.normal_scores if held_out else bank.reference_scores if ranked else ()
    return EvidenceMap(
        raw=measured.raw,
        anomaly_map=normal.fused.apply(measured.raw),
        anomaly_score=score,
        p_value=conformal.p_value(score, known) if known else None,
        num_references=bank.num_references,
        streams=tuple(stream.name for stream in bank.options.streams),
        edge=normal.fused.low,
        mass_limit=max(normal.largest_masses, default=0.0),
        num_normals=len(known),
        held_out=held_out,
        unsuitable=_why_unsuitable(pixels, measured.distances, bank),
    )


def _why_unsuitable(pixels: Pixels | None, distances: dict[str, Array], bank: MemoryBank) -> str | None:
    """Why an image is no picture of the product of the references; None where it is one."""
    if pixels is not None:
        small = resize(pixels, (suitability.SIDE, suitability.SIDE))  # once for both
        found = suitability.why_empty(small)
        found = found or suitability.why_unlike(suitability.measure_picture(small), bank.pictures)
        if found is not None:
            return found
    for stream in bank.options.streams:
        limit = stream.unlike
        if bank.num_references > 1:
            room = stream.farther and stream.farther * (1 + FEW / (bank.num_references - 1))
            limit = room and bank.calibration.medians[stream.name] + room
        if limit is not None and float(np.median(distances[stream.name])) > limit:
            return UNLIKE
    return None


def _strength_word(strength: float) -> str:
    return "strong" if strength >= 0.6 else "clear" if strength >= 0.25 else "faint"
