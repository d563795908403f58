"""The normal patch that is most like the oddest patch of a region, so that a person sees both side by side.

Axes: R references, H x W patches, C width of a feature.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.features import Stream, extract
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.profile import Member
from reason_iad.evidence.search import unit
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers
from reason_iad.types import NearestNormal, Region

if TYPE_CHECKING:
    import torch

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Compared:
    """A memory bank and the images behind its references, in the bank's order."""

    bank: MemoryBank
    images: tuple[Pixels | Member, ...]

    def pixels(self, index: int) -> Pixels:
        """One reference (H, W, 3); of a profile, its small picture."""
        image = self.images[index]
        return image.preview if isinstance(image, Member) else image


def show_nearest(
    regions: Sequence[Region],
    pixels: Pixels,
    evidence: EvidenceMap,
    compared: Compared,
    shown: tuple[Pixels, ...],
    vision: VisionTowers,
) -> tuple[tuple[Region, ...], tuple[Pixels, ...]]:
    """Give each region its nearest normal patch.

    Args:
        regions: odd areas of the image.
        pixels: the image (H, W, 3).
        evidence: how it compares.
        compared: the references.
        shown: references that the report shows anyway.
        vision: the towers that the bank was built with.

    Returns:
        The regions with their patches, and the references to show: `shown`, and those that a patch lies in.
    """
    bank, stream = compared.bank, stream_of(compared.bank)
    query = unit(extract([pixels], vision, bank.options)[stream.source][0])
    references = unit(bank.upright(stream.source))
    found, goods, places = [], list(shown), shown_places(compared, shown)
    for region in regions:
        cell = oddest_cell(evidence.anomaly_map, region.box_xyxy, pixels.shape[:2], query.shape[:2])
        index, row, column, distance = nearest_patch(query, references, cell, stream)
        if index not in places:
            places[index] = len(goods)
            goods.append(compared.pixels(index))
        size = goods[places[index]].shape[:2]
        box = box_around(row, column, query.shape[:2], region.box_xyxy, pixels.shape[:2], size)
        found.append(dataclasses.replace(region, nearest=NearestNormal(places[index], box, round(distance, 4))))
    return tuple(found), tuple(goods)


def stream_of(bank: MemoryBank) -> Stream:
    """The stream that places are matched by: of those that compare directions the heaviest."""
    return max(bank.options.streams, key=lambda one: (one.metric == "cosine", one.weight, one.name))


def shown_places(compared: Compared, shown: Sequence[Pixels]) -> dict[int, int]:
    """Where among the references shown each one of the bank stands, for those that do."""
    places = {}
    for index, image in enumerate(compared.images):
        if isinstance(image, Member):  # of a profile, the first few are shown, as pictures made anew
            same = [index] if index < len(shown) else []
        else:
            same = [at for at, one in enumerate(shown) if one is image]
        if same:
            places[index] = same[0]
    return places


def oddest_cell(
    anomaly_map: np.ndarray, box: Box, image_hw: tuple[int, ...], grid_hw: tuple[int, ...]
) -> tuple[int, int]:
    """Row and column on a grid of the strongest value of a map (h, w) inside a box given in pixels."""
    rows, columns = anomaly_map.shape
    top, bottom = box[1] * rows // image_hw[0], -(-box[3] * rows // image_hw[0])
    left, right = box[0] * columns // image_hw[1], -(-box[2] * columns // image_hw[1])
    inside = anomaly_map[top : max(bottom, top + 1), left : max(right, left + 1)]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    y, x = (top + int(row) + 0.5) / rows, (left + int(column) + 0.5) / columns
    return min(int(y * grid_hw[0]), grid_hw[0] - 1), min(int(x * grid_hw[1]), grid_hw[1] - 1)


def nearest_patch(
    query: torch.Tensor, references: torch.Tensor, cell: tuple[int, int], stream: Stream
) -> tuple[int, int, int, float]:
    """Reference, row, column and cosine distance of the patch nearest to one of `query` (H, W, C).

    The search keeps to the stream's window, as the comparison itself does; `references` are (R, H, W, C).
    """
    import torch

    row, column = cell
    similarity = references @ query[row, column]  # (R, H, W)
    if stream.window is not None:
        far = torch.ones(similarity.shape[1:], dtype=torch.bool)
        span = stream.window
        far[max(0, row - span) : row + span + 1, max(0, column - span) : column + span + 1] = False
        similarity = similarity.masked_fill(far, -2.0)
    best = int(similarity.argmax())
    index, place = divmod(best, similarity[0].numel())
    y, x = divmod(place, similarity.shape[2])
    return index, y, x, max(0.0, 1.0 - float(similarity[index, y, x]))


def box_around(
    row: int, column: int, grid_hw: tuple[int, ...], like: Box, image_hw: tuple[int, ...], target_hw: tuple[int, ...]
) -> Box:
    """A box around a patch of another image, covering the same share of it as `like` does of its own."""
    height = max(1, round((like[3] - like[1]) / image_hw[0] * target_hw[0]))
    width = max(1, round((like[2] - like[0]) / image_hw[1] * target_hw[1]))
    top = round((row + 0.5) / grid_hw[0] * target_hw[0] - height / 2)
    left = round((column + 0.5) / grid_hw[1] * target_hw[1] - width / 2)
    top, left = min(max(top, 0), target_hw[0] - height), min(max(left, 0), target_hw[1] - width)
    return left, top, left + width, top + height
