"""Many questions about one image in one row: the training layout of the prompts that `inspection` uses.

A row is the shared prefix and, for each question, its text, any details, optional latents and patches, the answer cue
and the tree of its options. A block mask lets every token see the prefix, its own question and its own path through the
tree, nothing else, so one pass trains what use will run from stored keys and values.
Axes: N tokens of the row, D width, R rows read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reason_iad.inspection.prompts import evidence_text, opening, question_text
from reason_iad.models.base import ModelInfo
from reason_iad.models.decoder import Tokenizer
from reason_iad.reasoning.answers import OptionTree, build_tree

PREFIX = -1
IMAGE, LATENTS, PATCHES = -1, -2, -3  # stand for embeddings in a token list


@dataclass(frozen=True)
class PackedQuestion:
    """Where one question's option tree stands in the row."""

    kind: str
    tree: OptionTree
    base: int  # place of the ending's first token in the row
    answer: int

    @property
    def rows(self) -> Tensor:
        """Rows that predict: first those of the forks (R,), then those of the right text (W,)."""
        return torch.cat([self.tree.ending.rows, self.tree.text_rows]) + self.base

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one option."""
        return len(self.tree.paths) > 1


@dataclass
class PackedRow:
    """One training row."""

    token_ids: list[int] = field(default_factory=list)  # negative: an embedding goes there
    slots: list[int] = field(default_factory=list)  # index within the latents, or the tokens of all pictures
    positions: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)
    questions: list[PackedQuestion] = field(default_factory=list)

    def add(self, token_ids: Sequence[int], start: int, question: int = PREFIX, slots: Sequence[int] = ()) -> int:
        """Append tokens at consecutive positions from `start`; returns the next position."""
        count = len(token_ids)
        self.token_ids.extend(token_ids)
        self.slots.extend(slots or [0] * count)
        self.positions.extend(range(start, start + count))
        self.question.extend([question] * count)
        return start + count

    def mask(self) -> Tensor:
        """Which tokens each may attend to: (N, N) bool."""
        question, count = torch.tensor(self.question), len(self.token_ids)
        mask = (question[None] == PREFIX) | (question[None] == question[:, None])
        mask &= torch.ones(count, count, dtype=torch.bool).tril()
        for packed in self.questions:
            block = slice(packed.base, packed.base + len(packed.tree.ending.token_ids))
            mask[block, block] = packed.tree.ending.visible
        return mask


@dataclass(frozen=True)
class QuestionItem:
    """A question as the packer needs it; one option means a free-form answer."""

    kind: str
    question: str
    options: tuple[str, ...]
    answer: int
    details: tuple[tuple[str | int, ...], ...] = ()  # each its texts and pictures, by their number; the image is 0
    num_latents: int = 0
    patches: tuple[int, ...] = ()
    learn_text: bool = False  # lay out the right option whole, so that its text is learned too


def pack(
    info: ModelInfo,
    tokenizer: Tokenizer,
    items: Sequence[QuestionItem],
    knowledge: Sequence[str],
    evidence: str | None,
    num_image_tokens: int,
) -> PackedRow:
    """Lay out one image's questions in a row."""

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    row = PackedRow()
    place = row.add(encode("".join([opening(info, knowledge), *evidence_text(evidence)])), 0)
    place = row.add(encode("Image:"), place)
    place = row.add([IMAGE] * num_image_tokens, place, slots=range(num_image_tokens))
    place = row.add(encode("\n"), place)
    for number, item in enumerate(items):
        at = row.add(encode(question_text(info, item.question)), place, number)
        for part in (part for detail in item.details for part in detail):
            if isinstance(part, str):
                at = row.add(encode(part), at, number)
            else:
                first = part * num_image_tokens
                at = row.add([IMAGE] * num_image_tokens, at, number, range(first, first + num_image_tokens))
        at = row.add([LATENTS] * item.num_latents, at, number, range(item.num_latents))
        at = row.add([PATCHES] * len(item.patches), at, number, item.patches)
        branches = [[*encode(option), *encode(info.template.end)[:1]] for option in item.options]
        whole = item.answer if item.learn_text or len(branches) == 1 else None
        tree = build_tree(encode(info.template.cue), branches, whole)
        base, size = len(row.token_ids), len(tree.ending.token_ids)
        row.token_ids.extend(tree.ending.token_ids)
        row.slots.extend([0] * size)
        row.positions.extend((tree.ending.offsets + at).tolist())
        row.question.extend([number] * size)
        row.questions.append(PackedQuestion(item.kind, tree, base, item.answer))
    return row
