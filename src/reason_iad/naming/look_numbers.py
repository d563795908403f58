"""The look of one odd area as numbers: what `evidence.looks` says in words, fine enough to compare examples by.

Axes: H x W pixels of the image. Every number is close to [-1, 1] or [-2, 2] by construction, whatever the image's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.look_details import axes_of, edge_gap, opponents_of, sharpness_of
from reason_iad.evidence.looks import differing_pixels, luma, window_of
from reason_iad.images import Pixels

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]

NAMES = (
    "size", "box_size", "box_aspect", "fill", "elongation", "across", "diagonal", "step", "contrast", "red", "yellow",
    "chroma", "sharpness", "texture", "pieces", "edge_x", "edge_y", "at_edge",
)  # fmt: skip


def measure_numbers(pixels: Pixels, box: Box) -> tuple[npt.NDArray[np.float32], Mask]:
    """The numbers of `NAMES`, (len(NAMES),), and the odd pixels (H, W) inside a box of `pixels` (H, W, 3)."""
    gray = luma(pixels)
    height, width = gray.shape
    area = np.zeros(gray.shape, dtype=bool)
    area[box[1] : box[3], box[0] : box[2]] = True
    mask = differing_pixels(gray, area)
    rows, columns = np.nonzero(mask)
    ring_window = window_of(mask, max(4, int(0.04 * max(mask.shape))))
    inside, patch = mask[ring_window], pixels[ring_window].astype(np.float32)
    around = ~inside if (~inside).sum() > 20 else np.ones_like(inside)
    mean_in, mean_out = patch[inside].mean(0), patch[around].mean(0)
    light = gray[ring_window]
    step = float(light[inside].mean() - light[around].mean())
    spread = float(light[around].std()) + 2.0
    ratio, angle = axes_of(rows, columns)
    box_w, box_h = box[2] - box[0], box[3] - box[1]
    opponent_in, opponent_out = opponents_of(mean_in), opponents_of(mean_out)
    found: Mapping[str, float] = {
        "size": math.log10(max(rows.size, 1) / mask.size) / 2 + 1,
        "box_size": math.log10(max(box_w * box_h, 1) / mask.size) / 2 + 1,
        "box_aspect": math.log2(max(box_w, 1) / max(box_h, 1)) / 2,
        "fill": rows.size / float((np.ptp(rows) + 1) * (np.ptp(columns) + 1)),
        "elongation": math.log10(min(ratio, 1e4)) / 2,
        "across": math.cos(2 * angle) * min(1.0, math.log10(min(ratio, 1e4))),
        "diagonal": math.sin(2 * angle) * min(1.0, math.log10(min(ratio, 1e4))),
        "step": step / 64,
        "contrast": math.tanh(step / spread / 3),
        "red": (opponent_in[0] - opponent_out[0]) / 48,
        "yellow": (opponent_in[1] - opponent_out[1]) / 48,
        "chroma": (math.hypot(*opponent_in) - math.hypot(*opponent_out)) / 48,
        "sharpness": sharpness_of(light, inside),
        "texture": math.log2((_rough(light, inside) + 1) / (_rough(light, around) + 1)) / 2,
        "pieces": math.log2(_pieces(inside)) / 3,
        "edge_x": min(float(columns.min()), width - 1.0 - float(columns.max())) / width * 2,
        "edge_y": min(float(rows.min()), height - 1.0 - float(rows.max())) / height * 2,
        "at_edge": float(edge_gap(rows, columns, mask.shape) <= 0.01),
    }
    return np.clip(np.array([found[name] for name in NAMES], np.float32), -3, 3), mask


def _rough(light: Array, where: Mask) -> float:
    """Standard deviation of fine detail, in gray levels."""
    from scipy import ndimage

    detail = light - ndimage.uniform_filter(light, 5)
    return float(detail[where].std()) if where.sum() > 4 else 0.0


def _pieces(inside: Mask) -> int:
    """Number of connected pieces of at least a twentieth of the largest."""
    from reason_iad.evidence.regions import label_components

    labels, _ = label_components(inside)
    sizes = np.bincount(labels.ravel())[1:]
    return max(1, int((sizes >= 0.05 * sizes.max()).sum())) if sizes.size else 1
