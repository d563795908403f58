"""Which pixels a mask marks, whatever form it has, and how that was told.

What is bright is marked. Beyond that one rule masks differ: drawn on a transparent ground, in colors of a palette, as
small numbers, lossily compressed, in the camera's orientation while the image is turned upright by its EXIF. Each form
is read by what it says, and `MaskReading.how` names the form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reason_iad.errors import ImageError
from reason_iad.images.raw import RawImage, read_raw

Marked = npt.NDArray[np.bool_]  # (H, W), True where something is wrong
_SAME_SHAPE = 0.02  # by which the ratio of the sides may differ
_MOST = 0.9  # share of marked pixels above which a mask may well be inverted
LOSSY = ("JPEG", "WEBP", "MPO", "JPEG2000", "AVIF")


@dataclass(frozen=True, eq=False)
class MaskReading:
    """A mask as it was taken.

    Attributes:
        marked: (H, W), upright like its image; None where it cannot be used.
        how: its form, in a few words.
        fault: what is odd about it, empty where nothing is.
    """

    marked: Marked | None
    how: str
    fault: str = ""


def read_mask(path: Path, image: Path | None = None) -> MaskReading:
    """Read a mask.

    Args:
        path: of the mask.
        image: that it belongs to, whose shape and orientation it must have; not compared where None.
    """
    try:
        raw = read_raw(path)
        shown = None if image is None else read_raw(image, pixels=False)
    except ImageError as error:
        return MaskReading(None, "unreadable", f"its mask cannot be read ({error}); it is left out of pixel measures")
    stored, how = _marked(raw)
    marked, turned, fault = _upright(stored, raw, shown, path)
    if marked is None:
        return MaskReading(None, how, fault)
    share = float(marked.mean())
    if share == 0:
        return MaskReading(None, how, f"its mask {path.name} marks nothing; it is left out of pixel measures")
    if share > _MOST and not fault:
        fault = f"its mask {path.name} marks {share:.0%} of the image; expected the defect alone: is it inverted?"
    return MaskReading(marked, f"{how}{turned}", fault)


def marks_anything(path: Path) -> bool:
    """Whether a mask marks any pixel.

    Raises:
        ImageError: it cannot be read.
    """
    return bool(_marked(read_raw(path))[0].any())


def _marked(raw: RawImage) -> tuple[Marked, str]:
    """Marked pixels in the file's own orientation, and the form of the mask."""
    bright, how = _bright(raw)
    if raw.alpha is None or bool((raw.alpha == 255).all()):
        return bright, how
    visible = raw.alpha > 0
    lit = visible & bright
    if lit.any() or not visible.any():
        return lit, f"{how}, where it is not transparent"
    return visible, "what is not transparent"


def _bright(raw: RawImage) -> tuple[Marked, str]:
    if raw.palette is not None:
        colors = raw.palette[raw.values]  # (H, W, 3)
        black = ~colors.any(axis=-1)
        if black.any() and not black.all():
            return ~black, "colors of a palette that are not black"
        return raw.values > 0, "numbers of a palette above 0"
    values = raw.values if raw.values.ndim == 2 else raw.values.max(axis=-1)
    if raw.format in LOSSY:
        top = float(values.max())
        return values > top / 2 if top > 0 else values > 0, f"brighter than half, since {raw.format} blurs edges"
    return values > 0, "brighter than black"


def _upright(marked: Marked, raw: RawImage, shown: RawImage | None, path: Path) -> tuple[Marked | None, str, str]:
    """The mask as its image is shown, how it was turned, and what is odd about its shape."""
    turned, fault = "", ""
    if raw.orientation != 1:
        marked, turned = _turn(marked, raw.orientation), ", turned by its EXIF"
    if shown is None:
        return marked, turned, fault
    stored_hw, upright_hw = shown.image_hw, shown.image_hw
    if shown.orientation >= 5:
        upright_hw = stored_hw[::-1]
    if raw.orientation == 1 and shown.orientation != 1:
        exact = marked.shape in (stored_hw, upright_hw) and stored_hw != upright_hw
        as_stored = marked.shape == stored_hw if exact else not _alike(marked.shape, upright_hw)
        if as_stored and _alike(marked.shape, stored_hw):
            marked, turned = _turn(marked, shown.orientation), ", turned by the EXIF of its image"
        elif not exact:
            fault = (
                f"its image is turned by EXIF ({shown.orientation}) and its mask {path.name} does not say whether it "
                "was drawn before or after; expected one orientation: it is taken for after"
            )
    if not _alike(marked.shape, upright_hw):
        size, expected = f"{marked.shape[1]} x {marked.shape[0]}", f"{upright_hw[1]} x {upright_hw[0]}"
        fault = (
            f"its mask {path.name} is {size} pixels and the image {expected}; expected one shape: it is left out of "
            "pixel measures"
        )
        return None, turned, fault
    if marked.shape != upright_hw:
        turned += f", scaled from {marked.shape[1]} x {marked.shape[0]}"
    return marked, turned, fault


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1])) <= _SAME_SHAPE


def _turn(marked: Marked, orientation: int) -> Marked:
    """Pixels (H, W) as EXIF says they are to be shown."""
    if orientation >= 5:
        marked = marked.T
    if orientation in (2, 3, 6, 7):
        marked = marked[:, ::-1]
    if orientation in (3, 4, 7, 8):
        marked = marked[::-1]
    return np.ascontiguousarray(marked)


def join_masks(readings: list[MaskReading]) -> Marked | None:
    """What is marked in any of several masks of an image, at the size of the first; None where none can be used."""
    whole: Marked | None = None
    for reading in readings:
        if reading.marked is None:
            continue
        whole = reading.marked if whole is None else whole | resample(reading.marked, whole.shape)
    return whole


def resample(marked: Marked, image_hw: tuple[int, ...]) -> Marked:
    """The nearest pixels at another size (h, w); what is smaller than one of its pixels keeps one."""
    height, width = image_hw
    if marked.shape == (height, width):
        return marked
    rows = ((np.arange(height) + 0.5) * marked.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * marked.shape[1] / width).astype(int)
    found: Marked = marked[rows[:, None], columns[None]]
    if marked.any() and not found.any():
        y, x = np.argwhere(marked).mean(0)
        found[int(y * height / marked.shape[0]), int(x * width / marked.shape[1])] = True
    return found
