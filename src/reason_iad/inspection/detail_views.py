"""What details are cut from: the image, and the same place of the good parts that it was compared with.

Where parts lie alike, the same place is the same box, moved by the few patches that make its surroundings agree best;
where they do not, it is the place around the good patch nearest to the oddest one. A golden template is registered
already. Good parts that nothing was compared with are cut at the same share of the image.

Axes: R references, H x W patches, C width of a feature.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.features import extract
from reason_iad.evidence.search import unit
from reason_iad.images import Pixels
from reason_iad.inspection.nearest import Box, Compared, box_around, nearest_patch, oddest_cell, shown_places, stream_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.sources import Finding
from reason_iad.models.base import VisionTowers
from reason_iad.reasoning.details import Detail, GoodPlace, Views, cut, details_named, places_of

if TYPE_CHECKING:
    import torch

ALONE = "No good part is known, so the details read again stand alone, without the same place of one."
UNMEASURED = (
    "Nothing was measured, so thoughts were rewarded for being sure alone (--reward anchored needs references)."
)
ODD_GRID = (16, 16)  # on which a served model's details are chosen
NEAR = 2  # patches to either side that a part may lie elsewhere
ALIKE = 0.9  # of the similarity that the best patches anywhere have, from which parts count as lying alike


def views_of(
    pixels: Pixels,
    evidence: EvidenceMap | None,
    compared: Compared | None,
    shown: tuple[Pixels, ...],
    vision: VisionTowers,
) -> Views:
    """What details of an image are cut from.

    Args:
        pixels: the image (H, W, 3).
        evidence: how it compares; None where it was not compared.
        compared: the references behind that; None where there is no memory bank.
        shown: good parts that the report shows, from which the same places are cut.
        vision: the towers that the bank was built with.
    """
    if not shown:
        return Views(pixels, lambda box: None)
    if evidence is not None and compared is not None and (places := shown_places(compared, shown)):
        return Views(pixels, _Matcher(pixels, evidence, compared, shown, places, vision).find, True)
    template = None if evidence is None else evidence.template
    return Views(pixels, lambda box: _same_share(box, pixels, shown[0], template), True)


def odd_places(evidence: EvidenceMap | None, views: Views, finder: str) -> tuple[Detail, ...]:
    """Details of the places that the comparison found odd, for models that do not show where they look."""
    if evidence is None:
        return ()
    odd = evidence.grid(*ODD_GRID).astype(np.float32)
    return places_of(details_named(finder), views, np.where(odd > 0, 1 + odd, 0))  # as if all were looked at alike


def thought_notes(options: InspectorOptions, finding: Finding) -> tuple[str, ...]:
    """What a person should know where details or the reward lack what they are to be compared with."""
    notes = []
    if options.details != "off" and not finding.references:
        notes.append(ALONE)
    if options.reward == "anchored" and finding.evidence is None:
        notes.append(UNMEASURED)
    return tuple(notes)


def _same_share(box: Box, pixels: Pixels, good: Pixels, laid: Pixels | None) -> GoodPlace:
    """The same share of the first good part; of a template as it was laid under the image, where there is one."""
    there = scaled(box, pixels.shape[:2], good.shape[:2])
    if laid is None:
        return GoodPlace(0, there, 0.0, cut(good, there))
    return GoodPlace(0, there, 0.0, cut(laid, scaled(box, pixels.shape[:2], laid.shape[:2])))


def scaled(box: Box, image_hw: tuple[int, ...], target_hw: tuple[int, ...], shift: tuple[float, float] = (0, 0)) -> Box:
    """A box at the same share of another image, moved by a share (down, right) and kept inside.

    >>> scaled((10, 0, 20, 10), (100, 100), (50, 200))
    (20, 0, 40, 5)
    """
    ends = []
    for low, high, size, target, move in (
        (box[0], box[2], image_hw[1], target_hw[1], shift[1]),
        (box[1], box[3], image_hw[0], target_hw[0], shift[0]),
    ):
        side = min(target, max(1, round((high - low) / size * target)))
        start = round((low / size + move) * target)
        start = min(max(start, 0), target - side)
        ends.append((start, start + side))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


class _Matcher:
    """Finds places of an image on good parts by the features that they were compared with."""

    def __init__(
        self,
        pixels: Pixels,
        evidence: EvidenceMap,
        compared: Compared,
        shown: tuple[Pixels, ...],
        places: dict[int, int],
        vision: VisionTowers,
    ) -> None:
        self._pixels, self._evidence, self._compared = pixels, evidence, compared
        self._shown, self._places, self._vision = shown, places, vision
        self._stream = stream_of(compared.bank)

    @cached_property
    def _features(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the image (H, W, C) and of the references that are shown (R, H, W, C), of length 1."""
        bank = self._compared.bank
        query = unit(extract([self._pixels], self._vision, bank.options)[self._stream.source][0])
        return query, unit(bank.upright(self._stream.source)[list(self._places)])

    def find(self, box: Box) -> GoodPlace:
        """The same place of the good part that shows it best."""
        query, references = self._features
        size, grid = self._pixels.shape[:2], (int(query.shape[0]), int(query.shape[1]))
        cell = oddest_cell(self._evidence.anomaly_map, box, size, grid)
        found = best_shift(query, references, box, size)
        if found is None:
            index, row, column, distance = nearest_patch(query, references, cell, self._stream)
        else:
            index, down, right = found
            row, column = (min(max(at + by, 0), n - 1) for at, by, n in zip(cell, (down, right), grid, strict=True))
            distance = max(0.0, 1.0 - float(references[index, row, column] @ query[cell]))
        place = list(self._places.values())[index]
        good = self._shown[place]
        if found is None:
            there = box_around(row, column, grid, box, size, good.shape[:2])
        else:
            there = scaled(box, size, good.shape[:2], (found[1] / grid[0], found[2] / grid[1]))
        return GoodPlace(place, there, distance, cut(good, there))


def best_shift(
    query: torch.Tensor, references: torch.Tensor, box: Box, image_hw: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """Reference, rows and columns by which the surroundings of a box agree best; None where parts do not lie alike.

    Args:
        query: features of the image (H, W, C), of length 1.
        references: of good parts (R, H, W, C).
        box: in pixels of the image; what it holds may be a defect and has no say.
        image_hw: of the image.
    """
    import torch

    rows, columns = query.shape[:2]
    ring = torch.from_numpy(ring_of(box, image_hw, (rows, columns)))
    around = query[ring]  # (n, C)
    at = ring.nonzero()
    best = (-2.0, 0, 0, 0)
    for down in range(-NEAR, NEAR + 1):
        for right in range(-NEAR, NEAR + 1):
            there = (at + torch.tensor([down, right])).clamp_min(0)
            moved = references[:, there[:, 0].clamp_max(rows - 1), there[:, 1].clamp_max(columns - 1)]  # (R, n, C)
            agree = (moved * around).sum(-1).mean(1) - 0.001 * (abs(down) + abs(right))  # ties stay where they are
            index = int(agree.argmax())
            best = max(best, (float(agree[index]), index, down, right))
    anywhere = (references.flatten(0, 2) @ around.T).amax(0).mean()
    return best[1:] if best[0] >= ALIKE * float(anywhere) else None


def ring_of(box: Box, image_hw: tuple[int, ...], grid_hw: tuple[int, int]) -> np.ndarray:
    """Patches (H, W) around a box, as far out as it is large; those in it where nothing lies around."""
    near, inside = np.zeros(grid_hw, dtype=bool), np.zeros(grid_hw, dtype=bool)
    wide, tall = box[2] - box[0], box[3] - box[1]
    for mask, more in ((inside, 0.0), (near, 0.5)):
        top, bottom = box[1] - more * tall, box[3] + more * tall
        left, right = box[0] - more * wide, box[2] + more * wide
        rows = slice(
            max(0, int(top * grid_hw[0] / image_hw[0])), max(1, int(np.ceil(bottom * grid_hw[0] / image_hw[0])))
        )
        columns = slice(
            max(0, int(left * grid_hw[1] / image_hw[1])), max(1, int(np.ceil(right * grid_hw[1] / image_hw[1])))
        )
        mask[rows, columns] = True
    ring = near & ~inside
    return ring if ring.any() else inside
