"""How an odd area changes the good part beneath it: what it adds or takes, and what that joins or cuts.

Where a good part is known pixel by pixel, as beside a golden template, the kinds of faults of a two-tone part differ
by topology alone: an island is linked to nothing, a spur to one thing, and a bridge joins two; a pinhole is enclosed, a
notch open to one side, and a gap cuts a track in two. What is linked is told by sides of pixels, for the wall of a
pinhole may be thin, and what is joined or cut by connected pieces, for the border of a notch may be rough.

Axes: H x W pixels of a window around the area.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.looks import luma, otsu
from reason_iad.evidence.regions import label_components
from reason_iad.images import Pixels

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]
NAMES = ("lighter", "contact", "linked", "joins", "cuts", "two_tone")
PAD = 0.5  # of the box's longer side, that the window is wider
SMALLEST = 3  # pixels of a piece that counts
TOLERANCE = 2  # pixels by which edges may lie elsewhere


class Tones(NamedTuple):
    """The two tones of a good image: the limit between them, how far they lie apart, and how far it has no other: 1."""

    limit: float
    contrast: float
    two_tone: float


def measure_change(pixels: Pixels, good: Pixels, box: Box, tones: Tones | None = None) -> npt.NDArray[np.float32]:
    """The numbers of `NAMES` of a box: what changed from a good image (H, W, 3) of the very same object to `pixels`.

    All are 0 where nothing changed or the object has no two tones. `tones` are those of the good image.
    """
    window = _window(box, pixels.shape[:2])
    nothing = np.zeros(len(NAMES), np.float32)
    limit, contrast, two_tone = tones or tones_of(good)
    if two_tone == 0:
        return nothing
    gray, plain = luma(pixels[window]), luma(good[window])
    inside = np.zeros(gray.shape, dtype=bool)
    top, left = window[0].start, window[1].start
    inside[box[1] - top : box[3] - top, box[0] - left : box[2] - left] = True
    changed = _changed(gray, plain, contrast, inside)
    if changed is None:
        return nothing
    lighter = float((gray - plain)[changed].mean()) > 0
    same, before = (gray > limit, plain > limit) if lighter else (gray <= limit, plain <= limit)
    numbers = (1.0 if lighter else -1.0, _contact(same, changed), *_joined(same, before, changed))
    return np.array([two_tone * value for value in numbers] + [two_tone], np.float32)


def tones_of(good: Pixels) -> Tones:
    """The tones of a whole image (H, W, 3), for a hole in a large pad sees one tone around it."""
    plain = luma(good[::2, ::2])
    limit = otsu(plain.ravel())
    bright = plain > limit
    if not bright.any() or bright.all():
        return Tones(0.0, 0.0, 0.0)
    contrast = float(plain[bright].mean() - plain[~bright].mean())
    within = float(plain.var()) - float(bright.mean() * (1 - bright.mean())) * contrast**2
    return Tones(limit, contrast, float(np.clip(1 - 2 * within / max(float(plain.var()), 1e-6), 0, 1)))


def _window(box: Box, image_hw: tuple[int, ...]) -> tuple[slice, slice]:
    pad = max(8, int(PAD * max(box[2] - box[0], box[3] - box[1])))
    return (
        slice(max(0, box[1] - pad), min(image_hw[0], box[3] + pad)),
        slice(max(0, box[0] - pad), min(image_hw[1], box[2] + pad)),
    )


def _changed(gray: Array, plain: Array, contrast: float, inside: Mask) -> Mask | None:
    """The changed area (H, W): what differs by half the contrast, grown from what no shifted edge explains."""
    from scipy import ndimage

    size = (2 * TOLERANCE + 1,) * 2
    beyond = np.maximum(gray - ndimage.maximum_filter(plain, size), ndimage.minimum_filter(plain, size) - gray)
    surely = (beyond > contrast / 2) & ndimage.binary_dilation(inside, iterations=2)
    if not surely.any():
        return None
    labels, _ = label_components(surely)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    core = labels == int(sizes.argmax())
    sign = np.sign(float((gray - plain)[core].mean()))
    differs = (gray - plain) * sign > contrast / 2
    near = ndimage.binary_dilation(core, np.ones((3, 3), bool), iterations=TOLERANCE + 1)
    grown: Mask = core | (differs & near)
    return grown


def _contact(same: Mask, changed: Mask) -> float:
    """Share of a change's border (h, w) along which its own tone goes on."""
    from scipy import ndimage

    full = np.ones((3, 3), bool)
    ring = ndimage.binary_dilation(changed, full, iterations=2) & ~ndimage.binary_dilation(changed, full)
    return float(same[ring].mean()) if ring.any() else 0.0


def _joined(same: Mask, before: Mask, changed: Mask) -> tuple[float, float, float]:
    """Whether a change is one with its own tone, joins pieces of it, and cuts the other tone: each 0 or 1.

    Args:
        same: what has the change's own tone in the image (h, w).
        before: the same in the good part.
        changed: the change.
    """
    from scipy import ndimage

    reach = ndimage.binary_dilation(changed, np.ones((3, 3), bool), iterations=TOLERANCE)
    whole, _ = ndimage.label(same | changed)  # by sides alone: corners that touch join nothing
    own = np.isin(whole, np.unique(whole[changed])) & ~reach
    linked = int(own.sum()) >= SMALLEST
    joins = linked and _pieces_at(same & ~changed & before, reach) > 1
    cuts = _pieces_at(~same, reach) > max(_pieces_at(~before, reach), 1)
    return float(linked), float(joins), float(cuts)


def _pieces_at(tone: Mask, reach: Mask) -> int:
    """Connected pieces of a tone (h, w) that come within reach of a change and go on beyond it."""
    from scipy import ndimage

    labels, count = ndimage.label(tone)
    near = np.bincount(labels[reach & tone], minlength=count + 1)[1:]
    beyond = np.bincount(labels[~reach & tone], minlength=count + 1)[1:]
    return int(((near > 0) & (beyond >= SMALLEST)).sum())
