"""Reading answers from probabilities, never from parsed text.

A reader is the fixed end of every suffix: the answer cue and what is scored after it. Small models are read by the
length-normalized likelihood of each option's text, all options as branches of one row (a tree: every option sees the
cue and itself, not the others); large ones by the logits of the option letters.
Axes: M candidates, T tokens of the ending, C options, R rows read, V vocabulary.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reason_iad.errors import InputError
from reason_iad.models.base import MultimodalModel


@dataclass(frozen=True, eq=False)
class Ending:
    """What follows latents and patches in a suffix."""

    token_ids: tuple[int, ...]
    offsets: Tensor  # (T,) position of each token relative to the ending's start
    visible: Tensor  # (T, T) bool: which tokens of the ending each may attend to
    rows: Tensor  # (R,) rows of the ending whose predictions are read


class AnswerReader(Protocol):
    """Turns rows of logits into log-probabilities of the options."""

    @property
    def ending(self) -> Ending:
        """The fixed end of the suffix."""
        ...

    def read(self, logits: Tensor) -> Tensor:
        """Logits of the ending's rows (M, R, V) to log-probabilities (M, C), normalized over the options."""
        ...


class ContentReader:
    """Scores each option by the mean log-likelihood of its text, times a scale that belongs to the model."""

    def __init__(self, model: MultimodalModel, options: Sequence[str]) -> None:
        check_options(options)
        cue = model.tokenize(model.info.template.cue)
        branches = [model.tokenize(option) for option in options]
        if empty := [o for o, branch in zip(options, branches, strict=True) if not branch]:
            raise InputError(f"the option {empty[0]!r} has no token; expected text the model can read")
        self._scale = model.info.answer_scale
        self.ending, self._targets, self._option = build_tree(cue, branches)
        self._num_options = len(branches)

    def read(self, logits: Tensor) -> Tensor:
        """Logits (M, R, V) to log-probabilities of the options (M, C)."""
        scores = option_scores(logits, self._targets, self._option, self._num_options)
        return torch.log_softmax(self._scale * scores, dim=-1)


class LetterReader:
    """Compares the logits of the option letters after the cue."""

    def __init__(self, model: MultimodalModel, num_options: int) -> None:
        letters = string.ascii_uppercase[:num_options]
        tokens = [_letter_token(model, letter) for letter in letters]
        cue = model.tokenize(model.info.template.cue)
        self.ending, _, _ = build_tree(cue, [])
        self._letters = torch.tensor(tokens)

    def read(self, logits: Tensor) -> Tensor:
        """Logits (M, 1, V) to log-probabilities of the options (M, C)."""
        return torch.log_softmax(logits[:, -1, self._letters.to(logits.device)].float(), dim=-1)


def reader_for(model: MultimodalModel, options: Sequence[str]) -> AnswerReader:
    """The reader that suits the model: letters where it binds them and each is one token, content otherwise."""
    check_options(options)
    if model.info.answer_style == "letters" and letters_are_tokens(model, len(options)):
        return LetterReader(model, len(options))
    if model.info.answer_style == "letters":
        return ContentReader(model, string.ascii_uppercase[: len(options)])
    return ContentReader(model, options)


def check_options(options: Sequence[str]) -> None:
    """Refuse option lists that have no answer.

    Raises:
        InputError: fewer than two, more than 26, an empty or a repeated one.
    """
    if not 2 <= len(options) <= len(string.ascii_uppercase):
        raise InputError(f"{len(options)} answer options were given; expected 2 to 26")
    seen: set[str] = set()
    for option in options:
        text = option.strip()
        if not text:
            raise InputError("an answer option is empty; expected text")
        if text in seen:
            raise InputError(f"the answer option {text!r} is given twice; expected different ones")
        seen.add(text)


def letters_are_tokens(model: MultimodalModel, num_options: int) -> bool:
    """Whether each of the first option letters is one token of its own."""
    ids = [model.tokenize(letter) for letter in string.ascii_uppercase[:num_options]]
    return all(len(i) == 1 for i in ids) and len({i[0] for i in ids}) == num_options


def _letter_token(model: MultimodalModel, letter: str) -> int:
    token_ids = model.tokenize(letter)
    if len(token_ids) != 1:
        raise InputError(f"{letter} is {len(token_ids)} tokens in {model.info.name}; read answers by content")
    return token_ids[0]


def build_tree(cue: Sequence[int], branches: Sequence[Sequence[int]]) -> tuple[Ending, Tensor, Tensor]:
    """Lay out a cue and option branches in one row.

    The last token of a branch predicts nothing that is read, so it is left out.

    Returns:
        the ending, the target token of each row read (R,), and the option each row belongs to (R,).
    """
    tokens, offsets, owner = list(cue), list(range(len(cue))), [-1] * len(cue)
    rows: list[int] = []
    targets: list[int] = []
    option: list[int] = []
    for number, branch in enumerate(branches):
        rows.append(len(cue) - 1)  # the cue's last token predicts the first token of every option
        rows.extend(range(len(tokens), len(tokens) + len(branch) - 1))
        targets.extend(branch)
        option.extend([number] * len(branch))
        tokens.extend(branch[:-1])
        offsets.extend(range(len(cue), len(cue) + len(branch) - 1))
        owner.extend([number] * (len(branch) - 1))
    if not branches:
        rows = [len(cue) - 1]
    owners = torch.tensor(owner)
    same = (owners[:, None] == owners[None, :]) | (owners[None, :] == -1)
    visible = same & torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    ending = Ending(tuple(tokens), torch.tensor(offsets), visible, torch.tensor(rows))
    return ending, torch.tensor(targets, dtype=torch.long), torch.tensor(option, dtype=torch.long)


def option_scores(logits: Tensor, targets: Tensor, option: Tensor, num_options: int) -> Tensor:
    """Mean log-likelihood per token of each option: logits (M, R, V) to (M, C)."""
    targets, option = targets.to(logits.device), option.to(logits.device)
    logits = logits.float()
    picked = logits.gather(2, targets[None, :, None].expand(logits.shape[0], -1, 1))[..., 0] - logits.logsumexp(-1)
    sums = picked.new_zeros(logits.shape[0], num_options).index_add(1, option, picked)
    counts = torch.bincount(option, minlength=num_options).to(picked.dtype)
    return sums / counts
