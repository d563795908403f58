"""Comparison with a golden template: a good image of the very same object, such as a board beside its own drawing.

Registered as a whole (turn and shift), then piece by piece (small shifts), the template explains every pixel that it
shows nearby; what it does not show is odd. Nothing is learned and no network runs, so faults of a few pixels remain.

Axes: H x W pixels at the working size. Distances are shares of the template's contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from reason_iad.evidence import calibrate
from reason_iad.evidence.calibrate import Array, Scale
from reason_iad.evidence.compare import EvidenceMap
from reason_iad.images import Pixels, resize

UNLIKE_TEMPLATE = "it does not resemble its template even after registration: it may show another object"
TEMPLATE = "template pixels"  # the one stream of this comparison
MAX_REGIONS = 20
FAINT = 0.4  # share of the strongest area's strength down to which others are named: each fault counts by itself
EXPLAINED = 0.015  # share of pixels that may differ where both images show the very same object (docs/evidence.md)
RESEMBLES = 0.5  # correlation under which they do not even resemble each other
SMALLEST_MASS = 9.0  # of an area that is named: what 9 pixels at twice the edge have
SPAN = 7.0  # the scale ends at eight times the edge: with a shorter one faults and dust both reach its end


@dataclass(frozen=True)
class PairedOptions:
    """How an image is compared with its template.

    Attributes:
        max_side: larger images are reduced to this many pixels; at 1,536 a fault of 20 in 4,000 pixels keeps 8.
        turn: degrees to either side that a template may be turned.
        shift: pixels to either side that each piece may lie elsewhere, after registration as a whole.
        piece: side of the pieces, in pixels.
        tolerance: pixels that an edge may lie elsewhere within a piece.
        blur: standard deviation of the smoothing of distances, in pixels.
        edge: distance up to which pixels count as normal, unless altered copies of the template differ more.
    """

    max_side: int = 1536
    turn: float = 4.0
    shift: int = 3
    piece: int = 97
    tolerance: int = 2
    blur: float = 1.0
    edge: float = 0.1


def compare_paired(pixels: Pixels, template: Pixels, options: PairedOptions | None = None) -> EvidenceMap:
    """Compare an image (H, W, 3) with its template (H', W', 3)."""
    options = options or PairedOptions()
    image, good = _working(pixels, pixels.shape[:2], options), _working(template, pixels.shape[:2], options)
    turned, _ = register(image.mean(axis=2), good, options)
    aligned = align(image, turned, options)
    correlation = _correlation(image.mean(axis=2), aligned.mean(axis=2))
    contrast = max(float(np.ptp(np.quantile(good, (0.02, 0.98)))), 1.0)
    lying = _match_light(aligned, image)
    distance = differences(image, lying, options) / contrast
    scale = _scale(good, contrast, options)
    raw = scale.standardize(distance)
    return EvidenceMap(
        raw=raw,
        anomaly_map=scale.apply(distance),
        anomaly_score=calibrate.anomaly_score(float(raw.max()), 0.5, 1.0),
        p_value=None,
        num_references=1,
        streams=(TEMPLATE,),
        mass_limit=SMALLEST_MASS,
        unsuitable=None if correlation >= RESEMBLES else UNLIKE_TEMPLATE,
        max_regions=MAX_REGIONS,
        region_share=FAINT,
        template=lying.round().astype(np.uint8),
    )


def is_template(pixels: Pixels, reference: Pixels) -> bool:
    """Whether a reference shows the very same object as the image, so that it can be its template."""
    found = compare_paired(pixels, reference, PairedOptions(max_side=320))
    return found.unsuitable is None and float((found.raw > 1.0).mean()) <= EXPLAINED


def register(gray: Array, template: Array, options: PairedOptions) -> tuple[Array, tuple[float, int, int]]:
    """Turn and shift the template (H, W, 3) onto the image (H, W): the moved template, and degrees, rows, columns."""
    from scipy import ndimage

    side = max(gray.shape)
    shrink = min(1.0, 256 / side)
    small = ndimage.zoom(gray, shrink, order=1)
    model = ndimage.zoom(template.mean(axis=2), shrink, order=1)
    coarse = np.arange(-options.turn, options.turn + 0.1, 1.0) if options.turn else np.zeros(1)
    best = max((_peak(small, model, float(angle)), float(angle)) for angle in coarse)
    if options.turn:
        best = max((_peak(small, model, best[1] + step), best[1] + step) for step in (-0.5, -0.25, 0.0, 0.25, 0.5))
    angle = best[1]
    moved = ndimage.rotate(template, angle, reshape=False, order=1, mode="nearest") if angle else template
    rows, columns = (round(value / shrink) for value in best[0][1])
    return _moved(moved, rows, columns), (angle, rows, columns)


def _peak(gray: Array, template: Array, angle: float) -> tuple[float, tuple[int, int]]:
    """Largest circular cross-correlation with the turned template, and the shift (rows, columns) where it is."""
    from scipy import ndimage

    turned = ndimage.rotate(template, angle, reshape=False, order=1, mode="nearest") if angle else template
    window = np.outer(np.hanning(gray.shape[0]), np.hanning(gray.shape[1]))
    one, other = (gray - gray.mean()) * window, (turned - turned.mean()) * window
    found = np.fft.irfft2(np.fft.rfft2(one) * np.fft.rfft2(other).conj(), gray.shape)
    reach = max(1, max(gray.shape) // 8)  # farther shifts are another part of the object
    near = np.zeros(gray.shape, dtype=bool)
    near[np.ix_(*(np.minimum(np.arange(n), n - np.arange(n)) <= reach for n in gray.shape))] = True
    index = np.unravel_index(int(np.where(near, found, -np.inf).argmax()), gray.shape)
    rows, columns = ((int(i) + n // 2) % n - n // 2 for i, n in zip(index, gray.shape, strict=True))
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(found[index]) / max(norm, 1e-9), (rows, columns)


def align(image: Array, template: Array, options: PairedOptions) -> Array:
    """Shift each piece of the template (H, W, 3) by the few pixels that bring it closest to the image (H, W, 3)."""
    from scipy import ndimage

    gray, model = image.mean(axis=2), template.mean(axis=2)
    span = range(-options.shift, options.shift + 1)
    shifts = sorted(((row, column) for row in span for column in span), key=lambda s: (abs(s[0]) + abs(s[1]), s))
    window = max(3, options.piece // 2)
    costs = []
    for row, column in shifts:
        gap = np.abs(gray - _moved(model, row, column))[::2, ::2]
        costs.append(ndimage.uniform_filter(gap, window) + 0.02 * (abs(row) + abs(column)))  # ties stay where they are
    chosen = np.argmin(costs, axis=0).repeat(2, axis=0).repeat(2, axis=1)[: gray.shape[0], : gray.shape[1]]
    found = template.copy()
    for index in np.unique(chosen):
        if index:
            where = chosen == index
            found[where] = _moved(template, *shifts[int(index)])[where]
    return found


def differences(image: Array, template: Array, options: PairedOptions) -> Array:
    """How far each pixel of either image lies outside what the other shows nearby, smoothed: (H, W)."""
    from scipy import ndimage

    size = (2 * options.tolerance + 1, 2 * options.tolerance + 1)
    found = np.zeros(image.shape[:2], dtype=np.float32)
    gray = bool((np.ptp(image, axis=2) == 0).all() and (np.ptp(template, axis=2) == 0).all())
    for channel in range(1 if gray else 3):
        for one, other in ((image, template), (template, image)):
            low = ndimage.minimum_filter(other[..., channel], size)
            high = ndimage.maximum_filter(other[..., channel], size)
            found = np.maximum(found, np.maximum(one[..., channel] - high, low - one[..., channel]))
    return cast(Array, ndimage.gaussian_filter(found, options.blur))


def _scale(template: Array, contrast: float, options: PairedOptions) -> Scale:
    """The scale of distances: what altered copies of the template show, and at least the edge of the options."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    copies = [
        ndimage.shift(template, (0.5, 0.5, 0), order=1, mode="nearest"),
        ndimage.gaussian_filter(template, (0.7, 0.7, 0)),
        np.clip(template + rng.normal(0, 3.0, template.shape), 0, 255),
    ]
    residuals = np.stack([differences(np.asarray(c, np.float32), template, options) for c in copies]) / contrast
    fitted = calibrate.fit_scale(residuals)
    low = max(fitted.low, options.edge)
    return Scale(0.0, low, (1 + SPAN) * low)


def _working(pixels: Pixels, image_hw: tuple[int, ...], options: PairedOptions) -> Array:
    """Pixels as float32 at the working size of an image of `image_hw`: (H, W, 3)."""
    shrink = min(1.0, options.max_side / max(image_hw))
    height, width = (max(1, round(n * shrink)) for n in image_hw)
    if pixels.shape[:2] != (height, width):
        pixels = resize(pixels, (height, width))
    return pixels.astype(np.float32)


def _moved(values: Array, rows: int, columns: int) -> Array:
    """Shift (H, W) or (H, W, 3) by whole pixels; the border repeats."""
    reach = max(abs(rows), abs(columns))
    if reach == 0:
        return values
    padded = np.pad(values, ((reach, reach), (reach, reach), *((0, 0),) * (values.ndim - 2)), mode="edge")
    height, width = values.shape[:2]
    return padded[reach - rows : reach - rows + height, reach - columns : reach - columns + width]


def _match_light(template: Array, image: Array) -> Array:
    """Give the template the median and spread of light of the image, channel by channel."""
    matched = template.copy()
    for channel in range(3):
        low, mid, high = np.quantile(template[..., channel], (0.1, 0.5, 0.9))
        low_image, mid_image, high_image = np.quantile(image[..., channel], (0.1, 0.5, 0.9))
        gain = float(np.clip((high_image - low_image) / max(high - low, 1.0), 0.7, 1.4)) if high > low else 1.0
        matched[..., channel] = (template[..., channel] - mid) * gain + mid_image
    return cast(Array, np.clip(matched, 0, 255))


def _correlation(one: Array, other: npt.NDArray[np.float32]) -> float:
    """Pearson correlation of two images (H, W), in [-1, 1]; 0 where one is plain."""
    first, second = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm > 1e-6 else 0.0
