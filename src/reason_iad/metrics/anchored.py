"""What voices with scores are worth beside one whose scale is known, told without labels: Dawid-Skene on scores.

The anchor gives log-odds of class 1 that are right as far as is known. How far another voice sets the classes apart,
its gap, is read off twice: from its agreement with the others, as Dawid and Skene (1979) do with votes, since voices
that err independently covary by their gaps alone; and from items of class 0 that are known, which lie lower by the gap
times the share of class 1. Both are weighed by their errors, and what chance could have made is taken off (James and
Stein, 1961), so that a guesser earns nothing. No voice that errs by itself can agree with the anchor beyond a bound
that follows from the anchor's own gap: one that does repeats it, and the more so, the less it counts. Agreement with
one's own copy proves nothing. Shapes of scores (two humps, a step) are not used: on real answers they are those of
products and phrases, not of defects.

Axes: n items, m voices beside the anchor. Scores are NaN where a voice said nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
ROUNDS = 4  # in which every voice is held against what the others say together
ALIKE = 0.9  # correlation from which two voices are no witnesses to each other
MOST = 0.8  # of the variance of a voice that classes may make, at most
DOUBT = 4.0  # times its squared error that is taken off a squared gap: one under two errors earns nothing
SHARED = 10.0  # items that speak for "no shared noise"
LEAST_KNOWN = 3  # items of class 0, from which they tell of gaps
FEWEST = 2.0  # items, half of them of class 1, that frequencies are drawn to


@dataclass(frozen=True)
class Anchored:
    """What was found of voices.

    Attributes:
        middle: score that speaks for neither class (m,).
        gap: by which class 1 scores higher; what may be chance or repeated is taken off (m,).
        noise: covariance of scores within a class (m, m).
        frequency: share of class 1 among the items.
    """

    middle: Floats
    gap: Floats
    noise: Floats
    frequency: float

    @property
    def weights(self) -> Floats:
        """Of the scores, where all voices speak (m,)."""
        return _not_below_zero(self.noise, self.gap)

    def worth(self, scores: Floats) -> Floats:
        """Log-odds that scores (n, m) add to the anchor's, were both classes as frequent: (n, m)."""
        found, said = np.zeros(scores.shape), ~np.isnan(scores)
        for pattern in np.unique(said, axis=0):
            rows, weights = (said == pattern).all(1), np.zeros(len(pattern))
            weights[pattern] = _not_below_zero(self.noise[np.ix_(pattern, pattern)], self.gap[pattern])
            found[rows] = np.where(pattern, scores[rows] - self.middle, 0.0) * weights
        return found


def anchored(anchor: Floats, scores: Floats, known: Flags) -> Anchored:
    """Fit by rounds.

    Args:
        anchor: log-odds of class 1 (n,).
        scores: of the others (n, m); all of them of every item.
        known: items that are of class 0 (n,).

    Raises:
        InputError: scores are missing, or fewer than three items are unknown.
    """
    if scores.ndim != 2 or not scores.size or np.isnan(scores).any() or (~known).sum() < 3:
        raise InputError(
            f"found scores {scores.shape}, some missing or few unknown; expected all of three items or more"
        )
    asked, spared = scores[~known], scores[known]
    repeats = np.minimum(1.0, (MOST / np.maximum(_claimed(asked, anchor[~known]), 1e-9)) ** 2)
    covariance = np.atleast_2d(np.cov(asked.T)) + 1e-9 * np.eye(asked.shape[1])
    apart = np.array([[abs(_correlation(one, other)) < ALIKE for other in asked.T] for one in asked.T])
    worth = np.zeros(asked.shape)
    for _ in range(ROUNDS):
        gaps, shares = np.zeros(asked.shape[1]), np.zeros(asked.shape[1])
        for voice in range(len(gaps)):
            others = anchor[~known] + worth @ apart[voice]
            gaps[voice], shares[voice] = _gap(asked[:, voice], spared[:, voice], others)
        gaps = gaps * repeats
        spreads = np.sqrt(shares * (1 - shares))
        noise = covariance - np.outer(spreads * gaps, spreads * gaps)
        own = np.diag(np.diag(noise))
        noise = own + (noise - own) * len(asked) / (len(asked) + SHARED)
        found = Anchored(asked.mean(0) + (0.5 - shares) * gaps, gaps, noise, _frequency(anchor[~known] + worth.sum(1)))
        worth = found.worth(asked)
    return found


def _gap(asked: Floats, spared: Floats, others: Floats) -> tuple[float, float]:
    """The gap of one voice, and the share of class 1, from its scores, those on known items, and what others say."""
    share, theirs = _two_classes(others)
    mixed, spread = share * (1 - share), float(asked.std()) + 1e-9
    alike = _correlation(asked, others)
    told = [alike * spread * float(others.std()) / (mixed * theirs)]
    errors = [spread * float(others.std()) * ((1 - min(alike**2, 0.95)) / len(asked)) ** 0.5 / (mixed * theirs)]
    if len(spared) >= LEAST_KNOWN:
        told.append(float(asked.mean() - spared.mean()) / share)
        errors.append(spread * (1 / len(spared) + 1 / len(asked)) ** 0.5 / share)
    trust = 1 / np.square(np.maximum(errors, 1e-9))
    gap = max(float(trust @ told / trust.sum()), 1e-9)
    gap *= max(0.0, 1 - DOUBT / float(trust.sum()) / gap**2)
    return min(gap, spread * (MOST / mixed) ** 0.5), share


def _claimed(scores: Floats, anchor: Floats) -> Floats:
    """Share of the variance of voices that classes would have to make, did they and the anchor err independently."""
    share, gap = _two_classes(anchor)
    between = share * (1 - share) * gap**2 / (float(anchor.var()) + 1e-9)
    return np.array([_correlation(one, anchor) ** 2 / between for one in scores.T])


def _two_classes(odds: Floats) -> tuple[float, float]:
    """Share of class 1, and how far its mean lies above that of class 0, where log-odds `odds` (n,) are right."""
    bias = _frequency(odds)
    ones = _sigmoid(odds + np.log(bias / (1 - bias)))
    share = float(ones.mean())
    gap = float((ones @ odds) / ones.sum() - ((1 - ones) @ odds) / (1 - ones).sum())
    return min(max(share, 1e-3), 1 - 1e-3), max(gap, 1e-6)


def _frequency(odds: Floats) -> float:
    """Share of class 1 among items whose likelihood ratios have the logarithms `odds` (n,)."""
    share = 0.5
    for _ in range(30):
        share = (float(_sigmoid(odds + np.log(share / (1 - share))).sum()) + FEWEST / 2) / (len(odds) + FEWEST)
    return share


def _correlation(one: Floats, other: Floats) -> float:
    """0 where one of them always says the same."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 1e-9 and other.std() > 1e-9 else 0.0


def _not_below_zero(noise: Floats, gap: Floats) -> Floats:
    """Weights of a linear discriminant, those that would be negative left out: (m, m), (m,) to (m,)."""
    kept = gap > 0
    while True:
        weights = np.zeros(len(gap))
        weights[kept] = np.linalg.solve(noise[np.ix_(kept, kept)], gap[kept])
        if (weights >= 0).all():
            return weights
        kept &= weights > 0


def _sigmoid(odds: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return result
