"""What annotators with scores know beyond one that is calibrated, told without labels: Dawid-Skene on scores.

The anchor gives log-odds of class 1 that are right as far as is known. What another annotator says is described by

    score = start + slope * anchor + gap * [class 1] + noise

so one that repeats the anchor has a slope and no gap, a guesser has neither, and only a gap earns weight. Noise may be
shared between annotators. Expectation maximization as in Dawid and Skene (1979), from the anchor's own probabilities
in place of the majority's vote; items that are known to be of class 0 take part as such. Where the data cannot tell
slope from gap, a ridge splits between them what anchor and annotator share; a gap that its own error could have made
is shrunk away (James and Stein, 1961).

Axes: n items, m annotators beside the anchor. Scores are NaN where an annotator said nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
RIDGE = 10.0  # items that speak for "no slope, no gap"
SHARED = 10.0  # items that speak for "no shared noise"
LEAST_NOISE = 0.1  # share of the variance of its scores that is noise at least
CHANCE = 1.0  # times its squared error that is taken off a squared gap
TRUST = (4.0, 10.0)  # items, about, that speak for an even share of classes and for an anchor that is calibrated


@dataclass(frozen=True)
class Anchored:
    """What was found of annotators.

    Attributes:
        start: score at an anchor of 0, of class 0 (m,).
        slope: of the score with the anchor, within a class (m,).
        gap: by which class 1 scores higher at the same anchor; what may be chance is taken off (m,).
        noise: covariance of scores at a known anchor and class (m, m).
        trust: factor of the anchor's log-odds.
        posteriors: probability of class 1 of each item that was given (n,).
        iterations: until it settled.
    """

    start: Floats
    slope: Floats
    gap: Floats
    noise: Floats
    trust: float
    posteriors: Floats
    iterations: int

    def worth(self, anchor: Floats, scores: Floats) -> Floats:
        """Log-odds that anchor (n,) and scores (n, m) are worth, were both classes as frequent: (n, 1 + m)."""
        found = np.zeros((len(anchor), 1 + len(self.gap)))
        found[:, 0] = self.trust * anchor
        said = ~np.isnan(scores)
        for pattern in np.unique(said, axis=0):
            rows = (said == pattern).all(1)
            beyond = scores[rows] - self.start - np.outer(anchor[rows], self.slope) - self.gap / 2
            weights = np.zeros(len(pattern))
            weights[pattern] = _not_below_zero(self.noise[np.ix_(pattern, pattern)], self.gap[pattern])
            found[rows, 1:] = np.where(pattern, beyond, 0.0) * weights
        return found


def anchored(
    anchor: Floats, scores: Floats, known: Flags, max_iterations: int = 50, tolerance: float = 1e-4
) -> Anchored:
    """Fit by expectation maximization.

    Args:
        anchor: log-odds of class 1 (n,).
        scores: of the others (n, m); all of them of every item.
        known: items that are of class 0 (n,).
        max_iterations: at most.
        tolerance: largest change of a posterior at which it has settled.

    Raises:
        InputError: scores are missing, or every item is known.
    """
    if scores.ndim != 2 or not scores.size or np.isnan(scores).any() or known.all():
        raise InputError(f"found scores {scores.shape}, some missing or none unknown; expected all of every item")
    starts = [_settle(anchor, scores, known, repeats, max_iterations, tolerance) for repeats in (True, False)]
    return max(starts, key=lambda start: start[1])[0]


def _settle(
    anchor: Floats, scores: Floats, known: Flags, repeats: bool, max_iterations: int, tolerance: float
) -> tuple[Anchored, float]:
    """Where EM settles, and the log-likelihood there; `repeats` says whether voices may repeat the anchor at first."""
    trust = np.array([0.0, 1.0])
    posteriors = np.where(known, 0.0, _share(anchor))
    for iteration in range(1, max_iterations + 1):
        form = ("repeats" if repeats else "apart") if iteration == 1 else "settling"
        start, slope, gap, error, noise = _describe(anchor, scores, known, posteriors, form)
        gap = gap * np.maximum(0.0, 1 - CHANCE * error / np.maximum(gap**2, 1e-12))
        trust = _trust(anchor[~known], posteriors[~known])
        found = Anchored(start, slope, gap, noise, float(trust[1]), posteriors, iteration)
        odds = trust[0] + found.worth(anchor, scores).sum(1)
        new = np.where(known, 0.0, _share(odds))
        change, posteriors = float(np.abs(new - posteriors).max()), new
        if change < tolerance:
            break
    found = Anchored(start, slope, gap, noise, float(trust[1]), posteriors, iteration)
    return found, _likelihood(found, trust, anchor, scores, known)


def _likelihood(found: Anchored, trust: Floats, anchor: Floats, scores: Floats, known: Flags) -> float:
    """Log-likelihood of scores, and of the known classes, less what ridge and prior of the trust cost."""
    good = scores - found.start - np.outer(anchor, found.slope)
    inverse, sign_log = np.linalg.inv(found.noise), np.linalg.slogdet(found.noise)[1]
    of_good = -0.5 * (np.einsum("ni,ij,nj->n", good, inverse, good) + sign_log)
    share = np.where(known, 0.0, _share(trust[0] + trust[1] * anchor))
    beyond = found.worth(anchor, scores)[:, 1:].sum(1)
    mixed = np.logaddexp(np.log1p(-np.minimum(share, 1 - 1e-12)), np.log(np.maximum(share, 1e-300)) + beyond)
    return float((of_good + mixed).sum() - 0.5 * (TRUST * (trust - [0.0, 1.0]) ** 2).sum())


def _describe(
    anchor: Floats, scores: Floats, known: Flags, posteriors: Floats, form: str
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Start, slope, gap and its squared error, all (m,), and noise (m, m), at given posteriors.

    At first these rest on the anchor alone and are regressed on as they are; then the class itself is, weighed by them.
    """
    n = len(anchor)
    design = np.stack([np.ones(n), anchor, posteriors], axis=1)
    moments = design.T @ design
    if form == "settling":
        moments[2, 2] = posteriors.sum()
    penalty = RIDGE * np.diag([0.0, anchor[~known].var() + 1e-6, posteriors[~known].var() + 1e-6])
    if form == "apart":
        penalty[1, 1] = 1e9
    inverse = np.linalg.inv(moments + penalty)
    start, slope, gap = inverse @ design.T @ scores
    if (against := gap < 0).any():  # nobody is taken to speak against the truth
        plain = np.linalg.inv((moments + penalty)[:2, :2]) @ design[:, :2].T @ scores
        start, slope = np.where(against, plain[0], start), np.where(against, plain[1], slope)
        gap = np.where(against, 0.0, gap)
    good = scores - start - np.outer(anchor, slope)
    bad = good - gap
    noise = ((good * (1 - posteriors)[:, None]).T @ good + (bad * posteriors[:, None]).T @ bad) / n
    own = np.diag(np.maximum(np.diag(noise), LEAST_NOISE * scores.var(0) + 1e-6))
    noise = own + (noise - np.diag(np.diag(noise))) * n / (n + SHARED)
    return start, slope, gap, inverse[2, 2] * np.diag(noise), noise


def _trust(anchor: Floats, posteriors: Floats) -> Floats:
    """Bias and factor by which the anchor's log-odds (n,) explain posteriors (n,): logistic, drawn to 0 and 1."""
    design, prior, found = np.stack([np.ones(len(anchor)), anchor], axis=1), np.array([0.0, 1.0]), np.array([0.0, 1.0])
    for _ in range(8):  # steps of Newton
        share = _share(design @ found)
        slope = design.T @ (posteriors - share) - TRUST * (found - prior)
        bend = (design * (share * (1 - share))[:, None]).T @ design + np.diag(TRUST)
        found = found + np.linalg.solve(bend, slope)
    return np.array([found[0], max(found[1], 0.0)])


def _not_below_zero(noise: Floats, gap: Floats) -> Floats:
    """Weights of a linear discriminant, those that would be negative left out: (m, m), (m,) to (m,)."""
    kept = gap > 0
    while True:
        weights = np.zeros(len(gap))
        weights[kept] = np.linalg.solve(noise[np.ix_(kept, kept)], gap[kept])
        if (weights >= 0).all():
            return weights
        kept &= weights > 0


def _share(odds: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return result
