"""How far images lie from references, and what the references' distances to each other say about normal.

Axes: R references, N images, H x W patches of a stream, C width of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence import calibrate, significance
from reason_iad.evidence.calibrate import Array, Calibration
from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.foreground import FOREGROUND
from reason_iad.evidence.patch_index import PatchIndex
from reason_iad.evidence.reference_checks import GROSS_RATIO, odd_indices
from reason_iad.evidence.search import enlarge, fuse, search_left_out

if TYPE_CHECKING:
    import torch


def patch_distances(
    features: dict[str, torch.Tensor],
    references: dict[str, torch.Tensor],
    options: EvidenceOptions,
    indexes: Mapping[str, PatchIndex] | None = None,
    groups: int = 1,
) -> dict[str, Array]:
    """Distance maps of one image, features (H, W, C) by source, to references (N, H, W, C), by stream.

    Args:
        features: of the image.
        references: what it is compared with.
        options: how.
        indexes: of sources that are too large to be searched patch by patch.
        groups: G equal parts of the references, each of which is left out in turn, too.

    Returns:
        (1 + G, H, W), beside all references first; (1, H, W) where G is 1, of a source with an index, and of one that
        no score counts.
    """
    together: dict[tuple[str, int | None], list[Stream]] = {}
    for stream in options.streams:  # streams of one source share the search
        together.setdefault((stream.source, stream.window), []).append(stream)
    found: dict[str, Array] = {}
    for (source, window), streams in together.items():
        metrics = [stream.metric for stream in streams]
        if window is None and indexes and source in indexes:
            maps = indexes[source].search(features[source], options.num_neighbors)
            maps = {metric: one[None] for metric, one in maps.items()}
        else:
            scored = groups if any(stream.weight for stream in streams) else 1  # a map alone needs no score beside it
            maps = search_left_out(features[source], references[source], scored, metrics, options.num_neighbors, window)
        found.update({stream.name: maps[stream.metric] for stream in streams})
    if options.foreground:
        part = references[FOREGROUND].amax(dim=0)[..., 0].numpy()  # where some reference shows the part
        found = {name: _calm_outside(one, part) for name, one in found.items()}
    return {stream.name: found[stream.name] for stream in options.streams}


def patch_distances_of_each(
    features: dict[str, torch.Tensor], references: dict[str, torch.Tensor], options: EvidenceOptions
) -> dict[str, Array]:
    """Distance maps of several images (N, H, W, C) by source to the same references: (N, H, W) by stream."""
    count = len(next(iter(features.values())))
    mine = ({source: one[index] for source, one in features.items()} for index in range(count))
    each = [patch_distances(one, references, options) for one in mine]
    return {stream.name: np.concatenate([one[stream.name] for one in each]) for stream in options.streams}


def leave_one_out(features: dict[str, torch.Tensor], options: EvidenceOptions, views: int) -> dict[str, Array]:
    """Distance maps of each reference to all the others, their views included, by stream (R, H, W)."""
    import torch

    count = len(next(iter(features.values()))) // views
    each = []
    for index in range(count):
        mine = {source: one[index * views] for source, one in features.items()}
        others = {s: torch.cat([one[: index * views], one[(index + 1) * views :]]) for s, one in features.items()}
        each.append(patch_distances(mine, others, options))
    return {stream.name: np.concatenate([one[stream.name] for one in each]) for stream in options.streams}


def fit_calibration(
    residuals: dict[str, Array], options: EvidenceOptions, num_references: int, vouched: Sequence[int] = ()
) -> tuple[Calibration, Array]:
    """Fit every scale to the residual maps of normals, by stream (N, H, W); also the image statistic of each, (N,).

    Args:
        residuals: of the references beside each other; of altered copies where there is one reference.
        options: how they were compared.
        num_references: R.
        vouched: indices of references that a person called good although they may look odd.
    """
    scales = {name: calibrate.fit_scale(maps) for name, maps in residuals.items()}
    statistics = calibrate.image_statistic(fuse(residuals, scales, options.weights), worst_share(options))
    fused = fuse(residuals, scales, options.map_weights)
    scale = calibrate.fit_scale(fused)
    # One that is surely defective must not move the edge; one that only may be is what good parts look like, too.
    usual = np.delete(np.arange(len(statistics)), odd_indices(statistics, vouched, GROSS_RATIO))
    masses = tuple(significance.largest_mass(np.clip(one - scale.low, 0, None)) for one in fused[usual])
    edge = significance.edge_of(statistics[usual], num_references)
    medians = {name: float(np.median(maps[usual], axis=(1, 2)).max()) for name, maps in residuals.items()}
    calibration = Calibration(scales, scale, float(np.median(statistics[usual])), edge, masses, medians)
    return calibration, statistics


def scores_of(statistics: Array, calibration: Calibration) -> tuple[float, ...]:
    """Anomaly score of each image from its statistic (N,)."""
    return tuple(
        calibrate.anomaly_score(float(one), calibration.median_statistic, calibration.edge_statistic)
        for one in statistics
    )


def worst_share(options: EvidenceOptions) -> float:
    """Share of the patches whose mean is the oddness of an image: 1 % of it, or of one of its tiles."""
    return calibrate.WORST_SHARE / options.tiles**2


def _calm_outside(distances: Array, part: Array) -> Array:
    """Give patches (G, H, W) that show no part (h, w) the usual distance of the others, so that they do not count."""
    inside = enlarge(part, (distances.shape[1], distances.shape[2])) >= 0.5
    if not inside.any():
        return distances
    usual = np.median(distances[:, inside], axis=1)[:, None, None]
    return np.where(inside, distances, usual).astype(np.float32)
