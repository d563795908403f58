"""From a map of oddness to a few named regions."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from reason_iad.types import Region, place_of

Array = npt.NDArray[np.float32]

# Measured on masked training images (78 images, 4 references): of limits 0.35, 0.5 and 0.7 the lowest names size,
# shape and tone right most often (0.63, 0.67, 0.77), and place (0.79).
CORE = 0.35  # share of its peak that still belongs to an area


def label_components(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the 8-connected components of `mask` (h, w): labels (h, w) with 0 outside, and their count."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
    return cast(npt.NDArray[np.int32], labels), int(count)


def odd_areas(heat: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Odd areas of a map (h, w) that is 0 where nothing is odd.

    An area is what is connected, and reaches as far as `CORE` of its own peak, not of the image's: a second defect is
    seen as well beside a stronger one.

    Returns:
        Labels from 1 (h, w), 0 outside, and the mass of each: the sum of all that is connected to it (n,).
    """
    whole, count = label_components(heat > 0)
    masses = np.bincount(whole.ravel(), weights=heat.ravel(), minlength=count + 1)
    peaks = np.zeros(count + 1, dtype=heat.dtype)
    np.maximum.at(peaks, whole.ravel(), heat.ravel())
    pieces, number = label_components((whole > 0) & (heat >= CORE * peaks[whole]))
    held = np.bincount(pieces.ravel(), weights=heat.ravel(), minlength=number + 1)
    _, first = np.unique(pieces, return_index=True)
    owner = whole.ravel()[first[-number:]] if number else np.zeros(0, dtype=np.int32)  # of the pieces 1 to `number`
    best = np.zeros(count + 1, dtype=np.int32)
    for piece in np.argsort(held[1:], kind="stable"):  # the piece that holds most of an area stands for it
        best[owner[piece]] = piece + 1
    labels = np.zeros(number + 1, dtype=np.int32)
    labels[best[1:]] = np.arange(1, count + 1)
    return labels[pieces], cast(npt.NDArray[np.float64], masses[1:])


def find_regions(
    heat: Array,
    anomaly_map: Array,
    image_hw: tuple[int, int],
    above: float = 0.0,
    max_regions: int = 5,
    region_share: float = 0.0,
) -> tuple[Region, ...]:
    """The odd areas of a map, the one of largest mass first, boxes in pixels of the image.

    The areas are `odd_areas`, so the first is the one whose look is measured.

    Args:
        heat: how much each patch exceeds what normals show (h, w).
        anomaly_map: calibrated strength (h, w), in [0, 1].
        image_hw: of the image.
        above: areas up to this mass are left out.
        max_regions: how many are named at most.
        region_share: areas weaker than this share of the first are left out.
    """
    labels, masses = odd_areas(heat)
    from scipy import ndimage

    rows, columns = heat.shape
    height, width = image_hw
    found: list[tuple[float, Region]] = []
    for index, (row, column) in enumerate(ndimage.find_objects(labels), start=1):
        if masses[index - 1] <= above:
            continue
        inside = labels[row, column] == index
        values = heat[row, column][inside]
        box = (
            math.floor(column.start * width / columns),
            math.floor(row.start * height / rows),
            math.ceil(column.stop * width / columns),
            math.ceil(row.stop * height / rows),
        )
        y, x = np.nonzero(inside)
        center_x = (float((x * values).sum() / values.sum()) + column.start + 0.5) * width / columns
        center_y = (float((y * values).sum() / values.sum()) + row.start + 0.5) * height / rows
        strength = float(np.quantile(anomaly_map[row, column][inside], 0.99))
        region = Region(box, place_of(center_x, center_y, image_hw), strength, values.size / labels.size)
        found.append((float(masses[index - 1]), region))
    found.sort(key=lambda pair: (-pair[0], pair[1].box_xyxy))
    least = region_share * found[0][1].strength if found else 0.0
    return tuple(region for _, region in found if region.strength >= least)[:max_regions]
