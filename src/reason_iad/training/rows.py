"""What a training row holds: questions about one image with notes, evidence, details, latents and patches as they fall.

Most rows are short: few questions, each behind its details, few notes. The others are as long as prompts are in use
without details, so that what was learned before is kept. Axes: Q pictures of a row, the image first; C channels.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reason_iad.evidence.looks import Look
from reason_iad.inspection.prompts import evidence_line
from reason_iad.models.base import ModelInfo
from reason_iad.models.decoder import Tokenizer
from reason_iad.models.nano import NUM_LATENTS, TOKENS
from reason_iad.training.details import ask_about, place_pictures
from reason_iad.training.notes import Product, ask_notes
from reason_iad.training.packing import PackedRow, QuestionItem, pack
from reason_iad.training.questions import FREE_FORM, KINDS, TrainingQuestion
from reason_iad.training.train_options import TrainOptions

SEEN = (KINDS[0], KINDS[3], KINDS[4], FREE_FORM)  # what the image answers, whatever the notes speak of
STREAMS = ("vit", "fine", "coarse")


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """Tokens laid out, and the pictures that stand among them."""

    packed: PackedRow
    features: dict[str, Tensor]  # (Q, 16, 16, C) by stream
    cells: Tensor | None  # (1, 16, 16) evidence of the image

    @property
    def has_details(self) -> bool:
        """Whether some question stands behind details."""
        return len(self.features[STREAMS[0]]) > 1


class Pictures:
    """The pictures of a row: the image, and those of the details that its questions stand behind."""

    def __init__(self, line: dict[str, Any], number: int) -> None:
        self._tensors, self._number = line["tensors"], number
        self.details: list[dict[str, Any]] = line["records"][number]["details"]
        self._first: dict[int, int] = {}  # of each detail, the number of its first picture
        self._groups = [{stream: self._tensors[f"{number}.{stream}"][None] for stream in STREAMS}]

    def show(self, detail: int, good: bool = True) -> tuple[str | int, ...]:
        """The parts of a detail with its pictures by number; without the good part's where `good` is not wanted."""
        if detail not in self._first:
            self._first[detail] = sum(len(group[STREAMS[0]]) for group in self._groups)
            self._groups.append(
                {stream: self._tensors[f"{self._number}.detail{detail}.{stream}"] for stream in STREAMS}
            )
        parts = place_pictures(self.details[detail]["parts"], self._first[detail])
        return parts if good else parts[:3]

    def features(self) -> dict[str, Tensor]:
        """Of all pictures: (Q, 16, 16, C) by stream."""
        return {stream: torch.cat([group[stream] for group in self._groups]) for stream in STREAMS}


def lay_row(
    info: ModelInfo,
    tokenizer: Tokenizer,
    line: dict[str, Any],
    number: int,
    pictures: Pictures,
    items: Sequence[QuestionItem],
    notes: Sequence[str] = (),
    shots: str | None = None,
    told: bool = True,
) -> TrainingRow:
    """One image's questions in a row.

    Args:
        info: of the model.
        tokenizer: of the model.
        line: a prepared line.
        number: of the image.
        pictures: that the questions' details were taken from.
        items: the questions.
        notes: knowledge.
        shots: against how many references the evidence comes from; None leaves it out.
        told: whether the evidence stands in words, too.
    """
    record = line["records"][number]
    text = None
    if shots and told:
        look = record["looks"][shots]
        text = evidence_line(record["evidence"][shots], None if look is None else Look(**look), info.reads_hue)
    cells = line["tensors"][f"{number}.evidence{shots}"][None] if shots else None
    packed = pack(info, tokenizer, items, notes, text, TOKENS * TOKENS)
    return TrainingRow(packed, pictures.features(), cells)


def draw_row(
    info: ModelInfo,
    tokenizer: Tokenizer,
    line: dict[str, Any],
    number: int,
    options: TrainOptions,
    rng: random.Random,
    evidence: bool,
    others: Sequence[Product],
) -> TrainingRow:
    """Choose questions, knowledge, evidence, details, latents and patches for one image and lay them out."""
    record, tensors = line["records"][number], line["tensors"]
    pictures = Pictures(line, number)
    shots = rng.choice(sorted(record["evidence"])) if record["evidence"] and evidence else None
    told = rng.random() < 0.9
    if rng.random() < options.details_share and record["details"]:
        items, notes = draw_detailed(line, number, pictures, options, rng)
        return lay_row(info, tokenizer, line, number, pictures, items, notes, shots, told)
    asked = take_turns([TrainingQuestion(**q) for q in record["questions"]], rng)
    draw = rng.random()
    notes = ()
    if draw < options.foreign_share:
        notes, about = ask_notes(rng.choice(others), others, rng, 2)
        asked = take_turns([*(q for q in asked if q.kind in SEEN), *about], rng)
    elif draw < options.foreign_share + options.knowledge_share:
        notes = own_notes(line, rng)
    cells = tensors[f"{number}.evidence{shots}"] if shots else None
    items = []
    for q in asked[: options.questions_per_image]:
        latents = draw_latents(options, rng)
        patches = draw_patches(tensors, number, cells, rng) if latents and rng.random() < 0.6 else ()
        items.append(draw_item(q, options, rng, (), latents, patches))
    return lay_row(info, tokenizer, line, number, pictures, items, notes, shots, told)


def draw_detailed(
    line: dict[str, Any], number: int, pictures: Pictures, options: TrainOptions, rng: random.Random
) -> tuple[list[QuestionItem], tuple[str, ...]]:
    """Few questions behind details, detection first, and at times the notes of the product."""
    record = line["records"][number]
    asked = take_turns([TrainingQuestion(**q) for q in record["questions"]], rng)
    items: list[QuestionItem] = []
    shown: tuple[tuple[str | int, ...], ...]
    for turn in range(options.details_questions):
        if turn and rng.random() < options.compared_share:
            which = rng.randrange(len(pictures.details))
            about = ask_about(pictures.details[which]["shows"], record["look"], rng)
            if about is not None and len(pictures.details[which]["parts"]) > 3:
                shown = (pictures.show(which),)
                items.append(draw_item(about, options, rng, shown, draw_latents(options, rng)))
                continue
        count = rng.choices(range(len(options.details_counts)), options.details_counts)[0]
        chosen = rng.sample(range(len(pictures.details)), min(count, len(pictures.details)))
        good = rng.random() < options.good_share
        shown = tuple(pictures.show(which, good) for which in chosen)
        items.append(draw_item(asked[min(turn, len(asked) - 1)], options, rng, shown, draw_latents(options, rng)))
    return items, own_notes(line, rng) if rng.random() < options.details_notes else ()


def own_notes(line: dict[str, Any], rng: random.Random) -> tuple[str, ...]:
    """Notes of the line's own product: on its normal look and on some defects; none of real lines."""
    if not line["knowledge"]:
        return ()
    normal, *defects = line["knowledge"]
    return normal, *rng.sample(defects, min(3, len(defects)))


def draw_latents(options: TrainOptions, rng: random.Random) -> int:
    """How many latents a question has."""
    return NUM_LATENTS if rng.random() < options.latents_share else 0


def draw_item(
    q: TrainingQuestion,
    options: TrainOptions,
    rng: random.Random,
    details: tuple[tuple[str | int, ...], ...],
    num_latents: int,
    patches: tuple[int, ...] = (),
) -> QuestionItem:
    """A question with some of its wrong options, in random order."""
    wrong = [o for o in q.options if o != q.answer]
    choices = [q.answer, *rng.sample(wrong, min(len(wrong), options.options_per_question - 1))]
    rng.shuffle(choices)
    learn = rng.random() < options.text_share
    answer = choices.index(q.answer)
    return QuestionItem(q.kind, q.question, tuple(choices), answer, details, num_latents, patches, learn)


def take_turns(asked: list[TrainingQuestion], rng: random.Random) -> list[TrainingQuestion]:
    """Detection first, then one question of each kind in random order, then the second ones, and so on."""
    rng.shuffle(asked)
    by_kind: dict[str, list[TrainingQuestion]] = defaultdict(list)
    for q in asked:
        by_kind[q.kind].append(q)
    kinds = [k for k in by_kind if k != KINDS[0]]
    rng.shuffle(kinds)
    rounds = zip_longest(*(by_kind[k] for k in kinds))
    return [*by_kind[KINDS[0]], *(q for turn in rounds for q in turn if q is not None)]


def draw_patches(tensors: dict[str, Tensor], number: int, cells: Tensor | None, rng: random.Random) -> tuple[int, ...]:
    """Patches to inject: often those of the defect, or of the strongest evidence, else any."""
    count = rng.choice((2, 4))
    guide = tensors.get(f"{number}.mask") if rng.random() < 0.6 else cells
    if guide is not None:
        weights = F.max_pool2d(guide.float()[None, None], 2)[0, 0].flatten()
        hot = [int(i) for i in weights.topk(count).indices if weights[i] > 0]
        if hot:
            return tuple(hot)
    return tuple(rng.sample(range(TOKENS * TOKENS), count))
