"""One odd area as a vector: its look in numbers, features of both towers inside it and around, and of good parts.

The ViT sees the whole image once; EfficientNet sees it, too, and a window around each area, so that small areas have
detail. Where good parts are known, the difference to their nearest patches is added; beside a golden template, what
changed. Parts of a vector that nothing is known of are 0. A vector depends on the bundled towers, whatever backbone
compares good parts.

Axes: n areas, H x W pixels, h x w patches, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reason_iad.evidence.looks import Look, look_of
from reason_iad.images import Pixels, encode_jpeg, resize
from reason_iad.naming import change, look_numbers
from reason_iad.naming.examples import Box, Floats
from reason_iad.naming.look_numbers import Mask, measure_numbers

if TYPE_CHECKING:
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.models.base import VisionTowers

DESCRIPTION_VERSION = 2  # grows when what a number means changes
VIT_LAYER, VIT_SIDE, WHOLE_SIDE, WINDOW_SIDE = 9, 224, 448, 224
SOURCE = "efficientnet-16@448"  # features of good parts that areas are compared with
MOST_CELLS = 40  # of an area that are compared with good parts
WIDER, LEAST = 2.0, 0.12  # a window's side: of the area's longer one, and at least of the image's
PICTURE_SIDE = 160

BLOCKS: dict[str, int] = {
    "numbers": len(look_numbers.NAMES),
    "change": len(change.NAMES),
    "window": 112,  # EfficientNet inside the area, seen in its window
    "residual": 112,  # EfficientNet inside the area, seen in the image, less the nearest patches of good parts
    "area": 384,  # the ViT inside the area
    "image": 384,  # and over the whole image
}
LENGTH = sum(BLOCKS.values())


@dataclass(frozen=True, eq=False)
class DescribedArea:
    """One area of an image.

    Attributes:
        box_xyxy: where it is.
        vector: its description (LENGTH,).
        look: the same in words.
    """

    box_xyxy: Box
    vector: Floats
    look: Look


def split_blocks(vectors: Floats) -> dict[str, Floats]:
    """The parts of descriptions (n, LENGTH) by name: (n, length of the part)."""
    ends = np.cumsum(list(BLOCKS.values()))
    return {name: vectors[:, end - size : end] for (name, size), end in zip(BLOCKS.items(), ends, strict=True)}


def describe_areas(
    pixels: Pixels,
    boxes: Sequence[Box],
    vision: VisionTowers,
    bank: MemoryBank | None = None,
    template: Pixels | None = None,
) -> tuple[DescribedArea, ...]:
    """Describe areas of one image.

    Args:
        pixels: the image (H, W, 3).
        boxes: the areas, each inside the image.
        vision: the bundled towers.
        bank: good parts of the category; none is compared with where None.
        template: the very same object without a defect, lying alike, of any size; None where there is none.
    """
    if not boxes:
        return ()
    image_hw = pixels.shape[:2]
    vit = _numpy(vision.vit([pixels], VIT_SIDE, [VIT_LAYER])[VIT_LAYER][0])  # (16, 16, 384)
    whole = _numpy(vision.efficientnet([pixels], WHOLE_SIDE)[16][0])  # (28, 28, 112)
    good = None if template is None else resize(template, image_hw) if template.shape[:2] != image_hw else template
    tones = None if good is None else change.tones_of(good)
    windows, measured = [window_around(box, image_hw) for box in boxes], []
    crops = [resize(np.ascontiguousarray(pixels[window]), (WINDOW_SIDE, WINDOW_SIDE)) for window in windows]
    seen = _numpy(vision.efficientnet(crops, WINDOW_SIDE)[16])  # (n, 14, 14, 112)
    for index, (box, window) in enumerate(zip(boxes, windows, strict=True)):
        numbers, odd = measure_numbers(pixels, box)
        inside = box_mask(box, image_hw)
        parts = {
            "numbers": numbers,
            "change": np.zeros(BLOCKS["change"], np.float32)
            if good is None
            else change.measure_change(pixels, good, box, tones),
            "window": pool(seen[index], inside[window]),
            "residual": _residual(whole, inside, bank),
            "area": pool(vit, inside),
            "image": vit.mean((0, 1)),
        }
        vector = np.concatenate([np.asarray(parts[name], np.float32) for name in BLOCKS])
        measured.append(DescribedArea(box, vector, look_of(pixels, odd)))
    return tuple(measured)


def picture_of(pixels: Pixels, box: Box) -> bytes:
    """A small JPEG of an area and what surrounds it."""
    cut = pixels[window_around(box, pixels.shape[:2])]
    shrink = min(1.0, PICTURE_SIDE / max(cut.shape[:2]))
    height, width = (max(1, round(n * shrink)) for n in cut.shape[:2])
    return encode_jpeg(resize(np.ascontiguousarray(cut), (height, width)))


def window_around(box: Box, image_hw: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a window around a box: square as far as the image reaches."""
    side = max(WIDER * max(box[2] - box[0], box[3] - box[1]), LEAST * max(image_hw), 32)
    height, width = min(side, image_hw[0]), min(side, image_hw[1])
    left = min(max((box[0] + box[2] - width) / 2, 0), image_hw[1] - width)
    top = min(max((box[1] + box[3] - height) / 2, 0), image_hw[0] - height)
    return slice(int(top), int(np.ceil(top + height))), slice(int(left), int(np.ceil(left + width)))


def box_mask(box: Box, image_hw: tuple[int, ...]) -> Mask:
    """The pixels (H, W) of a box."""
    mask = np.zeros(image_hw[:2], dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def pool(features: Floats, mask: Mask) -> Floats:
    """Mean of features (h, w, C) over marked pixels (H, W), each patch by its share of them: (C,)."""
    weights = cover(mask, features.shape[0])
    if weights.sum() < 1e-6:
        weights = np.ones_like(weights)
    pooled: Floats = np.einsum("hw,hwc->c", weights / weights.sum(), features)
    return pooled


def cover(mask: Mask, side: int) -> Floats:
    """Share of each of side x side cells that is marked, (side, side)."""
    import torch
    from torch.nn import functional as F

    given = torch.from_numpy(mask.astype(np.float32))[None, None]
    shares: Floats = F.interpolate(given, size=(side, side), mode="area")[0, 0].numpy()
    return shares


def fit_box(
    box: tuple[float, float, float, float], labeled_hw: tuple[int, int] | None, image_hw: tuple[int, int]
) -> Box | None:
    """A box as pixels of the image that is there: scaled, cut at the border; None where it lies outside.

    >>> fit_box((10, 10, 30, 20), (100, 100), (200, 200)), fit_box((-5, 0, 10, 400), None, (200, 200))
    ((20, 20, 60, 40), (0, 0, 10, 200))
    >>> fit_box((300, 0, 310, 9), None, (200, 200))
    """
    down, right = (1.0, 1.0) if labeled_hw is None else (image_hw[0] / labeled_hw[0], image_hw[1] / labeled_hw[1])
    x0, x1 = (min(max(v * right, 0.0), image_hw[1]) for v in (box[0], box[2]))
    y0, y1 = (min(max(v * down, 0.0), image_hw[0]) for v in (box[1], box[3]))
    if x1 <= x0 or y1 <= y0:
        return None
    left, top = min(int(x0), image_hw[1] - 1), min(int(y0), image_hw[0] - 1)
    right_, bottom = max(int(np.ceil(x1)), left + 1), max(int(np.ceil(y1)), top + 1)
    return left, top, min(right_, image_hw[1]), min(bottom, image_hw[0])


def _residual(whole: Floats, inside: Mask, bank: MemoryBank | None) -> Floats:
    """Features inside an area less the nearest patches of good parts, (C,); 0 where no good part is known."""
    nothing = np.zeros(whole.shape[2], np.float32)
    if bank is None or SOURCE not in bank.features:
        return nothing
    weights = cover(inside, whole.shape[0])
    cells = np.argwhere(weights > 0.25 * weights.max())
    if len(cells) > MOST_CELLS:
        cells = cells[np.linspace(0, len(cells) - 1, MOST_CELLS).astype(int)]
    query = whole[cells[:, 0], cells[:, 1]]
    known = _numpy(bank.upright(SOURCE).flatten(0, 2).float())  # (R * h * w, C)
    nearest = known[(query @ known.T - np.square(known).sum(1) / 2).argmax(1)]
    gap: npt.NDArray[np.float32] = (query - nearest).mean(0)
    return gap


def _numpy(tensor: object) -> Floats:
    return np.asarray(tensor.cpu().numpy(), np.float32)  # type: ignore[attr-defined]
