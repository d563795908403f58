"""Samples of synthetic images, and the words for a defect measured on its mask and the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import ndimage

from reason_iad.images import Pixels
from reason_iad.training.synth_canvas import Field, Mask, bounding_box, rgb
from reason_iad.types import place_of

MIN_CONTRAST = 9.0  # gray levels, mean over the mask of the largest channel's change
MIN_PIXELS = 24  # of a 320 px image, scaled with its area
GRAY = rgb(0.299, 0.587, 0.114)  # weights of the channels

SizeWord = Literal["tiny", "small", "large"]
ShapeWord = Literal["elongated", "compact"]
ToneWord = Literal["darker than", "brighter than", "about as bright as"]


@dataclass(frozen=True, eq=False)
class NormalSample:
    """A flawless image and what is known of its object."""

    pixels: Pixels  # (H, W, 3)
    category: str
    object_name: str
    facts: dict[str, str] = field(default_factory=dict)  # visible style of the line: color, counts


@dataclass(frozen=True, eq=False)
class SynthSample:
    """A defective image with its mask and the words measured on both."""

    pixels: Pixels  # (H, W, 3)
    mask: Mask  # (H, W)
    defect_type: str
    size: SizeWord
    shape: ShapeWord
    tone: ToneWord
    place: str  # one of types.PLACES, of the mask's centroid
    area: float  # share of the image, in (0, 1]
    centroid_xy: tuple[float, float]  # pixels
    elongation: float  # ratio of the covariance eigenvalues of the mask, at least 1; above 6 is elongated
    tone_step: float  # gray levels inside less those of a ring around; beyond 8 is darker or brighter
    category: str = "unknown"
    object_name: str = "object"
    facts: dict[str, str] = field(default_factory=dict)
    strength: float = 1.0  # 0 faint .. 1 strong, as drawn


def changed(before: Field, after: Field, reach: int = 2) -> Mask | None:
    """Mask (H, W) of what differs between two images (H, W, 3); None where a person would not see it.

    Gaps of up to `reach` pixels on either side are closed, specks are dropped.
    """
    step = np.abs(after.astype(np.int16) - before.astype(np.int16))
    difference = np.maximum(np.maximum(step[..., 0], step[..., 1]), step[..., 2]).astype(np.float32)
    smooth = ndimage.uniform_filter(difference, 3)
    strong = smooth[smooth > 3]
    if not strong.size:
        return None
    mask: Mask = smooth > max(5.0, 0.2 * float(np.quantile(strong, 0.9)))
    box = bounding_box(mask, reach + 2)
    if box is None:
        return None
    part = ndimage.binary_closing(mask[box], iterations=reach)
    labels, _count = ndimage.label(part)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    mask[box] = (areas >= max(6, 0.04 * areas.max()))[labels]
    contrast = float(difference[mask].mean()) if mask.any() else 0.0
    if mask.sum() < MIN_PIXELS * (mask.shape[0] / 320) ** 2 or mask.mean() > 0.6 or contrast < MIN_CONTRAST:
        return None
    gray = before[box].astype(np.float32) @ GRAY
    texture = float(np.median(np.abs(gray - ndimage.uniform_filter(gray, 5))))  # grain and noise hide faint changes
    return mask if contrast > 2.5 * min(texture, 12) else None  # a strong regular pattern hides less than grain does


def describe(
    pixels: Pixels, mask: Mask, defect_type: str, *, category: str = "unknown", object_name: str = "object",
    facts: dict[str, str] | None = None, strength: float = 1.0,
) -> SynthSample:  # fmt: skip
    """Measure the words for a defect on its mask (H, W) and the image."""
    rows, columns = np.nonzero(mask)
    area = rows.size / mask.size
    size: SizeWord = "tiny" if area < 0.004 else "small" if area < 0.03 else "large"
    spread = np.linalg.eigvalsh(np.cov(np.stack([columns, rows]))) if rows.size > 2 else np.ones(2)
    elongation = float(spread[1] / max(spread[0], 1e-6))
    shape: ShapeWord = "elongated" if elongation > 6 else "compact"
    center = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    step = tone_step(pixels, mask)
    tone: ToneWord = "darker than" if step < -8 else "brighter than" if step > 8 else "about as bright as"
    place = place_of(*center, (mask.shape[0], mask.shape[1]))
    return SynthSample(
        pixels, mask, defect_type, size, shape, tone, place, area, center, elongation, step, category, object_name,
        facts or {}, strength,
    )  # fmt: skip


def tone_step(pixels: Pixels, mask: Mask) -> float:
    """Mean gray inside the mask less that of a ring around it, 2 % of the side wide."""
    width = max(3, round(0.02 * mask.shape[0]))
    box = bounding_box(mask, width + 1)
    assert box is not None
    part = mask[box]
    ring = ndimage.binary_dilation(part, iterations=width) & ~part
    gray = pixels[box].astype(np.float32) @ GRAY
    return float(gray[part].mean() - gray[ring].mean()) if ring.any() else 0.0
