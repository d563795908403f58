"""Comparison of two runs on the same questions: paired difference with an interval, and McNemar's test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from reason_iad.errors import InputError
from reason_iad.metrics.intervals import Estimate


@dataclass(frozen=True)
class McNemar:
    """Exact test on the questions that one of two runs alone answers right.

    Attributes:
        only_first: questions that the first alone has right.
        only_second: questions that the second alone has right.
        p_value: chance of a split at least this uneven if both were equally good, two-sided, in (0, 1].
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's test in its exact, binomial form (McNemar, 1947).

    >>> mcnemar([True, True, False], [False, True, True]).p_value
    1.0
    """
    from scipy.stats import binomtest

    one, other = _paired(first, second)
    losses, gains = int((one & ~other).sum()), int((~one & other).sum())
    if losses + gains == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(losses, gains, float(binomtest(gains, losses + gains, 0.5).pvalue))


def paired_difference(
    first: Sequence[bool],
    second: Sequence[bool],
    clusters: Sequence[Hashable] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Accuracy of the second minus that of the first, with a bootstrap interval over whole clusters.

    Questions about one image stand or fall together, so images are resampled, not questions.

    Args:
        first: whether each question was answered right.
        second: the same questions in the other run.
        clusters: the image of each question; each its own where None.
        repeats: resamples.
        seed: of the draws.
    """
    one, other = _paired(first, second)
    return clustered_mean(other.astype(float) - one.astype(float), clusters, repeats, seed)


def clustered_mean(
    changes: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean of paired changes, with a bootstrap interval over whole clusters; see `paired_difference`."""
    change = np.asarray(changes, dtype=float)
    if len(change) == 0:
        raise InputError("the mean change needs at least one question; found none")
    names = np.arange(len(change)) if clusters is None else [str(c) for c in clusters]
    _, group = np.unique(names, return_inverse=True)
    sums, sizes = np.bincount(group, change), np.bincount(group).astype(float)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(sums), (repeats, len(sums)))
    values = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(change.mean()), float(low), float(high), len(change))


def clustered_macro(
    right: Sequence[bool], kinds: Sequence[str], clusters: Sequence[Hashable], repeats: int = 2000, seed: int = 0
) -> Estimate:
    """Mean over types of the accuracy, with a bootstrap interval over whole clusters.

    A resample without questions of a type takes the mean over the types that it has.
    """
    truth = np.asarray(right, dtype=float)
    if len(truth) == 0:
        raise InputError("the macro average needs at least one question; found none")
    names, kind = np.unique(list(kinds), return_inverse=True)
    _, group = np.unique([str(c) for c in clusters], return_inverse=True)
    shape = (int(group.max()) + 1, len(names))
    hits, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(hits, (group, kind), truth)
    np.add.at(counts, (group, kind), 1.0)

    def macro(rows: np.ndarray) -> float:
        total = counts[rows].sum(0)
        return float((hits[rows].sum(0)[total > 0] / total[total > 0]).mean())

    rng = np.random.default_rng(seed)
    values = [macro(rng.integers(0, shape[0], shape[0])) for _ in range(repeats)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(macro(np.arange(shape[0])), float(low), float(high), len(truth))


def _paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.shape != other.shape or one.ndim != 1 or len(one) == 0:
        raise InputError(f"{one.shape} and {other.shape} answers; expected the same questions, at least one")
    return one, other
