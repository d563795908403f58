"""95 % intervals of MMAD's official scores: whole images are drawn again, and scored by the official arithmetic.

The official rule also lets an unreadable answer take the following one with it; a drawn set has no following answer,
so there unreadable answers leave the denominator alone. The values themselves are those of the rule, faults included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reason_iad.metrics.intervals import Estimate
from reason_iad.metrics.multiple_choice import (
    DETECTION,
    LETTERS,
    NORMAL_FLAG,
    GivenAnswer,
    counted_kind,
    official_scores,
)

Floats = npt.NDArray[np.float64]


def official_intervals(
    answers: Sequence[GivenAnswer], repeats: int = 1000, seed: int = 0
) -> tuple[dict[str, Estimate], Estimate]:
    """Official accuracy by type and its average, as shares in [0, 1].

    Args:
        answers: in the order of the file.
        repeats: resamples.
        seed: of the draws.

    Raises:
        InputError: there is no answer.
    """
    scores = official_scores(answers)
    kinds, datasets = list(scores.types), list(scores.averages)
    images, group = np.unique([answer.image for answer in answers], return_inverse=True)
    shape = (len(images), len(datasets), len(kinds), 2)  # the last tells normal images from the others
    hits, counts = np.zeros(shape), np.zeros(shape)
    for answer, image in zip(answers, group, strict=True):
        if answer.given not in tuple(LETTERS) or answer.target not in tuple(LETTERS):
            continue
        normal = int(NORMAL_FLAG in answer.image)
        cell = (image, datasets.index(answer.dataset), kinds.index(counted_kind(answer)), normal)
        hits[cell] += answer.right
        counts[cell] += 1
    rng = np.random.default_rng(seed)
    drawn = [
        _types(hits, counts, kinds, rng.multinomial(len(images), [1 / len(images)] * len(images)))
        for _ in range(repeats)
    ]
    table = np.array(drawn)  # (repeats, datasets, types)
    by_type, averages = table.mean(1), table.mean(2).mean(1)
    n = {kind: sum(counted_kind(answer) == kind for answer in answers) for kind in kinds}
    types = {
        kind: Estimate(scores.types[kind] / 100, *_ends(by_type[:, place]), n[kind]) for place, kind in enumerate(kinds)
    }
    return types, Estimate(scores.average / 100, *_ends(averages), len(answers))


def _types(hits: Floats, counts: Floats, kinds: Sequence[str], weights: npt.NDArray[np.int64]) -> Floats:
    """Official accuracy of a drawn set by data set and type: (datasets, types)."""
    right, total = np.tensordot(weights, hits, 1), np.tensordot(weights, counts, 1)  # (datasets, types, 2)
    whole = _share(right.sum(-1), total.sum(-1))
    if DETECTION in kinds:
        place = list(kinds).index(DETECTION)
        whole[:, place] = _share(right[:, place], total[:, place]).mean(-1)
    return whole


def _share(right: Floats, total: Floats) -> Floats:
    """Right over all; 0 where there is none, as the official rule has it."""
    return np.divide(right, total, out=np.zeros_like(right), where=total > 0)


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
