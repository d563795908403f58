"""How the oddest area of an image looks, measured: its place, size, shape, and tone beside what surrounds it.

The calibrated map is coarse (cells of 8 to 16 pixels), so it only says where to look. Inside that area the pixels that
differ most from the ring around it are taken for the defect. Words and their limits are those of common inspection
questions: tiny below 0.4 % of the image and small below 3 %, elongated from a variance ratio of 6, darker or brighter
from 8 gray levels, another hue from 10. A direction within 22.5 degrees of level or upright has that name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.look_details import axes_of, edge_gap, opponents_of, sharpness_of
from reason_iad.evidence.regions import label_components, odd_areas
from reason_iad.images import Pixels
from reason_iad.types import place_of

Mask = npt.NDArray[np.bool_]

TINY, SMALL = 0.004, 0.03  # shares of the image
ELONGATED = 6.0  # ratio of the variances along and across
TONE_STEP = 8.0  # gray levels
HUE_STEP = 10.0  # gray levels between a color's parts
SHARP = 0.5  # share of the step that one pixel makes
AT_EDGE = 0.02  # of the image's shorter side
HUES = ("redder", "yellower", "greener", "bluer")  # each a quarter of the circle of hues, from red on


@dataclass(frozen=True)
class Look:
    """The oddest area in words."""

    place: str
    size: str  # tiny, small, large
    shape: str  # compact, elongated
    tone: str  # darker than, brighter than, about as bright as
    hue: str = ""  # redder, yellower, greener, bluer, or of the same hue; empty where it was not measured
    direction: str = ""  # level, upright, diagonal, or no direction
    sharpness: str = ""  # sharp, gradual
    border: str = ""  # at the edge, inside

    @property
    def phrase(self) -> str:
        """The look alone, such as "tiny and elongated, upright, darker and redder than its surroundings, sharp"."""
        direction = f", {self.direction}" if self.direction not in ("", "no direction") else ""
        seen = self._beside(self.hue)
        bounds = {"sharp": ", sharply bounded", "gradual": ", with a gradual border"}.get(self.sharpness, "")
        edge = ", at the edge of the image" if self.border == "at the edge" else ""
        return f"{self.size} and {self.shape}{direction}, {seen}{bounds}{edge}"

    def sentence(self, hue: bool) -> str:
        """Place and look as models read them beside the evidence: without the finer parts, but for hue where asked."""
        seen = self._beside(self.hue if hue else "")
        return f"The oddest area: {self.place}; {self.size} and {self.shape}, {seen}."

    def _beside(self, hue: str) -> str:
        """Tone and hue beside the surroundings, such as "darker and redder than its surroundings"."""
        tone, _, rest = self.tone.partition(" ")
        if hue not in HUES:
            return f"{self.tone} its surroundings"
        if rest == "than":
            return f"{tone} and {hue} than its surroundings"
        return f"{self.tone} its surroundings but {hue}"


def measure_look(pixels: Pixels, heat: Array) -> Look | None:
    """Place, size, shape and tone of the oddest area of `pixels` (H, W, 3); None where nothing stands out at all.

    Args:
        pixels: the image.
        heat: map of oddness (h, w) over the whole image, such as `EvidenceMap.heat`.
    """
    if heat.max() <= 0:
        return None
    return look_of(pixels, differing_pixels(luma(pixels), _core(heat)))


def look_of(pixels: Pixels, mask: Mask) -> Look:
    """The look of marked pixels (H, W) of an image (H, W, 3); at least one is marked."""
    gray = luma(pixels)
    rows, columns = np.nonzero(mask)
    share = rows.size / mask.size
    size = "tiny" if share < TINY else "small" if share < SMALL else "large"
    ratio, angle = axes_of(rows, columns)
    shape = "elongated" if ratio > ELONGATED else "compact"
    step = _step(gray, mask)
    tone = "darker than" if step < -TONE_STEP else "brighter than" if step > TONE_STEP else "about as bright as"
    place = place_of(float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, (mask.shape[0], mask.shape[1]))
    window = window_of(mask, max(4, int(0.04 * max(mask.shape))))
    return Look(
        place,
        size,
        shape,
        tone,
        _hue(pixels[window], mask[window]),
        _direction(angle) if shape == "elongated" else "no direction",
        "sharp" if sharpness_of(gray[window], mask[window]) >= SHARP else "gradual",
        "at the edge" if edge_gap(rows, columns, mask.shape) <= AT_EDGE else "inside",
    )


def _hue(pixels: Pixels, inside: Mask) -> str:
    """The hue of marked pixels (h, w) against the others of a window (h, w, 3)."""
    if inside.all():
        return "of the same hue"
    within = opponents_of(pixels[inside].mean(0, dtype=np.float32))
    around = opponents_of(pixels[~inside].mean(0, dtype=np.float32))
    red, yellow = within[0] - around[0], within[1] - around[1]
    if math.hypot(red, yellow) < HUE_STEP:
        return "of the same hue"
    return HUES[round(math.atan2(yellow, red) / (math.pi / 2)) % 4]


def _direction(angle: float) -> str:
    """The name of a long axis, from its angle to the level."""
    steps = round(angle / (math.pi / 4)) % 4
    return "level" if steps == 0 else "upright" if steps == 2 else "diagonal"


def luma(pixels: Pixels) -> Array:
    """Gray levels (H, W) of an image (H, W, 3), in [0, 255]."""
    gray: Array = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return gray


def _core(heat: Array) -> Mask:
    """The connected area (h, w) of largest mass."""
    labels, masses = odd_areas(heat)
    core: Mask = labels == 1 + int(masses.argmax())
    return core


def differing_pixels(gray: Array, area: Mask) -> Mask:
    """Pixels (H, W) in and next to a coarse area (h, w) that differ from the ring around it; the area where none do."""
    from scipy import ndimage

    height, width = gray.shape
    near = _enlarge(ndimage.binary_dilation(area), gray.shape)
    window = window_of(near, max(4, int(0.04 * max(height, width))))
    smooth = ndimage.gaussian_filter(gray[window], max(0.7, max(height, width) / 512))
    inside = near[window]
    ring = smooth[~inside] if (~inside).sum() > 20 else smooth.ravel()
    usual = float(np.median(ring))
    noise = 1.4826 * float(np.median(np.abs(ring - usual))) + 1
    deviation = np.abs(smooth - usual)
    found = inside & (deviation > max(otsu(deviation[inside]), 1.5 * noise))
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


def window_of(mask: Mask, pad: int) -> tuple[slice, slice]:
    """The bounding box of a mask, widened."""
    rows, columns = np.nonzero(mask)
    return (
        slice(max(0, int(rows.min()) - pad), int(rows.max()) + pad + 1),
        slice(max(0, int(columns.min()) - pad), int(columns.max()) + pad + 1),
    )


def otsu(values: Array) -> float:
    """The threshold between two groups of values with the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, 64)
    centers = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    mass = np.cumsum(counts * centers)[:-1]
    mean = float((counts * centers).sum() / total)
    weight = below / total
    spread = np.maximum(weight * (1 - weight), 1e-9)
    return float(centers[:-1][((mean * weight - mass / total) ** 2 / spread).argmax()])


def _step(gray: Array, mask: Mask) -> float:
    """Mean gray level of a mask less that of the ring around it."""
    window = window_of(mask, max(4, int(0.04 * max(mask.shape))))
    inside, values = mask[window], gray[window]
    return float(values[inside].mean() - values[~inside].mean()) if (~inside).any() else 0.0
