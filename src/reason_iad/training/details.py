"""Details as training shows them: boxes chosen as in use, at times beside the defect, and what is asked about them.

A detail is drawn by one of three guides: the evidence, weighed by chance in the place of a model's attention; the true
mask; or chance alone. So on defective images some details show the defect and others a good place, and on normal images
all show good places, the oddest ones among them: only what differs from the good part's detail tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.models.nano import TOKENS
from reason_iad.reasoning.details import Box, Detail, DetailOptions, Grid, Views, make_detail, next_box, parts_of
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.training.questions import TrainingQuestion
from reason_iad.training.synth_canvas import Mask

COMPARED = "Detail Comparison"  # the kind of the questions about a detail
# What a detail shows; a part of a defect is too little to ask about.
DEFECT, NOTHING, PART = "defect", "nothing", "part"
SHOWN = 0.25  # share of a defect, or
FILLED = 0.02  # share of the box, from which a detail shows it
SAME = "It does not differ."
_DIFFERS = (
    "Does the detail differ from the same place of a good part?",
    "Does the detail show anything that the good part lacks there?",
    "Is the detail unlike the same place of a good part?",
)
_HOW = ("How does the detail differ from the same place of a good part?", "What differs in the detail?")


def look_text(size: str, shape: str, tone: str) -> str:
    """A measured look as an option."""
    return f"A {size}, {shape} region, {tone} its surroundings."


_LOOKS = tuple(
    look_text(size, shape, tone)
    for size in ("tiny", "small", "large")
    for shape in ("compact", "elongated")
    for tone in ("darker than", "brighter than", "about as bright as")
)


@dataclass(frozen=True, eq=False)
class DrawnDetail:
    """A detail and what it shows."""

    detail: Detail
    shows: str  # DEFECT, NOTHING or PART


def draw_details(
    views: Views, evidence: EvidenceMap, mask: Mask | None, count: int, rng: np.random.Generator
) -> list[DrawnDetail]:
    """Details of an image that overlap little, as in use.

    Args:
        views: what they are cut from.
        evidence: how the image compares with the references.
        mask: of the defect (H, W); None of a normal image.
        count: how many at most.
        rng: draws.
    """
    found: list[DrawnDetail] = []
    for guide in ("evidence", "mask", "chance")[:count]:
        tried = [one.detail.box_xyxy for one in found]
        proposed = next_box(_saliency(guide, evidence, mask, rng), views.image_hw, tried, DetailOptions())
        if proposed is not None:
            detail = make_detail(views, *proposed)
            found.append(DrawnDetail(detail, what_shows(mask, detail.box_xyxy)))
    return found


def _saliency(guide: str, evidence: EvidenceMap, mask: Mask | None, rng: np.random.Generator) -> Grid:
    """What stands for a model's attention, times what guides it: (rows, columns)."""
    attention = np.exp(rng.normal(0, 0.4, (TOKENS, TOKENS))).astype(np.float32)
    if guide == "chance":
        return attention
    if guide == "mask" and mask is not None:
        return attention * (cells_of(mask) + 1e-3)
    weighed: Grid = attention * (1 + LatentOptions().evidence_beta * evidence.grid(TOKENS, TOKENS))
    return weighed


def cells_of(mask: Mask) -> Grid:
    """Which cells of the grid of image tokens a mask (H, W) touches: 0 or 1."""
    rows, columns = np.nonzero(mask)
    cells: Grid = np.zeros((TOKENS, TOKENS), dtype=np.float32)
    cells[rows * TOKENS // mask.shape[0], columns * TOKENS // mask.shape[1]] = 1
    return cells


def what_shows(mask: Mask | None, box: Box) -> str:
    """What a box of an image shows of the defect under `mask` (H, W)."""
    inside = 0 if mask is None else int(mask[box[1] : box[3], box[0] : box[2]].sum())
    if mask is None or inside == 0:
        return NOTHING
    area = (box[2] - box[0]) * (box[3] - box[1])
    return DEFECT if inside >= min(SHOWN * mask.sum(), FILLED * area) else PART


def record_of(drawn: DrawnDetail) -> dict[str, Any]:
    """What a shard keeps beside the features: the parts of the prompt, with nothing where a picture goes."""
    parts = [part if isinstance(part, str) else None for part in parts_of(drawn.detail)]
    return {"parts": parts, "shows": drawn.shows}


def place_pictures(parts: Sequence[str | None], first: int) -> tuple[str | int, ...]:
    """The parts of a stored detail, its pictures numbered from `first`."""
    numbers = iter(range(first, first + len(parts)))
    return tuple(next(numbers) if part is None else part for part in parts)


def ask_about(shows: str, look: str | None, rng: random.Random) -> TrainingQuestion | None:
    """A question about a detail beside the good part's; None where it shows too little of the defect to ask.

    Args:
        shows: what it shows.
        look: of the defect, as `look_text` words it; None of a normal image.
        rng: draws the question and its wrong options.
    """
    if shows == PART:
        return None
    if rng.random() < 0.6 or (shows == DEFECT and look is None):
        return TrainingQuestion(COMPARED, rng.choice(_DIFFERS), ("Yes.", "No."), int(shows == NOTHING))
    right = look if shows == DEFECT and look is not None else SAME
    wrong = rng.sample([text for text in _LOOKS if text != right], 3)
    return TrainingQuestion(COMPARED, rng.choice(_HOW), tuple(dict.fromkeys((right, SAME, *wrong))), 0)
