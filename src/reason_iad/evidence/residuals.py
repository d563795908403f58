"""How far images lie from references, and what the references' distances to each other say about normal.

Axes: R references, N images, H x W patches of a stream, C width of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence import calibrate, regions
from reason_iad.evidence.calibrate import Array, Calibration
from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.foreground import FOREGROUND
from reason_iad.evidence.patch_index import PatchIndex
from reason_iad.evidence.reference_checks import odd_indices
from reason_iad.evidence.search import enlarge, fuse, search

if TYPE_CHECKING:
    import torch


def patch_distances(
    features: dict[str, torch.Tensor],
    references: dict[str, torch.Tensor],
    options: EvidenceOptions,
    indexes: Mapping[str, PatchIndex] | None = None,
) -> dict[str, Array]:
    """Distance map of one image, features (H, W, C) by source, to references (N, H, W, C): (H, W) by stream."""
    together: dict[tuple[str, int | None], list[Stream]] = {}
    for stream in options.streams:  # streams of one source share the search
        together.setdefault((stream.source, stream.window), []).append(stream)
    found: dict[str, Array] = {}
    for (source, window), streams in together.items():
        metrics = [stream.metric for stream in streams]
        if window is None and indexes and source in indexes:
            maps = indexes[source].search(features[source], options.num_neighbors)
        else:
            maps = search(features[source], references[source], metrics, options.num_neighbors, window)
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
    each = [
        patch_distances({s: one[index] for s, one in features.items()}, references, options) for index in range(count)
    ]
    return {stream.name: np.stack([one[stream.name] for one in each]) for stream in options.streams}


def leave_one_out(features: dict[str, torch.Tensor], options: EvidenceOptions, views: int) -> dict[str, Array]:
    """Distance maps of each reference to all the others, their views included, by stream (R, H, W)."""
    import torch

    count = len(next(iter(features.values()))) // views
    each = []
    for index in range(count):
        mine = {source: one[index * views] for source, one in features.items()}
        others = {s: torch.cat([one[: index * views], one[(index + 1) * views :]]) for s, one in features.items()}
        each.append(patch_distances(mine, others, options))
    return {stream.name: np.stack([one[stream.name] for one in each]) for stream in options.streams}


def fit_calibration(
    residuals: dict[str, Array], options: EvidenceOptions, vouched: Sequence[int] = ()
) -> tuple[Calibration, Array]:
    """Fit every scale to the residual maps of normals, by stream (N, H, W); also the image statistic of each, (N,)."""
    scales = {name: calibrate.fit_scale(maps) for name, maps in residuals.items()}
    count = len(next(iter(residuals.values())))
    each = [{name: maps[index] for name, maps in residuals.items()} for index in range(count)]
    fused = np.stack([fuse(one, scales, options.map_weights) for one in each])
    scale = calibrate.fit_scale(fused)
    statistics = np.array(
        [calibrate.image_statistic(fuse(one, scales, options.weights), worst_share(options)) for one in each],
        dtype=np.float32,
    )
    areas = np.array([regions.largest_area(one > scale.low) for one in fused], dtype=np.float32)
    median = float(np.median(statistics))
    # One that may be defective must not move the edge. With few, the oddest is all there is to go by.
    usual = np.delete(statistics, odd_indices(statistics, vouched))
    edge = float(usual.max())
    limit = calibrate.area_limit(areas, calibrate.GATE_MARGIN / options.tiles**2)
    calibration = Calibration(scales, scale, limit, median, max(edge, median + 0.1))
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
    """Give patches (H, W) that show no part (h, w) the usual distance of those that do, so that they do not count."""
    inside = enlarge(part, (distances.shape[0], distances.shape[1])) >= 0.5
    return np.where(inside, distances, np.float32(np.median(distances[inside]))) if inside.any() else distances
