"""Direction, hue, sharpness and nearness to an edge of a marked area: finer parts of its look, as plain numbers.

Axes: H x W pixels of an image, or of a window around the area.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


def axes_of(rows: Indices, columns: Indices) -> tuple[float, float]:
    """Ratio of the variances along and across an area, and the angle of its long axis: 0 level, +-pi / 2 upright."""
    if rows.size < 3:
        return 1.0, 0.0
    variances, vectors = np.linalg.eigh(np.cov(np.stack([columns, rows]).astype(float)))
    return float(variances[1] / max(variances[0], 1e-6)), math.atan2(vectors[1, 1], vectors[0, 1])


def opponents_of(color: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Red against green, and yellow against blue, of a color (3,), in gray levels."""
    red, green, blue = (float(v) for v in color)
    return red - green, (red + green) / 2 - blue


def sharpness_of(light: Array, inside: Mask) -> float:
    """How steep the border of an area is: the share of its step that one pixel makes; near 0 gradual, 1 cut out."""
    from scipy import ndimage

    border = inside ^ ndimage.binary_erosion(inside)
    if not border.any() or inside.all():
        return 0.0
    gradient = np.hypot(ndimage.sobel(light, 0) / 8, ndimage.sobel(light, 1) / 8)
    near = ndimage.binary_dilation(border)
    step = abs(float(light[inside].mean() - light[~inside].mean())) + 4.0
    return float(min(2.0, np.quantile(gradient[near], 0.75) * 2 / step))


def edge_gap(rows: Indices, columns: Indices, image_hw: tuple[int, ...]) -> float:
    """How far an area lies from the nearest edge of the image, as a share of its shorter side."""
    height, width = image_hw
    gaps = rows.min(), columns.min(), height - 1 - rows.max(), width - 1 - columns.max()
    return float(min(gaps)) / min(height, width)
