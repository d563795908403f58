"""What is measured on each part to see drift, and on the good parts of its profile.

Pictures are measured as the profile keeps its good parts: at most 512 pixels a side, through JPEG. Logarithms make a
change of the light a shift that does not depend on how bright the picture is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reason_iad.images import Pixels, encode_jpeg, read_image, resize
from reason_iad.line.drift import Quantity

if TYPE_CHECKING:
    from reason_iad.evidence.profile import CategoryProfile

SIDE = 256  # pixels a side at which pictures are measured
PREVIEW = 512  # most pixels a side of a profile's pictures
SCORE = Quantity("score", ("high",), 0.01)
BRIGHTNESS = Quantity("brightness", least_spread=0.002)  # natural logarithm
SHARPNESS = Quantity("sharpness", least_spread=0.005)  # natural logarithm of fine detail beside coarse
RED, BLUE = Quantity("red", least_spread=0.002), Quantity("blue", least_spread=0.002)  # logarithm, beside green
RECOGNITION = Quantity("recognition", ("low",), 0.001)  # cosine to the profile's mean vector
PLACE_X, PLACE_Y = Quantity("place_x", least_spread=0.001), Quantity("place_y", least_spread=0.001)  # share of a side
QUANTITIES = (SCORE, BRIGHTNESS, SHARPNESS, RED, BLUE, RECOGNITION, PLACE_X, PLACE_Y)
Vector = npt.NDArray[np.float32]


def measure(pixels: Pixels) -> dict[str, float]:
    """What a picture (H, W, 3) shows of light, focus, color and place, by quantity."""
    return _measure(as_preview(pixels))


def as_preview(pixels: Pixels) -> Pixels:
    """A picture as a profile would keep it: at most 512 pixels a side, through JPEG."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, PREVIEW / max(height, width))
    small = resize(pixels, (max(1, round(height * shrink)), max(1, round(width * shrink))))
    return read_image(encode_jpeg(small)).pixels


def small_jpeg(pixels: Pixels, side: int = 256) -> bytes:
    """A picture of at most `side` pixels a side, for messages and pages."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, side / max(height, width))
    return encode_jpeg(resize(pixels, (max(1, round(height * shrink)), max(1, round(width * shrink)))), quality=80)


def recognition(embedding: Vector | None, prototype: Vector | None) -> float | None:
    """Cosine of a part's vector (D,) to the mean of good parts (D,); None without either."""
    if embedding is None or prototype is None:
        return None
    return float(embedding @ prototype / max(float(np.linalg.norm(embedding) * np.linalg.norm(prototype)), 1e-12))


def known_values(profile: CategoryProfile) -> dict[Quantity, tuple[float, ...]]:
    """Values of the profile's good parts, by quantity; recognition and score of each without itself."""
    measured = [_measure(member.preview) for member in profile.normals]
    found = {
        quantity: tuple(one[quantity.name] for one in measured)
        for quantity in QUANTITIES
        if quantity not in (SCORE, RECOGNITION)
    }
    vectors = [member.embedding for member in profile.normals if member.embedding is not None]
    found[SCORE] = tuple(profile.bank.normal_scores)
    found[RECOGNITION] = _without_each(vectors)
    return found


def _without_each(vectors: Sequence[Vector]) -> tuple[float, ...]:
    """Cosine of each vector (D,) to the mean of the others."""
    if len(vectors) < 2:
        return ()
    together = np.sum(vectors, axis=0)
    found = (recognition(one, (together - one) / (len(vectors) - 1)) for one in vectors)
    return tuple(value for value in found if value is not None)


def _measure(pixels: Pixels) -> dict[str, float]:
    from scipy import ndimage

    small = resize(pixels, (SIDE, SIDE)).astype(np.float32)
    red, green, blue = (float(channel) + 1.0 for channel in small.mean(axis=(0, 1)))
    gray = small @ np.array([0.299, 0.587, 0.114], np.float32)
    fine = float((gray - ndimage.gaussian_filter(gray, 1.0)).std())
    coarse = float((gray - ndimage.gaussian_filter(gray, 4.0)).std())
    smooth = ndimage.gaussian_filter(gray, 2.0)
    edges = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
    edges = np.clip(edges - np.median(edges), 0, None)  # what the background shows everywhere says nothing of place
    mass = float(edges.sum()) + 1e-6
    at = (np.arange(SIDE) + 0.5) / SIDE
    return {
        BRIGHTNESS.name: math.log(float(gray.mean()) + 1.0),
        SHARPNESS.name: math.log((fine + 0.1) / (coarse + 0.1)),
        RED.name: math.log(red / green),
        BLUE.name: math.log(blue / green),
        PLACE_X.name: float((edges.sum(axis=0) * at).sum()) / mass,
        PLACE_Y.name: float((edges.sum(axis=1) * at).sum()) / mass,
    }
