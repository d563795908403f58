"""Whether an image is a picture of this product at all: not blank, not blurred, not wrongly exposed, not another part.

A comparison answers "how odd", never "of what": a black frame may differ little from dark parts, and still says nothing
about them. What is measured here is compared with the same of the references; limits are measured on real parts, whose
own spread they leave room for (docs/evidence.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reason_iad.images import Pixels, resize

SIDE = 256  # pixels a side at which pictures are measured
FLAT = 10.0  # gray levels that all but 2 % of the pixels of an empty picture lie within
SATURATED = 0.97  # share of black or white pixels from which nothing can be seen
WHITE, BLACK = 250.0, 5.0  # gray levels
MORE_WHITE = 0.3  # share of white pixels beyond the most of any reference that is over-exposed
DARKER = 10.0  # gray levels below white that one color of a pixel must be where only another is saturated
MORE_CLIPPED = 0.05  # share of such pixels beyond the most of any reference: light takes one color to its end first
FEWEST = 0.6  # natural logarithm of the ratio to the references beyond which a fact is strange, with many of them
PER_REFERENCE = 1.0  # added with one, half of it with two, and so on: few show little of what varies
WASHED, WASHED_FEW = 0.5, 0.5  # the same two of contrast per brightness, which clipping takes away first
LIGHTER, LIGHTER_FEW = 0.2, 0.4  # the same two of a shift of most tones at once
TONES = (0.1, 0.25, 0.5, 0.75, 0.9)  # quantiles of the gray levels


@dataclass(frozen=True)
class PictureFacts:
    """What of a picture does not depend on where the part lies in it.

    Attributes:
        brightness: mean gray level.
        contrast: standard deviation of the gray levels.
        fine: standard deviation of detail finer than two pixels at `SIDE`, in gray levels.
        coarse: the same of detail finer than eight pixels.
        medium: the same of detail between two pixels and four.
        white: share of white pixels.
        clipped: share of pixels of which one color is saturated and another is not.
        tones: gray levels at the quantiles `TONES`.
    """

    brightness: float
    contrast: float
    fine: float
    coarse: float
    medium: float
    white: float
    clipped: float
    tones: tuple[float, ...]


def measure_picture(pixels: Pixels) -> PictureFacts:
    """Measure a picture (H, W, 3)."""
    from scipy import ndimage

    small = _small(pixels)
    gray = _gray(small)
    red, green, blue = (small[..., color] for color in range(3))
    lightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    sharp, soft, softer = (ndimage.gaussian_filter(gray, sigma) for sigma in (1.0, 2.0, 4.0))
    return PictureFacts(
        brightness=float(gray.mean()),
        contrast=float(gray.std()),
        fine=float((gray - sharp).std()),
        coarse=float((gray - softer).std()),
        medium=float((sharp - soft).std()),
        white=float((gray >= WHITE).mean()),
        clipped=float(((lightest >= WHITE) & (darkest < WHITE - DARKER)).mean()),
        tones=tuple(float(one) for one in np.quantile(gray, TONES)),
    )


def why_empty(pixels: Pixels) -> str | None:
    """Why a picture (H, W, 3) shows nothing, whatever it should show; None where it shows something."""
    gray = _gray(_small(pixels))
    usual = float(np.median(gray))
    tone = "black" if usual <= 16 else "white" if usual >= 239 else "of one gray"
    if float(np.ptp(np.quantile(gray, (0.01, 0.99)))) < FLAT:
        return f"the image is blank ({tone}): nothing can be seen on it"
    for share, name in ((float((gray >= WHITE).mean()), "white"), (float((gray <= BLACK).mean()), "black")):
        if share >= SATURATED:
            return f"{share:.0%} of the image is saturated {name}: hardly anything can be seen on it"
    return None


def why_unlike(found: PictureFacts, references: Sequence[PictureFacts]) -> str | None:
    """Why a picture is not taken as the references were: light, focus, noise; None where it is, or none are known."""
    if not references:
        return None
    limit = FEWEST + PER_REFERENCE / len(references)
    if found.white > max(one.white for one in references) + MORE_WHITE:
        return f"{found.white:.0%} of the image is white, far more than on any reference: it is over-exposed"
    if found.clipped > max(one.clipped for one in references) + MORE_CLIPPED:
        return f"a color is saturated on {found.clipped:.0%} of the image, beyond any reference: it is over-exposed"
    for fact, below, above in CHECKS:
        beyond = _beyond(fact, found, references)
        if beyond < -limit:
            return f"the image is {below}"
        if above is not None and beyond > limit:
            return f"the image is {above}"
    if _rise(found, references) > LIGHTER + LIGHTER_FEW / len(references):
        return "the image is brighter all over than any reference: over-exposed, or another picture"
    washed = _beyond(lambda one: _log(one.contrast) - _log(one.brightness), found, references)
    if washed < -(WASHED + WASHED_FEW / len(references)):
        return f"the image is {PALER}"
    return None


PALER = "much paler than the references: over-exposed, or behind glare or fog"
CHECKS: tuple[tuple[Callable[[PictureFacts], float], str, str | None], ...] = (
    (lambda one: _log(one.brightness), "much darker than the references", "much brighter than the references"),
    (lambda one: _log(one.contrast), PALER, None),
    (lambda one: _log(one.coarse), "without the detail of the references: out of focus, or another picture",
     "far rougher than the references: noise, or another picture"),
    (lambda one: _log(one.fine), "without the fine detail of the references: out of focus, or another size",
     "far noisier than the references"),
    (lambda one: _log(one.fine) - _log(one.medium),  # depends on neither light nor haze
     "blurred beside the references: out of focus, or at another size",
     "of finer grain than the references: noise, or at another size"),
)  # fmt: skip


def _beyond(fact: Callable[[PictureFacts], float], found: PictureFacts, references: Sequence[PictureFacts]) -> float:
    """How far a fact lies above the largest of the references, or, negative, below the smallest; 0 among them."""
    value, known = fact(found), [fact(one) for one in references]
    return max(value - max(known), 0.0) + min(value - min(known), 0.0)


def _rise(found: PictureFacts, references: Sequence[PictureFacts]) -> float:
    """How far most tones lie above those of any reference, in natural logarithms; 0 where they do not."""
    tones = np.log(np.array([one.tones for one in (found, *references)]) + 4.0)  # (1 + R, Q)
    return float(np.median(np.maximum(tones[0] - tones[1:].max(axis=0), 0.0)))


def _small(pixels: Pixels) -> Pixels:
    """A picture at `SIDE` (SIDE, SIDE, 3)."""
    return pixels if pixels.shape[:2] == (SIDE, SIDE) else resize(pixels, (SIDE, SIDE))


def _gray(small: Pixels) -> np.ndarray:
    """Gray levels of a picture (SIDE, SIDE, 3): (SIDE, SIDE)."""
    return small.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _log(value: float) -> float:
    return math.log(max(value, 0.3))
