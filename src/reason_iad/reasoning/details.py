"""Details: regions of the image that are read again at its own resolution, beside the same place of a good part.

A detail is new pixels, which a patch that stands in the prompt already is not. It is a box over salient patches, with a
margin, cut from the image as it came, encoded like any image of the prompt, and named by its place. The reasoner tries
one at a time and keeps it only if the reward grows.
Axes: P patches of the inspected image, on a grid of rows x columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError
from reason_iad.images import Pixels, resize
from reason_iad.types import NearestNormal, TriedDetail, place_of

Box: TypeAlias = tuple[int, int, int, int]
Grid: TypeAlias = npt.NDArray[np.float32]  # (rows, columns) of saliency

MOST_TOKENS = 256  # a detail is read as, where the model lets one choose
SMALLEST_SIDE = 224  # pixels that the longer side is enlarged to: 64 tokens of 28 pixels


@dataclass(frozen=True, eq=False)
class GoodPlace:
    """The same place of a good part."""

    reference: int  # which of the references that the report shows, from 0
    box_xyxy: Box
    distance: float  # cosine distance to what the image shows there, in [0, 2]; 0 where nothing was compared
    pixels: Pixels  # what the box holds


@dataclass(frozen=True, eq=False)
class Views:
    """What details are cut from."""

    pixels: Pixels  # the inspected image (H, W, 3)
    good: Callable[[Box], GoodPlace | None]  # the same place of a good part; None where there is none
    has_good: bool = False  # whether there are good parts at all

    @property
    def image_hw(self) -> tuple[int, int]:
        """Of the inspected image."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class Detail:
    """One region of the image, beside the same place of a good part."""

    box_xyxy: Box
    place: str
    saliency: float  # largest of its patches; 1 is no more than usual
    pixels: Pixels  # what the box holds
    good: GoodPlace | None


@dataclass(frozen=True)
class DetailOptions:
    """How boxes are chosen."""

    most: int = 3
    nearly: float = 0.85  # of the strongest peak's saliency, which another box must reach
    margin: float = 0.25  # of the box's own size, on each side
    share: float = 0.5  # of the peak's saliency from which neighbors belong to the box
    reach: float = 1 / 3  # largest side of a box before the margin, as a share of the image's
    overlap: float = 0.25  # most that two boxes may share, of the smaller one
    smallest: int = 32  # least side of a box in pixels, where the image has as many


class DetailFinder(Protocol):
    """Proposes regions to read again; the reasoner keeps them only if the best reward grows."""

    @property
    def needs_attention(self) -> bool:
        """Whether `propose` must be given a saliency."""
        ...

    def propose(
        self, tried: Sequence[Box], saliency: Grid | None, image_hw: tuple[int, int], draw: np.random.Generator
    ) -> tuple[Box, float] | None:
        """The next box with its saliency; None where nothing is left.

        Args:
            tried: boxes that were proposed before, kept or not.
            saliency: (rows, columns); None where the finder needs none.
            image_hw: of the inspected image.
            draw: of random finders.
        """
        ...


class NoDetails:
    """The image as the prompt holds it."""

    needs_attention = False

    def propose(
        self, tried: Sequence[Box], saliency: Grid | None, image_hw: tuple[int, int], draw: np.random.Generator
    ) -> tuple[Box, float] | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class SalientDetails:
    """Proposes what the latents look at more than under a neutral question, and what is odd beside good parts."""

    options: DetailOptions = DetailOptions()
    needs_attention = True

    def propose(
        self, tried: Sequence[Box], saliency: Grid | None, image_hw: tuple[int, int], draw: np.random.Generator
    ) -> tuple[Box, float] | None:
        """The most salient box that overlaps little with those tried, if it is nearly as salient as the strongest."""
        if saliency is None:
            raise InputError("details got no saliency; expected the attention of the latent rows, or evidence")
        if len(tried) >= self.options.most:
            return None
        found = next_box(saliency, image_hw, tried, self.options)
        # what overlaps little with the odd place is often the ground beside the part (docs/reasoning.md, "Details")
        return found if found is not None and found[1] >= self.options.nearly * float(saliency.max()) else None


@dataclass(frozen=True)
class RandomDetails:
    """Proposes boxes anywhere: the control that salient ones have to beat."""

    options: DetailOptions = DetailOptions()
    needs_attention = False

    def propose(
        self, tried: Sequence[Box], saliency: Grid | None, image_hw: tuple[int, int], draw: np.random.Generator
    ) -> tuple[Box, float] | None:
        """A box around an evenly drawn peak."""
        if len(tried) >= self.options.most:
            return None
        found = next_box(draw.random((8, 8), dtype=np.float32), image_hw, tried, self.options, alone=True)
        return None if found is None else (found[0], 1.0)


DETAILS: Mapping[str, Callable[[], DetailFinder]] = {
    "off": NoDetails,
    "on": SalientDetails,
    "random": RandomDetails,
}


def details_named(name: str) -> DetailFinder:
    """A finder with its defaults, by the name that the settings of the method know it by."""
    return DETAILS[name]()


def places_of(finder: DetailFinder, views: Views, saliency: Grid) -> tuple[Detail, ...]:
    """All details that a finder proposes of one map of saliency, where no model says which help; none where it is 0."""
    found: list[Detail] = []
    while saliency.any():
        draw = np.random.default_rng(len(found))
        proposed = finder.propose([detail.box_xyxy for detail in found], saliency, views.image_hw, draw)
        if proposed is None or proposed[1] <= 0:
            break
        found.append(make_detail(views, *proposed))
    return tuple(found)


def next_box(
    saliency: Grid, image_hw: tuple[int, int], tried: Sequence[Box], options: DetailOptions, alone: bool = False
) -> tuple[Box, float] | None:
    """The box around the most salient place that overlaps little with the boxes tried, and its saliency.

    Args:
        saliency: (rows, columns).
        image_hw: of the image.
        tried: boxes that may not be met again.
        options: how large boxes are.
        alone: take the peak without its neighbors.

    Returns:
        None where every place lies in what was tried, or the image is too small to have a second one.
    """
    rows, columns = saliency.shape
    for index in np.argsort(saliency, axis=None)[::-1]:
        row, column = divmod(int(index), columns)
        span = (row, column, row + 1, column + 1) if alone else _grown(saliency, row, column, options)
        cells = (span[1] / columns, span[0] / rows, span[3] / columns, span[2] / rows)
        box = with_margin(cells, image_hw, options)
        if all(overlap(box, other) <= options.overlap for other in tried):
            return box, float(saliency[row, column])
    return None


def _grown(saliency: Grid, row: int, column: int, options: DetailOptions) -> tuple[int, int, int, int]:
    """Top, left, bottom and right cells of the connected area around a peak that is nearly as salient."""
    from scipy import ndimage

    labels, _ = ndimage.label(saliency >= options.share * saliency[row, column])
    inside = labels == labels[row, column]
    reach = [int((options.reach * side - 0.5) / 2) for side in saliency.shape]  # cells to either side
    top, left = max(0, row - reach[0]), max(0, column - reach[1])
    near = inside[top : row + reach[0] + 1, left : column + reach[1] + 1]
    found_rows, found_columns = np.nonzero(near)
    return (
        top + int(found_rows.min()),
        left + int(found_columns.min()),
        top + int(found_rows.max()) + 1,
        left + int(found_columns.max()) + 1,
    )


def with_margin(shares: tuple[float, float, float, float], image_hw: tuple[int, int], options: DetailOptions) -> Box:
    """A box given in shares of the image, in pixels with its margin; moved inward at the border, not cut.

    >>> with_margin((0.0, 0.0, 0.125, 0.125), (800, 800), DetailOptions())
    (0, 0, 150, 150)
    >>> with_margin((0.0, 0.5, 0.1, 0.6), (20, 400), DetailOptions())
    (0, 0, 60, 20)
    """
    ends = []
    for low, high, size in ((shares[0], shares[2], image_hw[1]), (shares[1], shares[3], image_hw[0])):
        wanted = (high - low) * size * (1 + 2 * options.margin)
        side = min(size, max(options.smallest, round(wanted)))
        start = round((low + high) / 2 * size - side / 2)
        ends.append((min(max(start, 0), size - side), side))
    (left, width), (top, height) = ends
    return left, top, left + width, top + height


def overlap(one: Box, other: Box) -> float:
    """What two boxes share, of the smaller one: in [0, 1].

    >>> overlap((0, 0, 4, 4), (2, 0, 12, 8))
    0.5
    """
    wide, tall = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return max(0, wide) * max(0, tall) / smaller


def make_detail(views: Views, box: Box, saliency: float) -> Detail:
    """Cut a detail from the image and find the same place of a good part."""
    place = place_of((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, views.image_hw)
    return Detail(box, place, saliency, cut(views.pixels, box), views.good(box))


def cut(pixels: Pixels, box: Box) -> Pixels:
    """What a box of an image (H, W, 3) holds, at the image's own resolution."""
    return np.ascontiguousarray(pixels[box[1] : box[3], box[0] : box[2]])


def enlarged(pixels: Pixels) -> Pixels:
    """A cut as a model reads it: as it is, but with a longer side of at least `SMALLEST_SIDE` pixels."""
    height, width = pixels.shape[:2]
    scale = SMALLEST_SIDE / max(height, width)
    if scale <= 1:
        return pixels
    return resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))


def parts_of(detail: Detail) -> list[str | Pixels]:
    """The detail as it stands in a prompt: texts, and the pixels of pictures."""
    parts: list[str | Pixels] = [f"Detail, {detail.place}:", enlarged(detail.pixels), "\n"]
    if detail.good is not None:
        parts += ["The same place of a good part:", enlarged(detail.good.pixels), "\n"]
    return parts


def tried_detail(detail: Detail, step: int, kept: bool) -> TriedDetail:
    """A detail as a report tells of it."""
    good = detail.good
    near = None if good is None else NearestNormal(good.reference, good.box_xyxy, round(good.distance, 4))
    return TriedDetail(detail.box_xyxy, detail.place, step, detail.saliency, kept, near)
