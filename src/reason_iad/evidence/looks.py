"""How the oddest area of an image looks, measured: its place, size, shape, and tone beside what surrounds it.

The calibrated map is coarse (cells of 8 to 16 pixels), so it only says where to look. Inside that area the pixels that
differ most from the ring around it are taken for the defect. Words and their limits are those of common inspection
questions: tiny below 0.4 % of the image and small below 3 %, elongated from a variance ratio of 6, darker or brighter
from 8 gray levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.regions import label_components, odd_areas
from reason_iad.images import Pixels
from reason_iad.types import place_of

Mask = npt.NDArray[np.bool_]

TINY, SMALL = 0.004, 0.03  # shares of the image
ELONGATED = 6.0  # ratio of the variances along and across
TONE_STEP = 8.0  # gray levels


@dataclass(frozen=True)
class Look:
    """The oddest area in words."""

    place: str
    size: str  # tiny, small, large
    shape: str  # compact, elongated
    tone: str  # darker than, brighter than, about as bright as

    @property
    def phrase(self) -> str:
        """The look alone, such as "tiny and compact, darker than its surroundings"."""
        return f"{self.size} and {self.shape}, {self.tone} its surroundings"

    @property
    def sentence(self) -> str:
        """Place and look, as the model reads it beside the evidence."""
        return f"The oddest area: {self.place}; {self.phrase}."


def measure_look(pixels: Pixels, heat: Array) -> Look | None:
    """Place, size, shape and tone of the oddest area of `pixels` (H, W, 3); None where nothing stands out at all.

    Args:
        pixels: the image.
        heat: map of oddness (h, w) over the whole image, such as `EvidenceMap.heat`.
    """
    if heat.max() <= 0:
        return None
    gray = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    area = _core(heat)
    mask = _differing_pixels(gray, area)
    rows, columns = np.nonzero(mask)
    share = rows.size / mask.size
    size = "tiny" if share < TINY else "small" if share < SMALL else "large"
    shape = "elongated" if _elongation(rows, columns) > ELONGATED else "compact"
    step = _step(gray, mask)
    tone = "darker than" if step < -TONE_STEP else "brighter than" if step > TONE_STEP else "about as bright as"
    place = place_of(float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, (mask.shape[0], mask.shape[1]))
    return Look(place, size, shape, tone)


def _core(heat: Array) -> Mask:
    """The connected area (h, w) of largest mass."""
    labels, masses = odd_areas(heat)
    core: Mask = labels == 1 + int(masses.argmax())
    return core


def _differing_pixels(gray: Array, area: Mask) -> Mask:
    """Pixels (H, W) in and next to a coarse area (h, w) that differ from the ring around it; the area where none do."""
    from scipy import ndimage

    height, width = gray.shape
    near = _enlarge(ndimage.binary_dilation(area), gray.shape)
    window = _window(near, max(4, int(0.04 * max(height, width))))
    smooth = ndimage.gaussian_filter(gray[window], max(0.7, max(height, width) / 512))
    inside = near[window]
    ring = smooth[~inside] if (~inside).sum() > 20 else smooth.ravel()
    usual = float(np.median(ring))
    noise = 1.4826 * float(np.median(np.abs(ring - usual))) + 1
    deviation = np.abs(smooth - usual)
    found = inside & (deviation > max(_split(deviation[inside]), 1.5 * noise))
    if found.sum() < 0.02 * inside.sum():
        return _enlarge(area, gray.shape)
    found = ndimage.binary_closing(found, iterations=max(1, max(height, width) // 200))
    labels, _ = label_components(found)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.isin(labels, np.nonzero(sizes >= 0.25 * sizes.max())[0]) & inside & (labels > 0)
    mask = np.zeros(gray.shape, dtype=bool)
    mask[window] = kept
    return mask if kept.any() else _enlarge(area, gray.shape)


def _enlarge(area: Mask, hw: tuple[int, ...]) -> Mask:
    """Each pixel (H, W) takes the cell (h, w) it lies in."""
    rows = np.minimum(np.arange(hw[0]) * area.shape[0] // hw[0], area.shape[0] - 1)
    columns = np.minimum(np.arange(hw[1]) * area.shape[1] // hw[1], area.shape[1] - 1)
    enlarged: Mask = area[rows[:, None], columns[None]]
    return enlarged


def _window(mask: Mask, pad: int) -> tuple[slice, slice]:
    """The bounding box of a mask, widened."""
    rows, columns = np.nonzero(mask)
    return (
        slice(max(0, int(rows.min()) - pad), int(rows.max()) + pad + 1),
        slice(max(0, int(columns.min()) - pad), int(columns.max()) + pad + 1),
    )


def _split(values: Array) -> float:
    """The threshold between two groups of values with the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, 64)
    centers = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    mass = np.cumsum(counts * centers)[:-1]
    mean = float((counts * centers).sum() / total)
    weight = below / total
    spread = np.maximum(weight * (1 - weight), 1e-9)
    return float(centers[:-1][((mean * weight - mass / total) ** 2 / spread).argmax()])


def _elongation(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> float:
    """Ratio of the largest to the smallest variance of a mask's pixels."""
    if rows.size < 3:
        return 1.0
    low, high = np.sort(np.linalg.eigvalsh(np.cov(np.stack([columns, rows]).astype(float))))
    return float(high / max(low, 1e-6))


def _step(gray: Array, mask: Mask) -> float:
    """Mean gray level of a mask less that of the ring around it."""
    window = _window(mask, max(4, int(0.04 * max(mask.shape))))
    inside, values = mask[window], gray[window]
    return float(values[inside].mean() - values[~inside].mean()) if (~inside).any() else 0.0
