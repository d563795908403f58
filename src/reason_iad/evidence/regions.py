"""From a calibrated map to a few named regions."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from reason_iad.types import Region, place_of

Array = npt.NDArray[np.float32]

# Measured on masked training images (78 images, 4 references): of limits 0.35, 0.5 and 0.7 the lowest names size,
# shape and tone right most often (0.63, 0.67, 0.77), and place (0.79).
CORE = 0.35  # share of the map's peak that still belongs to an area


def label_components(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the 8-connected components of `mask` (h, w): labels (h, w) with 0 outside, and their count."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
    return cast(npt.NDArray[np.int32], labels), int(count)


def largest_area(mask: npt.NDArray[np.bool_]) -> float:
    """Area of the largest 8-connected component of `mask` (h, w) as a share of all, in [0, 1]."""
    labels, count = label_components(mask)
    if count == 0:
        return 0.0
    return float(np.bincount(labels.ravel())[1:].max() / mask.size)


def odd_areas(heat: Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Connected areas of a map (h, w) above `CORE` of its peak: labels from 1 (h, w), and how much of it each holds."""
    labels, count = label_components(heat > CORE * heat.max())
    held = np.bincount(labels.ravel(), weights=heat.ravel(), minlength=count + 1)[1:]
    return labels, cast(npt.NDArray[np.float64], held)


def find_regions(
    anomaly_map: Array,
    image_hw: tuple[int, int],
    threshold: float = 0.2,
    max_regions: int = 5,
    region_share: float = 0.5,
) -> tuple[Region, ...]:
    """Connected areas of a calibrated map (h, w), the one that holds most of it first, boxes in pixels of the image.

    The areas are `odd_areas`, so the first is the one whose look is measured. There are none where the peak lies under
    `threshold`; one that never reaches `region_share` of the first's strength is left out: it would distract from it.
    """
    if anomaly_map.max() <= threshold:
        return ()
    labels, held = odd_areas(anomaly_map)
    from scipy import ndimage

    rows, columns = anomaly_map.shape
    height, width = image_hw
    found: list[tuple[float, Region]] = []
    for index, (row, column) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[row, column] == index
        values = anomaly_map[row, column][inside]
        box = (
            math.floor(column.start * width / columns),
            math.floor(row.start * height / rows),
            math.ceil(column.stop * width / columns),
            math.ceil(row.stop * height / rows),
        )
        y, x = np.nonzero(inside)
        center_x = (float((x * values).sum() / values.sum()) + column.start + 0.5) * width / columns
        center_y = (float((y * values).sum() / values.sum()) + row.start + 0.5) * height / rows
        place, strength = place_of(center_x, center_y, image_hw), float(np.quantile(values, 0.99))
        found.append((float(held[index - 1]), Region(box, place, strength, values.size / labels.size)))
    found.sort(key=lambda pair: (-pair[0], pair[1].box_xyxy))
    least = region_share * found[0][1].strength
    return tuple(region for _, region in found if region.strength >= least)[:max_regions]
