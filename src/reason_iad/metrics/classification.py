"""Detection measures of scores against labels. Axes: n samples."""

from __future__ import annotations

from collections.abc import Sequence

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


def expected_calibration_error(labels: Sequence[bool], probabilities: Sequence[float], bins: int = 10) -> float:
    """Mean distance of stated probability and observed share over equal bins, weighed by their size: in [0, 1]."""
    truth, values = _paired(labels, probabilities)
    if len(values) == 0:
        raise InputError("the calibration error needs at least one sample; found none")
    index = np.minimum((values * bins).astype(int), bins - 1)
    total = 0.0
    for number in np.unique(index):
        inside = index == number
        total += float(inside.mean() * abs(truth[inside].mean() - values[inside].mean()))
    return total


def _paired(
    labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats
) -> tuple[npt.NDArray[np.bool_], Floats]:
    truth, values = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise InputError(f"{truth.shape} labels and {values.shape} scores; expected one of each per sample")
    return truth, values
