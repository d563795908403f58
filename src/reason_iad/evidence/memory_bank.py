"""The references of one category: their patch features, and what their own differences say about normal.

`bank_file` keeps a bank on disk, `residuals` measures the distances, `rotations` adds turned views of the references.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.evidence import calibrate
from reason_iad.evidence.calibrate import Array, Calibration
from reason_iad.evidence.features import QUARTERS, EvidenceOptions, altered_copies, extract
from reason_iad.evidence.patch_index import PatchIndex, worth_indexing
from reason_iad.evidence.reference_checks import SINGLE, odd_references, unlike_references, unlike_shapes
from reason_iad.evidence.residuals import (
    fit_calibration,
    leave_one_out,
    patch_distances,
    patch_distances_of_each,
    scores_of,
    worst_share,
)
from reason_iad.evidence.rotations import rotated_views, with_views
from reason_iad.evidence.search import enlarge, fuse
from reason_iad.evidence.suitability import PictureFacts, measure_picture
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch

WIDEN = {"euclidean": 1.35, "cosine": 1.35**2}  # altered copies differ that much less than real normals do


@dataclass(frozen=True, eq=False)
class Measured:
    """One image beside the references.

    Attributes:
        raw: fused map (h, w); 0 the median of normals, about 1 their edge.
        statistic: oddness of the whole image, in the same units: beside the references with each left out in turn, as
            theirs beside each other is measured, averaged.
        distances: by stream (H, W).
    """

    raw: Array
    statistic: float
    distances: dict[str, Array]


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """Normal references and the calibration that they give themselves.

    Attributes:
        options: how it was built, and how images are compared with it.
        features: by source, (R * V, H, W, C): the V views of each reference follow each other, the upright one first.
        calibration: the scales of distances.
        views: V; 4 where references are turned, too, else 1.
        normal_scores: anomaly scores of normals that are not among the references, for the p-value.
        warnings: what a person should check about these references.
        reference_scores: anomaly score of each reference against all the others; empty where there is one.
        defects: by source, patches of known defects, (D, C); empty where none is known.
        pictures: light and focus of the references; empty where only their features are known.
    """

    options: EvidenceOptions
    features: dict[str, torch.Tensor]
    calibration: Calibration
    views: int = 1
    normal_scores: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    reference_scores: tuple[float, ...] = ()
    defects: dict[str, torch.Tensor] = field(default_factory=dict)
    pictures: tuple[PictureFacts, ...] = ()

    @property
    def num_references(self) -> int:
        """Number of reference images."""
        return int(next(iter(self.features.values())).shape[0]) // self.views

    def upright(self, source: str) -> torch.Tensor:
        """Features of the references as they are, without their turned views: (R, H, W, C)."""
        return self.features[source][:: self.views]

    @classmethod
    def build(
        cls, references: Sequence[Pixels], vision: VisionTowers, options: EvidenceOptions | None = None
    ) -> MemoryBank:
        """Learn what is normal from `references`, each (H, W, 3) of any size.

        Raises:
            EvidenceError: there is no reference.
        """
        options = options or EvidenceOptions()
        if not len(references):
            raise EvidenceError("there are 0 reference images; expected at least one image of a good part")
        raw = extract(references, vision, options)
        copies = None
        if len(references) == 1:
            copies = extract(altered_copies(references[0], options.side), vision, options)
        turned = rotated_views(references, raw, vision, options)
        bank = cls.from_features(raw, options, copies, turned)
        return bank.with_pictures(references)

    @classmethod
    def from_features(
        cls,
        raw: dict[str, torch.Tensor],
        options: EvidenceOptions,
        copies: dict[str, torch.Tensor] | None = None,
        turned: dict[str, torch.Tensor] | None = None,
        vouched: Sequence[int] = (),
    ) -> MemoryBank:
        """Learn what is normal from the features of references, as `extract` gives them, (R, H, W, C) by source.

        Args:
            raw: features of the references.
            options: what they were extracted with.
            copies: features of altered copies, (N, H, W, C), which stand in for other normals where R is 1.
            turned: features of the references turned by 90, 180 and 270 degrees, (R, 3, H, W, C), to compare with too.
            vouched: indices of references that a person called good although they may look odd.

        Raises:
            EvidenceError: there is one reference and no altered copy of it.
        """
        num_references = len(next(iter(raw.values())))
        views = 1 if turned is None else QUARTERS
        features = {source: with_views(one, turned[source] if turned else None) for source, one in raw.items()}
        if num_references > 1:
            residuals = leave_one_out(features, options, views)
            warnings = unlike_references(residuals, options)
        elif copies is None:
            raise EvidenceError("there is one reference and no altered copy of it; give copies, or a second reference")
        else:
            residuals = patch_distances_of_each(copies, features, options)
            residuals = {s.name: WIDEN[s.metric] * residuals[s.name] for s in options.streams}
            warnings = (SINGLE,)
        calibration, statistics = fit_calibration(residuals, options, num_references, vouched)
        if num_references > 1 and not warnings:
            warnings = odd_references(statistics, vouched)
        scores = scores_of(statistics, calibration) if num_references > 1 else ()
        return cls(options, features, calibration, views, warnings=warnings, reference_scores=scores)

    def with_pictures(self, references: Sequence[Pixels]) -> MemoryBank:
        """The same bank that knows how the references (H, W, 3), or smaller copies of them, were taken."""
        warnings = unlike_shapes([pixels.shape[:2] for pixels in references])
        pictures = tuple(measure_picture(pixels) for pixels in references)
        return dataclasses.replace(self, warnings=(*self.warnings, *warnings), pictures=pictures)

    def with_held_out(self, normals: Sequence[Pixels], vision: VisionTowers) -> MemoryBank:
        """The same bank with `normals` that are not among its references, so that it gives p-values."""
        from reason_iad.evidence.compare import compare

        scores = tuple(compare(pixels, self, vision).anomaly_score for pixels in normals)
        return dataclasses.replace(self, normal_scores=scores)

    def with_defects(self, features: Sequence[dict[str, torch.Tensor]], share: float = 0.01) -> MemoryBank:
        """The same bank that also knows defects: the oddest `share` of the patches of images of defective parts.

        Args:
            features: of each image, (H, W, C) by source.
            share: of the patches of an image that are kept.
        """
        import torch

        found: dict[str, list[torch.Tensor]] = {}
        plain = dataclasses.replace(self, defects={})
        for one in features:
            odd = plain.measure(one).raw
            for source in dict.fromkeys(stream.source for stream in self.options.streams):
                patches = one[source]
                strength = torch.from_numpy(enlarge(odd, (patches.shape[0], patches.shape[1]))).flatten()
                worst = strength.topk(max(1, round(len(strength) * share))).indices
                found.setdefault(source, []).append(patches.flatten(0, 1)[worst])
        return dataclasses.replace(self, defects={source: torch.cat(parts) for source, parts in found.items()})

    def measure(self, features: dict[str, torch.Tensor]) -> Measured:
        """Measure one image, features (H, W, C) by source, beside the references; known defects count more."""
        groups = 1 if self._indexes else self.num_references
        distances = patch_distances(features, self.features, self.options, self._indexes, groups)
        raw, statistics = self._judge(features, distances)
        statistic = statistics[1:].mean() if len(statistics) > 1 else statistics[0]
        return Measured(raw, float(statistic), {name: one[0] for name, one in distances.items()})

    @cached_property
    def _indexes(self) -> dict[str, PatchIndex]:
        """Indexes of the sources whose patches are too many to be compared one by one."""
        found = {}
        for source in self.options.sources:
            metrics = [s.metric for s in self.options.streams if s.source == source and s.window is None]
            if metrics and worth_indexing(self.features[source]):
                found[source] = PatchIndex(self.features[source], metrics)
        return found

    def leave_one_out_scores(self) -> tuple[float, ...]:
        """Anomaly score of each reference against all the others, with what is known of defects: (R,)."""
        if self.num_references == 1:
            return ()
        residuals = leave_one_out(self.features, self.options, self.views)
        statistics = []
        for index in range(self.num_references):
            mine = {source: self.upright(source)[index] for source in self.features}
            _, judged = self._judge(mine, {name: maps[index : index + 1] for name, maps in residuals.items()})
            statistics.append(float(judged[0]))
        return scores_of(np.array(statistics, dtype=np.float32), self.calibration)

    def _judge(self, features: dict[str, torch.Tensor], distances: dict[str, Array]) -> tuple[Array, Array]:
        """Fused map (h, w) and image statistics (G,) of the distances (G, H, W) of one image by stream.

        The map is that of the first distances, which are those to all references.
        To each distance is added how much closer the patch is to a known defect than to any normal.
        """
        judged = distances
        if self.defects:
            known = {source: one[None, None] for source, one in self.defects.items()}
            options = dataclasses.replace(
                self.options,
                streams=tuple(dataclasses.replace(s, window=None) for s in self.options.streams),
                foreground=False,
            )
            gaps = patch_distances(features, known, options)
            judged = {name: one + np.maximum(one - gaps[name], 0.0) for name, one in distances.items()}
        scales = self.calibration.scales
        raw = fuse({name: one[0] for name, one in judged.items()}, scales, self.options.map_weights)
        odd = fuse(judged, scales, self.options.weights)
        return raw, calibrate.image_statistic(odd, worst_share(self.options))

    def save(self, folder: str | Path) -> None:
        """Write the bank into `folder`; a bank that is there stays whole until the new one is."""
        from reason_iad.evidence.bank_file import write_bank

        write_bank(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> MemoryBank:
        """Read a bank written by `save`.

        Raises:
            EvidenceError: there is no bank, it is damaged, or another version wrote it.
        """
        from reason_iad.evidence.bank_file import read_bank

        return read_bank(Path(folder))
