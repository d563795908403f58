"""What the vote of each voice of a panel is worth, told without labels, for each type of question apart.

Where a comparison with good parts is one of the voices, it is the only one whose scale is known: the others earn
weight beside it by agreement and by sparing the good parts that are known (`metrics.anchored`). Of votes without a
comparison, and of other questions, only agreement tells how often each is right (Dawid and Skene, 1979;
`metrics.agreement`): a vote then counts as its log-likelihood ratio, more or less as the voice is surer than it
usually is; voices that err together share their weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reason_iad.inspection.session import DETECTION
from reason_iad.inspection.verdict import logit
from reason_iad.metrics.agreement import dawid_skene, one_coin, shared_errors
from reason_iad.metrics.anchored import Anchored, anchored

EVIDENCE = "the comparison with good parts"
ENOUGH = 20  # items that two or more voted on, from which weights are told
ALIKE = 0.90  # correlation of log-odds from which voices are one, where three are left
COPIES = 0.98  # and from which they are one whatever is left: two that agree as a matter of course prove nothing
_USUAL = 0.75  # how often a voice is taken to be right before that is known
_SUREST = 2.0  # times its usual sureness, beyond which more counts no more

Votes = Mapping[str, Sequence[float]]  # probabilities of the options, by voice


class Weights(Protocol):
    """What votes on a defect are worth."""

    @property
    def how(self) -> str:
        """In words, where they come from."""

    def worth(self, votes: Mapping[str, float]) -> dict[str, float]:
        """Log-odds that each probability of a defect is worth."""

    def merit(self, name: str) -> float:
        """By which voices are ranked."""


@dataclass(frozen=True)
class Weight:
    """What one voice is worth in one type of question, where agreement alone tells it."""

    found: float  # share of true defects that it calls one, or of questions that it is right on
    spared: float  # share of good parts that it calls good; the same where there is no such thing
    sureness: float  # median of the log-odds of its vote, regardless of sign
    share: float = 1.0  # of its weight that it keeps beside others that err as it does

    def evidence_for(self, probability: float) -> float:
        """Log-odds that its probability of a defect is worth."""
        odds = logit(probability)
        votes = self.found / (1 - self.spared) if odds >= 0 else (1 - self.found) / self.spared
        strength = min(abs(odds) / max(self.sureness, 1e-6), _SUREST)
        return self.share * strength * math.log(votes)

    def worth(self, size: int) -> float:
        """Log-likelihood ratio of a vote for one of `size` options."""
        return self.share * max(0.0, math.log(self.found * (size - 1) / (1 - self.found)))


UNKNOWN = Weight(_USUAL, _USUAL, 1.0)


@dataclass(frozen=True)
class Agreed:
    """Weights by agreement alone; implements `Weights`.

    Attributes:
        known: by voice; empty where nobody can tell them apart.
        items: that they rest on.
    """

    known: Mapping[str, Weight]
    items: int

    @property
    def how(self) -> str:
        """See `Weights`."""
        if self.known:
            return f"weights from the agreement of {self.items:,} images, without labels (Dawid and Skene)"
        return (
            f"equal weights: {self.items:,} images are known, {ENOUGH} and three voices are needed to tell them apart"
        )

    def of(self, name: str) -> Weight:
        """Of a voice; one that is not known is as good as any."""
        return self.known.get(name, UNKNOWN)

    def worth(self, votes: Mapping[str, float]) -> dict[str, float]:
        """See `Weights`."""
        return {name: self.of(name).evidence_for(p) for name, p in votes.items()}

    def merit(self, name: str) -> float:
        """See `Weights`."""
        return self.of(name).share * (self.of(name).found + self.of(name).spared)


@dataclass(frozen=True)
class Earned:
    """Weights beside a comparison with good parts; implements `Weights`.

    Attributes:
        names: of the other voices that are known.
        found: what was found of them; None where nothing was.
        items: images, and known good parts, that they rest on.
    """

    names: tuple[str, ...] = ()
    found: Anchored | None = None
    items: tuple[int, int] = (0, 0)

    @property
    def how(self) -> str:
        """See `Weights`."""
        if self.found is None or not self.found.gap.any():
            return f"the comparison decides until another has shown more than it; {self.items[0]:,} images are known"
        return (
            f"weights from agreement on {self.items[0]:,} images and from sparing {self.items[1]:,} known good parts, "
            "without labels (Dawid and Skene, on scores)"
        )

    def worth(self, votes: Mapping[str, float]) -> dict[str, float]:
        """See `Weights`; a voice that has earned nothing yet is worth nothing."""
        anchor = logit(votes[EVIDENCE])
        if self.found is None:
            return {name: anchor if name == EVIDENCE else 0.0 for name in votes}
        scores = [logit(votes[name]) if name in votes else math.nan for name in self.names]
        parts = dict(zip(self.names, self.found.worth(np.array([scores]))[0], strict=True))
        return {name: anchor if name == EVIDENCE else float(parts.get(name, 0.0)) for name in votes}

    def merit(self, name: str) -> float:
        """See `Weights`; how far it sets good and defective apart, beside its noise."""
        if self.found is None or name not in self.names:
            return 0.0
        index = self.names.index(name)
        return float(self.found.gap[index] ** 2 / self.found.noise[index, index])


def weigh(kind: str, items: Sequence[Votes]) -> dict[str, Weight]:
    """Weights of voices from their agreement on items of one type; none from fewer than three different voices.

    Voices that say nearly the same are one first: agreement with one's own copy proves nothing.
    """
    names = sorted({name for votes in items for name in votes})
    groups = _alike(names, items)
    if len(items) < ENOUGH or len(groups) < 3:
        return {}  # of two that differ nobody can tell which is right
    votes = np.full((len(items), len(groups)), -1)
    for row, item in enumerate(items):
        for column, group in enumerate(groups):
            if said := [item[name] for name in group if name in item]:
                votes[row, column] = int(np.mean(said, axis=0).argmax())
    if kind == DETECTION:
        found = dawid_skene(votes, 2, smoothing=1.0)
        posteriors, tables = found.posteriors, found.confusion
        rates = [(float(table[0, 0]), float(table[1, 1])) for table in tables]  # option 0 says that there is a defect
    else:
        coins = one_coin(votes, [len(next(iter(item.values()))) for item in items])
        posteriors, rates = coins.posteriors, [(float(r), float(r)) for r in coins.right]
    errors = np.clip(shared_errors(votes, posteriors), 0.0, None).sum(1)
    weights = {}
    for (found_share, spared), error, group in zip(rates, errors, groups, strict=True):
        for name in group:
            sure = [abs(logit(max(item[name]))) for item in items if name in item]
            share = 1 / (len(group) * (1 + float(error)))
            weights[name] = Weight(_inside(found_share), _inside(spared), float(np.median(sure)), share)
    return weights


def earn(items: Sequence[Votes], goods: Sequence[Votes]) -> Earned:
    """Weights of voices from what they tell beyond the comparison; a voice needs a vote on every item that counts.

    Args:
        items: votes on images, the comparison's among them.
        goods: votes on parts that are known to be good.
    """
    names = tuple(sorted({name for votes in items for name in votes} - {EVIDENCE}))
    voices = (EVIDENCE, *names)
    whole = [votes for votes in items if all(name in votes for name in voices)]
    spared = [votes for votes in goods if all(name in votes for name in voices)]
    if len(whole) < ENOUGH or not names:
        return Earned(items=(len(whole), len(spared)))
    odds = np.array([[logit(votes[name][0]) for name in voices] for votes in (*whole, *spared)])
    known = np.arange(len(odds)) >= len(whole)
    return Earned(names, anchored(odds[:, 0], odds[:, 1:], known), (len(whole), len(spared)))


def _alike(names: Sequence[str], items: Sequence[Votes]) -> list[list[str]]:
    """Annotators in groups of one voice each: whose log-odds of the first option go up and down together.

    The most alike are joined first, as long as three voices are left to tell weights from; copies are joined even so.
    """
    odds = np.array([[logit(item[name][0]) if name in item else math.nan for item in items] for name in names])
    likeness = {(i, j): _correlation(odds[i], odds[j]) for i in range(len(names)) for j in range(len(names)) if i < j}
    groups = [[index] for index in range(len(names))]
    for pair in sorted(likeness, key=lambda pair: -likeness[pair]):
        one, other = (next(group for group in groups if index in group) for index in pair)
        least = min((likeness[min(i, j), max(i, j)] for i in one for j in other if i != j), default=1.0)
        if one is not other and least > (ALIKE if len(groups) > 3 else COPIES):
            groups = [group for group in groups if group not in (one, other)] + [one + other]
    return [[names[index] for index in sorted(group)] for group in sorted(groups)]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the items that both voted on; 0 where these are few, or one always says the same."""
    both = ~np.isnan(one) & ~np.isnan(other)
    if both.sum() < ENOUGH or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _inside(rate: float) -> float:
    return min(max(rate, 0.02), 0.98)
