"""Many questions about one image in one row: the training layout of the prompts that `inspection` uses.

A row is the shared prefix and, for each question, its text, optional latents and patches, the answer cue and the
options as branches. A block mask lets every token see the prefix, its own question and its own branch, nothing else,
so one pass trains what use will run from stored keys and values. Axes: N tokens of the row, D width, R rows read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reason_iad.inspection.prompts import opening, question_text
from reason_iad.models.base import ModelInfo
from reason_iad.models.decoder import Tokenizer
from reason_iad.reasoning.answers import build_tree

PREFIX = -1
IMAGE, LATENTS, PATCHES = -1, -2, -3  # stand for embeddings in a token list


@dataclass(frozen=True)
class PackedQuestion:
    """Where one question's predictions stand in the row."""

    kind: str
    rows: Tensor  # (R,) rows that predict
    targets: Tensor  # (R,) token ids
    option: Tensor  # (R,) option of each row
    num_options: int
    answer: int


@dataclass
class PackedRow:
    """One training row."""

    token_ids: list[int] = field(default_factory=list)  # negative: an embedding goes there
    slots: list[int] = field(default_factory=list)  # index within the latents, patches or image tokens
    positions: list[int] = field(default_factory=list)
    question: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    questions: list[PackedQuestion] = field(default_factory=list)

    def add(self, token_ids: Sequence[int], start: int, question: int = PREFIX, slots: Sequence[int] = ()) -> int:
        """Append tokens at consecutive positions from `start`; returns the next position."""
        count = len(token_ids)
        self.token_ids.extend(token_ids)
        self.slots.extend(slots or [0] * count)
        self.positions.extend(range(start, start + count))
        self.question.extend([question] * count)
        self.branch.extend([-1] * count)
        return start + count

    def mask(self) -> Tensor:
        """Which tokens each may attend to: (N, N) bool."""
        question, branch = torch.tensor(self.question), torch.tensor(self.branch)
        same_question = (question[None] == PREFIX) | (question[None] == question[:, None])
        same_branch = (branch[None] == -1) | (branch[None] == branch[:, None])
        count = len(self.token_ids)
        return same_question & same_branch & torch.ones(count, count, dtype=torch.bool).tril()


@dataclass(frozen=True)
class QuestionItem:
    """A question as the packer needs it; one option means a free-form answer."""

    kind: str
    question: str
    options: tuple[str, ...]
    answer: int
    num_latents: int = 0
    patches: tuple[int, ...] = ()


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
    place = row.add(encode(opening(info, knowledge, evidence)), 0)
    place = row.add(encode("Image:"), place)
    place = row.add([IMAGE] * num_image_tokens, place, slots=range(num_image_tokens))
    place = row.add(encode("\n"), place)
    for number, item in enumerate(items):
        at = row.add(encode(question_text(info, item.question)), place, number)
        at = row.add([LATENTS] * item.num_latents, at, number, range(item.num_latents))
        at = row.add([PATCHES] * len(item.patches), at, number, item.patches)
        branches = [encode(option) for option in item.options]
        if len(branches) == 1:
            branches = [[*branches[0], *encode(info.template.end)]]
        ending, targets, option = build_tree(encode(info.template.cue), branches)
        base = len(row.token_ids)
        row.token_ids.extend(ending.token_ids)
        row.slots.extend([0] * len(ending.token_ids))
        row.positions.extend((ending.offsets + at).tolist())
        row.question.extend([number] * len(ending.token_ids))
        row.branch.extend(_branches(encode(info.template.cue), branches))
        rows = ending.rows + base
        row.questions.append(PackedQuestion(item.kind, rows, targets, option, len(branches), item.answer))
    return row


def _branches(cue: Sequence[int], branches: Sequence[Sequence[int]]) -> list[int]:
    return [-1] * len(cue) + [number for number, branch in enumerate(branches) for _ in branch[:-1]]
