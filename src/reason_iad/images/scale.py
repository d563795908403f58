"""From the values of a camera to 8 bits.

A file of more than 8 bits seldom says how many of them its camera uses. Its scale is, in this order:

1. the one of the references, where it is compared with some: two pictures of one camera must be read alike;
2. the depth that the file states (PNG's sBIT, PNM's maximum, packed TIFF, JPEG 2000);
3. all 16 bits, where the values show that they were shifted or repeated into the upper bits;
4. the smallest depth of a camera (8, 10, 12, 14, 16 bits) that holds the robust maximum of the values;
5. for floats 0 to 1, where the robust maximum is about 1 at most, else the depths of 4, else the values' own range.

The robust maximum is what 99.9 % of all squares of 2 x 2 pixels do not exceed in each of theirs, or what fills a square
of 5 x 5 pixels if that is more: hot pixels, a hot row and a counter written into the first line do not count, a small
bright part does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reason_iad.errors import ImageError
from reason_iad.languages import translatable

Values = npt.NDArray[Any]  # (H, W, C), integers or floats, C is 1 or 3
Kind = Literal["integer", "float"]

DEPTHS = (8, 10, 12, 14, 16)
QUANTILE = 0.999
BLOCK = 5  # pixels on a side of the smallest thing that is no hot pixel
MARKED, FAR = 0.001, 3.0  # share of pixels, and ranges of the others that a mark lies away from them
LITTLE = 1.5  # floats of 0 to 1 may overshoot by a filter or a reflection


@dataclass(frozen=True)
class Scale:
    """Values `low` to `high` become 0 to 255; what lies outside is cut."""

    low: float
    high: float
    kind: Kind = "integer"

    def __post_init__(self) -> None:
        """Refuse a range that holds nothing."""
        if (
            self.kind not in ("integer", "float")
            or not np.isfinite([self.low, self.high]).all()
            or self.high <= self.low
        ):
            raise ImageError(f"the scale is {self.low} to {self.high} ({self.kind}); expected two rising numbers")

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return {"low": self.low, "high": self.high, "kind": self.kind}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Scale:
        """Read what `as_dict` wrote."""
        return cls(float(record["low"]), float(record["high"]), record["kind"])

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def kind_of(values: Values) -> Kind:
    """Whether values are counts of a camera or measurements."""
    return "float" if values.dtype.kind == "f" else "integer"


def shared_scale(scales: Iterable[Scale | None]) -> Scale | None:
    """The one scale that holds all of a set: the widest of the kind that most have; None where all are of 8 bits."""
    found = [scale for scale in scales if scale is not None]
    if not found:
        return None
    kind = Counter(scale.kind for scale in found).most_common(1)[0][0]
    alike = [scale for scale in found if scale.kind == kind]
    return Scale(min(scale.low for scale in alike), max(scale.high for scale in alike), kind)


def guess_scale(values: Values, bits: int | None = None) -> tuple[Scale, str]:
    """The scale of one file's values and what it rests on; `bits` is the depth that the file states."""
    if values.dtype.kind == "f":
        return _float_scale(values)
    if bits is not None:
        return Scale(0, 2**bits - 1), translatable(f"the file states {bits} bits")
    low, high = robust_range(values)
    if low < 0:
        return Scale(low, max(high, low + 1)), translatable("the values are signed; their own range")
    width = 8 * values.dtype.itemsize
    if width == 16 and values.dtype.kind == "u" and _fills_upper_bits(values, high):
        return Scale(0, 65535), translatable("the values were shifted into the upper bits of 16")
    most = width - (values.dtype.kind == "i")  # one bit of a signed number is its sign
    depth = min(most, next((depth for depth in (*DEPTHS, 20, 24, 32) if high < 2**depth), 64))
    return Scale(0, 2**depth - 1), translatable(f"{depth} bits hold all but hot pixels")


def find_mark(values: Values) -> float | None:
    """The number that stands for what was not measured; None where there is none.

    Cameras of height or temperature write one number there that none of the others comes near, such as -9999 or
    -32768. It is the lowest or highest, one pixel in a thousand or more has it, and it lies three times as far from
    the others as they lie from each other. 0 is black, not a mark.
    """
    if values.dtype.kind not in "if":
        return None
    for choose in (np.min, np.max):
        known = np.isfinite(values)
        if not known.any():
            return None
        mark = choose(values[known])
        marked = values == mark
        rest = values[known & ~marked]
        if mark == 0 or not rest.size or marked.mean() < MARKED:
            continue
        low, high = (float(one) for one in np.quantile(_sample(rest), (1 - QUANTILE, QUANTILE)))
        if max(low - float(mark), float(mark) - high) > FAR * max(high - low, 1e-30):
            return float(mark)
    return None


def without(values: Values, left_out: npt.NDArray[np.bool_]) -> Values:
    """Values in which some are put in the middle of the others, where they change no range."""
    return np.where(left_out, np.median(_sample(values[~left_out])), values).astype(values.dtype)


def robust_range(values: Values) -> tuple[float, float]:
    """Least and largest value that are no single pixels; see the module's text. What is no number is left out."""
    finite = values
    if values.dtype.kind == "f":
        known = np.isfinite(values)
        if not known.any():
            return 0.0, 0.0
        finite = values if known.all() else without(values, ~known)
    # The least of each square is what no single pixel is above; the largest is what none is below.
    low = float(np.quantile(_sample(_fold(finite, np.maximum, 2)), 1 - QUANTILE))
    high = float(np.quantile(_sample(_fold(finite, np.minimum, 2)), QUANTILE))
    return min(low, _extreme(finite, np.maximum, np.min)), max(high, _extreme(finite, np.minimum, np.max))


def apply_scale(values: Values, scale: Scale, power: float = 1.0) -> tuple[npt.NDArray[np.uint8], float]:
    """Map values (H, W, C) to 8 bits; also the share of them that lies above the scale. No number becomes 0.

    `power` is applied to the values between 0 and 1, before they lose their depth.
    """
    result = np.empty(values.shape, np.uint8)
    above = 0
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        table = _to_bytes(np.arange(256**values.dtype.itemsize, dtype=np.float64), scale, power)
        result[:] = table[values]
        return result, float((values > scale.high).mean())
    for start in range(0, len(values), 64):  # in parts: the floats of a large image would take eight times its room
        part = values[start : start + 64]
        above += int(np.count_nonzero(part > scale.high))
        result[start : start + 64] = _to_bytes(part.astype(np.float64), scale, power)
    return result, above / max(values.size, 1)


def _to_bytes(values: npt.NDArray[np.float64], scale: Scale, power: float) -> npt.NDArray[np.uint8]:
    finite = np.nan_to_num(values, nan=scale.low, posinf=scale.low, neginf=scale.low)
    share = (np.clip(finite, scale.low, scale.high) - scale.low) / (scale.high - scale.low)
    return (share**power * 255.0).round().astype(np.uint8)


def _float_scale(values: Values) -> tuple[Scale, str]:
    low, high = robust_range(values)
    if low >= -0.01 * LITTLE and high <= LITTLE:
        return Scale(0.0, 1.0, "float"), translatable("floats of 0 to 1")
    if low < 0 and low >= -LITTLE and high <= LITTLE:
        return Scale(-1.0, 1.0, "float"), translatable("floats of -1 to 1")
    depth = next((depth for depth in DEPTHS if high < 2**depth), None)
    if low < 0 or depth is None or high < 32:
        return Scale(low, high if high > low else low + 1.0, "float"), translatable("measurements; their own range")
    return Scale(0.0, float(2**depth - 1), "float"), translatable(f"floats that {depth} bits hold")


def _fills_upper_bits(values: Values, high: float) -> bool:
    """Whether a camera's 8 to 14 bits were shifted up, or repeated below, to fill 16.

    Small values that are multiples of 4 may as well come from 10 bits in 12, so these must be seen to be large.
    """
    depths = DEPTHS[:-1] if high >= 2**12 else DEPTHS[:1]
    used = int(np.bitwise_or.reduce(values.reshape(-1)))
    if used == 0:
        return False
    shifted = any(used % 2 ** (16 - depth) == 0 for depth in depths)
    return shifted or any(bool((values % 2 ** (16 - depth) == values >> depth).all()) for depth in depths)


def _sample(values: Values) -> Values:
    """At most about 800,000 of the values, evenly spread."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size // 400_000)]


def _fold(values: Values, fold: Any, side: int) -> Values:
    """The least (or largest) value of each square of pixels, in each channel."""
    for _ in range(side - 1):
        values = fold(values[1:], values[:-1])
    for _ in range(side - 1):
        values = fold(values[:, 1:], values[:, :-1])
    return values


def _extreme(values: Values, fold: Any, choose: Any) -> float:
    """The largest value that a whole square of pixels reaches in a channel; the least with the opposite functions."""
    starts = range(0, max(1, len(values) - BLOCK + 1), 512)  # in parts, for the room that copies take
    return float(choose([choose(_fold(values[start : start + 512 + BLOCK - 1], fold, BLOCK)) for start in starts]))
