"""What a thought must still know: the measured facts of the odd place, and that the good part has no defect.

The facts are asked in a branch of the same pass that reads the answer: behind the cue, beside the answer, each sees the
thought and none the other. A fact is read like an answer: at the forks where its possible values part, normalized over
them, so that only what tells the values apart counts. The question that was asked is not among them.
Axes: M candidates, T tokens of the branch, R rows read (forks), K branches of a fork, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reason_iad.evidence.claims import VALUES
from reason_iad.evidence.looks import Look
from reason_iad.models.base import OpenModel
from reason_iad.reasoning.answers import Ending

NO_DEFECT = (" no defect", " a defect")


@dataclass(frozen=True)
class Fact:
    """One thing that was measured, among what it could have been."""

    lead: str  # what stands before it
    values: tuple[str, ...]
    measured: int


GOOD_PART = Fact(". Good part:", NO_DEFECT, 0)
_LEADS = {
    "place": "",
    "size": ",",
    "shape": "",
    "tone": "",
    "hue": "",
}  # few words: each token is a row


def facts_of(look: Look | None) -> tuple[Fact, ...]:
    """What was measured at the odd place: place, size, shape, tone, and hue where it differs; none without a look."""
    if look is None:
        return ()
    found = []
    for name, lead in _LEADS.items():
        measured, values = getattr(look, name), VALUES[name]
        if measured and measured != "of the same hue":
            words = tuple(f" {value.removesuffix(' than').removesuffix(' as')}" for value in values)
            found.append(Fact(lead, words, values.index(measured)))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Anchor:
    """Facts laid out as one chain of tokens behind the cue."""

    token_ids: tuple[int, ...]  # (T,)
    rows: Tensor  # (R,) rows of the chain that are read; -1 is the last one of the cue
    allowed: tuple[tuple[int, ...], ...]  # tokens that each fork may go on with
    taken: tuple[int, ...]  # which of them is the measured one
    owner: tuple[int, ...]  # which fact each fork belongs to
    sizes: tuple[int, ...]  # number of values of each fact
    missing: int = 0  # facts that cannot be asked yet: each counts as an even guess

    @property
    def tokens(self) -> Tensor:
        """Tokens whose logits `agreement` looks at."""
        return torch.tensor(sorted({token for fork in self.allowed for token in fork}), dtype=torch.long)

    def agreement(self, logits: Tensor) -> Tensor:
        """G from the logits of the forks (M, R, V): (M,), 0 is sure of every fact and -1 is guessing evenly.

        Each fact's log-probability is divided by the logarithm of the number of its values; the mean over facts.
        """
        total = logits.new_zeros(logits.shape[0], dtype=torch.float32)
        for row, (allowed, taken, owner) in enumerate(zip(self.allowed, self.taken, self.owner, strict=True)):
            chosen = logits[:, row, list(allowed)].float().log_softmax(-1)[:, taken]
            total = total + chosen / math.log(self.sizes[owner])
        return (total - self.missing) / (len(self.sizes) + self.missing)


def lay_out(model: OpenModel, facts: Sequence[Fact], missing: int = 0) -> Anchor | None:
    """Facts one after the other, each measured value spelled out; None where there is nothing to ask.

    What follows the last fork is certain, so it is left out.
    """
    token_ids: list[int] = []
    rows, allowed, taken, owner = [], [], [], []
    for number, fact in enumerate(facts):
        token_ids += model.tokenize(fact.lead) if fact.lead else []
        spelled = [model.tokenize(value) for value in fact.values]
        mine = spelled[fact.measured]
        for at, token in enumerate(mine):
            fork = sorted({other[at] for other in spelled if other[:at] == mine[:at] and len(other) > at})
            if len(fork) > 1:
                rows.append(len(token_ids) - 1)
                allowed.append(tuple(fork))
                taken.append(fork.index(token))
                owner.append(number)
            token_ids.append(token)
    if not facts and not missing:
        return None
    kept = tuple(token_ids[: max(rows, default=-1) + 1])
    sizes = tuple(len(fact.values) for fact in facts)
    read = torch.tensor(rows, dtype=torch.long)
    return Anchor(kept, read, tuple(allowed), tuple(taken), tuple(owner), sizes, missing)


def beside(ending: Ending, cue: int, anchor: Anchor) -> Ending:
    """The answer's ending with the anchor's chain as another branch behind the first `cue` tokens.

    The rows read are the answer's, then the anchor's.
    """
    before, more = len(ending.token_ids), len(anchor.token_ids)
    visible = torch.zeros(before + more, before + more, dtype=torch.bool)
    visible[:before, :before] = ending.visible
    visible[before:, :cue] = True
    visible[before:, before:] = torch.ones(more, more, dtype=torch.bool).tril()
    offsets = torch.cat([ending.offsets, torch.arange(more) + cue])
    asked = torch.where(anchor.rows < 0, torch.tensor(cue - 1), anchor.rows + before)
    rows = torch.cat([ending.rows, asked])
    return Ending((*ending.token_ids, *anchor.token_ids), offsets, visible, rows)
