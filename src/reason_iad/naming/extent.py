"""How far an odd area goes on beyond the box that found it, and how the whole map of oddness looks.

A comparison marks where a defect differs most: a piece of a long crack, the corner of a blotch. From the odd pixels of
the box the area grows over what is connected to them and differs from what usually lies there by half as much, in
the same direction. What lies usually is the median of a window that is wider than the box, so that slow shading of a
part is no defect.

Axes: H x W pixels; the area is grown in an image of at most `SIDE` pixels a side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.look_details import axes_of
from reason_iad.evidence.regions import label_components, odd_areas

if TYPE_CHECKING:
    from reason_iad.evidence.compare import EvidenceMap

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

EXTENT = ("whole_size", "whole_elongation", "whole_length", "thickness", "near_edge", "goes_on")
MAP = ("oddness", "peak", "level", "breadth", "odd_share", "areas", "first")
SIDE = 256
WIDER, CELLS = 2.0, 9  # a window's side: of the box's longer one; and how many cells its median is of
STEADY, LEAST_STEP = 0.5, 4.0  # share of the odd pixels' mean difference, and gray levels, that the area keeps
EDGE = 0.08  # of the image's shorter side


def reduce(gray: Array) -> Array:
    """Gray levels (H, W) of an image, smoothed, at the size that areas are grown in (h, w)."""
    from scipy import ndimage

    shrink = min(1.0, SIDE / max(gray.shape))
    smooth: Array = ndimage.gaussian_filter(gray, max(0.7, 0.5 / shrink))
    return ndimage.zoom(smooth, shrink, order=1) if shrink < 1 else smooth


def measure_extent(small: Array, odd: Mask) -> Floats:
    """The numbers of `EXTENT` of odd pixels (H, W) of an image that `reduce` made small (h, w)."""
    from scipy import ndimage

    core = np.zeros(small.shape, dtype=bool)
    rows, columns = np.nonzero(odd)
    core[rows * small.shape[0] // odd.shape[0], columns * small.shape[1] // odd.shape[1]] = True
    whole = _grown(small, core)
    rows, columns = np.nonzero(whole)
    shorter, longer = min(whole.shape), max(whole.shape)
    gaps = np.minimum.reduce([rows, columns, whole.shape[0] - 1 - rows, whole.shape[1] - 1 - columns])
    thick = 2 * float(ndimage.distance_transform_edt(np.pad(whole, 1)).max()) / longer
    long = (max(np.ptp(rows), np.ptp(columns)) + 1) / longer
    found = (
        math.log10(whole.mean()) / 2 + 1,
        math.log10(min(axes_of(rows, columns)[0], 1e4)) / 2,
        math.log10(long) + 1,
        math.log10(thick) + 1,
        float((gaps < EDGE * shorter).mean()),
        math.log10(whole.sum() / core.sum()),
    )
    return np.clip(np.array(found, np.float32), -3, 3)


def _grown(gray: Array, core: Mask) -> Mask:
    """Pixels (h, w) that belong to the odd ones of `core`, which they hold."""
    from scipy import ndimage

    rows, columns = np.nonzero(core)
    side = min(max(WIDER * (max(np.ptp(rows), np.ptp(columns)) + 1), 24), max(gray.shape))
    step = max(1, round(side / CELLS))
    cells = gray[::step, ::step]
    usual = ndimage.median_filter(cells, size=CELLS, mode="nearest")
    at = [np.minimum(np.arange(n) / step, m - 1) for n, m in zip(gray.shape, usual.shape, strict=True)]
    differs = gray - ndimage.map_coordinates(usual, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    mean = float(differs[core].mean())
    alike = core | (differs * math.copysign(1, mean) > max(STEADY * abs(mean), LEAST_STEP))
    labels, _ = label_components(alike)
    return np.isin(labels, np.unique(labels[core]))


def measure_map(evidence: EvidenceMap | None) -> Floats:
    """The numbers of `MAP`; 0 where there is no comparison, or one with a template, whose faults are each their own."""
    if evidence is None or evidence.template is not None:
        return np.zeros(len(MAP), np.float32)
    heat, raw = evidence.heat, np.maximum(evidence.raw, 1e-3)
    _, masses = odd_areas(heat)
    most = float(masses.max()) if masses.size else 1.0
    found = (
        math.log(max(evidence.anomaly_score, 1e-3) / max(1 - evidence.anomaly_score, 1e-3)) / 3,
        math.log(float(raw.max())),
        math.log(float(np.median(raw))),
        math.log(float(np.quantile(raw, 0.9) / raw.max())),
        math.log10(max(float((heat > 0).mean()), 1e-4)) / 2 + 1,
        math.log2(max(1, int((masses >= 0.1 * most).sum()))) / 3,
        most / max(float(masses.sum()), 1e-9),
    )
    return np.clip(np.array(found, np.float32), -3, 3)
