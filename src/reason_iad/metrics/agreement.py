"""How reliable annotators are, told from their agreement alone (Dawid and Skene, 1979), without any label.

Axes: n items, m annotators, k classes. A vote is the number of a class, or -1 where an annotator did not vote.

crowd-kit has the same algorithms for one set of classes; questions have two to many options whose order means nothing,
so the form with one coin an annotator is needed with a number of options for each item, which it has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError

Votes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_TINY = 1e-12


@dataclass(frozen=True)
class Agreement:
    """What the votes say of items and annotators.

    Attributes:
        posteriors: probability of each class (n, k); 0 for options that an item has not.
        priors: share of each class (k,).
        confusion: probability of each vote, by true class: (m, true, voted).
        iterations: until it settled.
    """

    posteriors: Floats
    priors: Floats
    confusion: Floats
    iterations: int


def dawid_skene(
    votes: Votes, k: int, smoothing: float = 0.0, max_iterations: int = 200, tolerance: float = 1e-8
) -> Agreement:
    """Expectation maximization from the majority's vote; each annotator has a full table of confusion.

    Args:
        votes: (n, m).
        k: number of classes.
        smoothing: votes that every cell of a table is given before it is counted; 0 is the published form.
        max_iterations: at most.
        tolerance: largest change of a posterior at which it has settled.

    Raises:
        InputError: there is no vote, or one of a class that there is not.
    """
    votes = _checked(votes, k)
    voted = np.stack([(votes == c).astype(float) for c in range(k)], axis=-1)  # (n, m, k)
    posteriors = voted.sum(1)
    posteriors = np.where(posteriors.sum(1, keepdims=True) > 0, posteriors, 1.0)
    posteriors /= posteriors.sum(1, keepdims=True)
    iteration = 0
    while iteration < max_iterations:
        iteration += 1
        priors = posteriors.mean(0)
        counts = np.einsum("nt,nmv->mtv", posteriors, voted) + smoothing
        confusion = counts / np.maximum(counts.sum(-1, keepdims=True), _TINY)
        logs = np.log(np.maximum(priors, _TINY)) + np.einsum("nmv,mtv->nt", voted, np.log(np.maximum(confusion, _TINY)))
        found = _normalized(logs)
        change = float(np.abs(found - posteriors).max())
        posteriors = found
        if change < tolerance:
            break
    return Agreement(posteriors, priors, confusion, iteration)


@dataclass(frozen=True)
class Coins:
    """Reliability of annotators on items whose options differ.

    Attributes:
        right: probability that each annotator names the right option (m,).
        posteriors: of the options of each item (n, most options).
        iterations: until it settled.
    """

    right: Floats
    posteriors: Floats
    iterations: int


def one_coin(
    votes: Votes, sizes: Sequence[int], smoothing: float = 1.0, max_iterations: int = 200, tolerance: float = 1e-8
) -> Coins:
    """Dawid-Skene with one number an annotator: right with that probability, else any of the other options alike.

    Args:
        votes: (n, m).
        sizes: number of options of each item.
        smoothing: right and wrong votes, in the shares of a guess, that each annotator is given before counting.
        max_iterations: at most.
        tolerance: largest change of a reliability at which it has settled.

    Raises:
        InputError: there is no vote, or one of an option that the item has not.
    """
    most = max(sizes, default=0)
    votes = _checked(votes, most)
    options = np.asarray(sizes)
    if len(options) != len(votes) or (votes >= options[:, None]).any() or options.min() < 2:
        raise InputError("found votes for options that an item has not; expected options from 0 on, two or more")
    present = np.arange(most)[None] < options[:, None]  # (n, k)
    voted = (votes[..., None] == np.arange(most)).astype(float)  # (n, m, k)
    cast = (votes >= 0).astype(float)
    guess = float((1 / options).mean())
    posteriors = _normalized(np.where(present, voted.sum(1) * 2.0, -np.inf))
    right = np.full(votes.shape[1], 0.5)
    iteration = 0
    while iteration < max_iterations:
        iteration += 1
        hits = np.einsum("nk,nmk->m", posteriors, voted)
        found = (hits + smoothing * guess) / (cast.sum(0) + smoothing)
        change = float(np.abs(found - right).max())
        right = found
        sure = np.clip(right, 1e-6, 1 - 1e-6)
        wrong = np.log((1 - sure)[None] / (options - 1)[:, None])  # (n, m)
        logs = np.einsum("nmk,nm->nk", voted, np.log(sure)[None] - wrong)
        posteriors = _normalized(np.where(present, logs, -np.inf))
        if change < tolerance:
            break
    return Coins(right, posteriors, iteration)


def shared_errors(votes: Votes, posteriors: Floats) -> Floats:
    """How far annotators err together beyond what each errs alone: (m, m), correlation of errors, 0 where unknown."""
    m = votes.shape[1]
    right = np.take_along_axis(posteriors, np.maximum(votes, 0), axis=1)  # (n, m) probability that a vote is right
    wrong = np.where(votes >= 0, 1 - right, np.nan)
    found = np.zeros((m, m))
    for i in range(m):
        for j in range(i + 1, m):
            both = ~np.isnan(wrong[:, i]) & ~np.isnan(wrong[:, j])
            one, other = wrong[both, i], wrong[both, j]
            if both.sum() > 2 and one.std() > 0 and other.std() > 0:
                found[i, j] = found[j, i] = float(np.corrcoef(one, other)[0, 1])
    return found


def _checked(votes: Votes, k: int) -> Votes:
    votes = np.asarray(votes)
    if votes.ndim != 2 or not votes.size or not (votes >= 0).any():
        raise InputError("found no votes; expected at least one")
    if votes.max() >= k or votes.min() < -1:
        raise InputError(f"found the vote {int(votes.max())}; expected classes from 0 to {k - 1}, or -1 for none")
    return votes


def _normalized(logs: Floats) -> Floats:
    shifted = np.exp(logs - logs.max(1, keepdims=True))
    result: Floats = shifted / shifted.sum(1, keepdims=True)
    return result
