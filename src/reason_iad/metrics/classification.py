"""Detection measures of scores against labels. Axes: n samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError

Floats = npt.NDArray[np.float64]


def auroc(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats) -> float:
    """Probability that a defective sample scores above a normal one, ties counting half: in [0, 1].

    >>> auroc([False, False, True, True], [0.1, 0.4, 0.35, 0.8])
    0.75

    Raises:
        InputError: one of the two classes is missing, or the lengths differ.
    """
    from scipy.stats import rankdata

    truth, values = _paired(labels, scores)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        raise InputError(f"AUROC needs both classes; found {positives} defective and {negatives} normal samples")
    ranks = rankdata(values)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def balanced_accuracy(labels: Sequence[bool], predictions: Sequence[bool]) -> float:
    """Mean of the shares of defective and of normal samples that are recognized, over the classes there are.

    >>> balanced_accuracy([True, True, False], [True, False, False])
    0.75
    """
    truth, found = np.asarray(labels, bool), np.asarray(predictions, bool)
    shares = [float((found[truth == kind] == kind).mean()) for kind in (True, False) if (truth == kind).any()]
    if not shares:
        raise InputError("balanced accuracy needs at least one sample; found none")
    return sum(shares) / len(shares)


def overkill(labels: Sequence[bool], predictions: Sequence[bool]) -> float:
    """Share of normal samples that are called defective, in [0, 1].

    >>> overkill([False, False, True], [True, False, False]), miss([False, False, True], [True, False, False])
    (0.5, 1.0)
    """
    return _wrong_share(labels, predictions, of_defective=False)


def miss(labels: Sequence[bool], predictions: Sequence[bool]) -> float:
    """Share of defective samples that are called normal, in [0, 1]."""
    return _wrong_share(labels, predictions, of_defective=True)


def _wrong_share(labels: Sequence[bool], predictions: Sequence[bool], of_defective: bool) -> float:
    truth, found = np.asarray(labels, bool), np.asarray(predictions, bool)
    mine = truth == of_defective
    if not mine.any():
        kind = "defective" if of_defective else "normal"
        raise InputError(f"found no {kind} sample among {len(truth)}; expected at least one")
    return float((found[mine] != of_defective).mean())


def average_precision(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the precision-recall steps: sum of precision times the growth of recall, ties taken together.

    >>> average_precision([False, False, True, True], [0.1, 0.4, 0.35, 0.8]) # doctest: +ELLIPSIS
    0.833...

    Raises:
        InputError: there is no defective sample, or the lengths differ.
    """
    precision, recall, _ = precision_recall(labels, scores)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def f1_max(labels: Sequence[bool], scores: Sequence[float]) -> tuple[float, float]:
    """Largest F1 over all thresholds, and the threshold it is reached at (a sample at it counts as defective).

    The threshold is chosen on the samples it is measured on: an upper bound, published under this name everywhere.
    """
    precision, recall, thresholds = precision_recall(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1.argmax())
    return float(f1[best]), float(thresholds[best])


def precision_recall(labels: Sequence[bool], scores: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    """Precision and recall at every distinct score, from the highest down: three arrays (k,)."""
    truth, values = _paired(labels, scores)
    if not truth.any():
        raise InputError(f"found no defective sample among {len(truth)}; expected at least one")
    order = np.argsort(-values, kind="stable")
    ordered, found = values[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    hits = found[last].astype(np.float64)
    return hits / (last + 1), hits / hits[-1], ordered[last]


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose stated probability lies in one bin."""

    stated: float  # their mean stated probability
    observed: float  # share of them that is defective
    n: int


def reliability(labels: Sequence[bool], probabilities: Sequence[float], bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Stated against observed in equal bins over [0, 1]; empty bins are left out."""
    truth, values = _paired(labels, probabilities)
    index = np.minimum((values * bins).astype(int), bins - 1)
    return tuple(
        ReliabilityBin(float(values[index == one].mean()), float(truth[index == one].mean()), int((index == one).sum()))
        for one in np.unique(index)
    )


def expected_calibration_error(labels: Sequence[bool], probabilities: Sequence[float], bins: int = 10) -> float:
    """Mean distance of stated probability and observed share over equal bins, weighed by their size: in [0, 1]."""
    if len(probabilities) == 0:
        raise InputError("the calibration error needs at least one sample; found none")
    found = reliability(labels, probabilities, bins)
    return sum(one.n / len(probabilities) * abs(one.observed - one.stated) for one in found)


def _paired(
    labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats
) -> tuple[npt.NDArray[np.bool_], Floats]:
    truth, values = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise InputError(f"{truth.shape} labels and {values.shape} scores; expected one of each per sample")
    return truth, values
