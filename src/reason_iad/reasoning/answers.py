"""Reading answers from probabilities, never from parsed text.

A reader is the fixed end of every suffix: the answer cue and what is scored after it. Small models are read by the
options' texts: the probability that the model, free to write nothing but one of the options, writes each. Only the
forks of the tree that the options form are read, so options that part at their first word cost nothing but the cue.
Large models are read by the logits of the option letters.
Axes: M candidates, T tokens of the ending, C options, R rows read (forks), K branches of a fork, V vocabulary.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from reason_iad.errors import InputError
from reason_iad.models.base import OpenModel


@dataclass(frozen=True, eq=False)
class Ending:
    """What follows latents and patches in a suffix."""

    token_ids: tuple[int, ...]
    offsets: Tensor  # (T,) position of each token relative to the ending's start
    visible: Tensor  # (T, T) bool: which tokens of the ending each may attend to
    rows: Tensor  # (R,) rows of the ending whose predictions are read


@dataclass(frozen=True, eq=False)
class OptionTree:
    """The options as paths through a tree of tokens, laid out in one row behind the cue."""

    ending: Ending
    branches: Tensor  # (R, K) token that each branch of a fork begins with; 0 where a fork has fewer
    exists: Tensor  # (R, K) bool
    paths: Tensor  # (C, R * K): 1 where an option takes a branch
    text_rows: Tensor  # (W,) rows of the ending that predict the tokens of the option kept whole
    text_targets: Tensor  # (W,) those tokens

    def read(self, logits: Tensor) -> Tensor:
        """Logits of the forks (M, R, V) to log-probabilities of the options (M, C): the product over an option's forks.

        Normalized at every fork over its branches, so the options' probabilities sum to 1.
        """
        device = logits.device
        branches, exists = self.branches.to(device), self.exists.to(device)
        picked = logits.float().gather(2, branches[None].expand(logits.shape[0], -1, -1))
        chosen = picked.masked_fill(~exists, float("-inf")).log_softmax(-1).masked_fill(~exists, 0.0)
        return chosen.flatten(1) @ self.paths.to(device).T


class AnswerReader(Protocol):
    """Turns rows of logits into log-probabilities of the options."""

    @property
    def ending(self) -> Ending:
        """The fixed end of the suffix."""
        ...

    @property
    def tokens(self) -> Tensor:
        """Tokens whose logits `read` looks at."""
        ...

    def read(self, logits: Tensor) -> Tensor:
        """Logits of the ending's rows (M, R, V) to log-probabilities (M, C), normalized over the options."""
        ...


class ContentReader:
    """Reads the probability of writing each option's text, sharpened by a scale that belongs to the model."""

    def __init__(self, model: OpenModel, options: Sequence[str]) -> None:
        check_options(options)
        template = model.info.template
        end = model.tokenize(template.end)[:1]  # an option may be the beginning of another one
        branches = [[*model.tokenize(option), *end] for option in options]
        self._tree = build_tree(model.tokenize(template.cue), branches)
        self._scale = model.info.answer_scale
        self.ending = self._tree.ending

    @property
    def tokens(self) -> Tensor:
        """Tokens that the branches of the forks begin with."""
        found: Tensor = torch.unique(self._tree.branches)
        return found

    def read(self, logits: Tensor) -> Tensor:
        """Logits (M, R, V) to log-probabilities of the options (M, C)."""
        return torch.log_softmax(self._scale * self._tree.read(logits), dim=-1)


class LetterReader:
    """Compares the logits of the option letters after the cue."""

    def __init__(self, model: OpenModel, num_options: int) -> None:
        letters = string.ascii_uppercase[:num_options]
        tokens = [_letter_token(model, letter) for letter in letters]
        cue = model.tokenize(model.info.template.cue)
        self.ending = cue_ending(cue)
        self._letters = torch.tensor(tokens)

    @property
    def tokens(self) -> Tensor:
        """The letters."""
        return self._letters

    def read(self, logits: Tensor) -> Tensor:
        """Logits (M, 1, V) to log-probabilities of the options (M, C)."""
        return torch.log_softmax(logits[:, -1, self._letters.to(logits.device)].float(), dim=-1)


def reader_for(model: OpenModel, options: Sequence[str]) -> AnswerReader:
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


def letters_are_tokens(model: OpenModel, num_options: int) -> bool:
    """Whether each of the first option letters is one token of its own."""
    ids = [model.tokenize(letter) for letter in string.ascii_uppercase[:num_options]]
    return all(len(i) == 1 for i in ids) and len({i[0] for i in ids}) == num_options


def _letter_token(model: OpenModel, letter: str) -> int:
    token_ids = model.tokenize(letter)
    if len(token_ids) != 1:
        raise InputError(f"{letter} is {len(token_ids)} tokens in {model.info.name}; read answers by content")
    return token_ids[0]


@dataclass
class _Node:
    """A token of the tree on its way into the row."""

    token: int
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    place: int = -1  # in the row


def cue_ending(cue: Sequence[int]) -> Ending:
    """The cue alone, read at its last token."""
    size = len(cue)
    visible = torch.ones(size, size, dtype=torch.bool).tril()
    return Ending(tuple(cue), torch.arange(size), visible, torch.tensor([size - 1]))


def build_tree(cue: Sequence[int], branches: Sequence[Sequence[int]], whole: int | None = None) -> OptionTree:
    """Lay out a cue and the part of the option tree that decides between the options.

    What follows the last fork on a path is certain once the option is chosen, so it is left out.

    Args:
        cue: tokens before the answer, at least one.
        branches: tokens of each option; none the beginning of another.
        whole: an option of which all tokens are laid out and predicted, for training on its text.

    Raises:
        InputError: two options have the same tokens, or one begins another.
    """
    root = _Node(cue[-1], None, place=len(cue) - 1)
    leaves = [_grow(root, branch) for branch in branches]
    if len({id(leaf) for leaf in leaves}) < len(leaves) or any(leaf.children for leaf in leaves):
        raise InputError("two answer options read the same to the model; expected different texts")
    kept: list[_Node] = []
    stays = set() if whole is None else {id(node) for node in _path(leaves[whole])[:-1]}
    _lay_out(root, stays, kept, len(cue))
    size = len(cue) + len(kept)
    visible = torch.ones(size, size, dtype=torch.bool).tril()
    offsets = list(range(size))
    for node in kept:
        parent = node.parent
        assert parent is not None
        visible[node.place] = visible[parent.place]
        visible[node.place, node.place] = True
        offsets[node.place] = offsets[parent.place] + 1
    forks = [node for node in (root, *kept) if len(node.children) > 1]
    branch_ids, exists, paths = _index_forks(forks, leaves)
    chain = [root] if whole is None else [root, *_path(leaves[whole])]
    tokens = (*cue, *(node.token for node in kept))
    rows = torch.tensor([node.place for node in forks], dtype=torch.long)
    return OptionTree(
        ending=Ending(tuple(tokens), torch.tensor(offsets), visible, rows),
        branches=branch_ids,
        exists=exists,
        paths=paths,
        text_rows=torch.tensor([node.place for node in chain[:-1]], dtype=torch.long),
        text_targets=torch.tensor([node.token for node in chain[1:]], dtype=torch.long),
    )


def _grow(root: _Node, branch: Sequence[int]) -> _Node:
    node = root
    for token in branch:
        node = node.children.setdefault(token, _Node(token, node))
    return node


def _path(leaf: _Node) -> list[_Node]:
    """Nodes from below the root to a leaf."""
    found: list[_Node] = []
    node: _Node | None = leaf
    while node is not None and node.parent is not None:
        found.append(node)
        node = node.parent
    return found[::-1]


def _lay_out(node: _Node, stays: set[int], kept: list[_Node], start: int) -> None:
    """Append what leads to a fork, or stays anyway, parents first."""
    for child in node.children.values():
        if id(child) in stays or _forks(child):
            child.place = start + len(kept)
            kept.append(child)
            _lay_out(child, stays, kept, start)


def _forks(node: _Node) -> bool:
    return len(node.children) > 1 or any(_forks(child) for child in node.children.values())


def _index_forks(forks: Sequence[_Node], leaves: Sequence[_Node]) -> tuple[Tensor, Tensor, Tensor]:
    """Branch tokens (R, K), which exist (R, K), and the branches that each option takes (C, R * K)."""
    width = max((len(fork.children) for fork in forks), default=1)
    branches = torch.zeros(len(forks), width, dtype=torch.long)
    exists = torch.zeros(len(forks), width, dtype=torch.bool)
    paths = torch.zeros(len(leaves), len(forks) * width)
    paths_of = [{id(node) for node in _path(leaf)} for leaf in leaves]
    for row, fork in enumerate(forks):
        for column, child in enumerate(fork.children.values()):
            branches[row, column], exists[row, column] = child.token, True
            for option, path in enumerate(paths_of):
                if id(child) in path:
                    paths[option, row * width + column] = 1.0
    return branches, exists, paths
