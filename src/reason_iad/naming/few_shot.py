"""The few-shot rule: nearest means under a covariance that all types share, shrunk towards a ball.

    z_k(x) = -1/2 (x - m_k)' S^-1 (x - m_k),    m_k = m + n_k / (n_k + 1) (mean_k - m)

S is the pooled covariance of the examples about their types' means, plus `SHRINK` times the mean variance of all of
them in every direction (Friedman, 1989): with one example a type it is a ball and the rule is that of nearest means;
with many it is linear discriminant analysis. Everything is closed form. Leaving examples out gives scores that are as
honest as those of new images: with few, each in turn; with many, one tenth at a time.

Axes: N examples, K types, D numbers of a description, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reason_iad.naming.describe import split_blocks
from reason_iad.naming.examples import Floats

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]

SHRINK = 0.5
PULL = 1.0  # examples' worth of pull of each type's mean towards the mean of all
EACH_IN_TURN = 120  # images up to which each is left out alone
FOLDS = 10
# chosen on training images of tiles and boards, each type in turn left out for "none of these" (docs/naming.md)
BLOCK_WEIGHTS: Mapping[str, float] = {
    "numbers": 0.7, "change": 2.5, "window": 0.7, "residual": 0.5, "area": 1.0, "image": 1.0
}  # fmt: skip


def weighted(vectors: Floats, weights: Mapping[str, float] = BLOCK_WEIGHTS) -> Doubles:
    """Descriptions (n, LENGTH) as points (n, D): each part of features of unit length, times its weight."""
    parts = []
    for name, values in split_blocks(np.asarray(vectors, np.float64)).items():
        if not (weight := weights.get(name, 0.0)):
            continue
        if name in ("numbers", "change"):
            parts.append(weight * values / np.sqrt(values.shape[1]))
        else:
            parts.append(weight * values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class FewShot:
    """A fitted rule.

    Attributes:
        points: of the examples (N, D).
        labels: index of the type of each (N,), from 0 to K - 1; every type has an example.
        groups: what is left out together (N,), such as the examples of one image.
        shrink: see the module.
    """

    points: Doubles
    labels: Labels
    groups: Labels
    shrink: float = SHRINK

    @property
    def num_types(self) -> int:
        """K."""
        return int(self.labels.max()) + 1

    @cached_property
    def _basis(self) -> tuple[Doubles, Doubles]:
        """Mean of the examples (D,), and orthonormal directions (r, D) that hold all that differs among them."""
        center = self.points.mean(0)
        if len(self.points) > self.points.shape[1]:  # so many that every direction may matter
            return center, np.eye(self.points.shape[1])
        _, sizes, directions = np.linalg.svd(self.points - center, full_matrices=False)
        rank = int((sizes > 1e-9 * max(float(sizes.max()), 1e-12)).sum())
        return center, directions[: max(rank, 1)]

    @cached_property
    def _fitted(self) -> tuple[Doubles, Doubles, float]:
        """Pulled means (K, r), inverse of the shrunk covariance (r, r), and the variance of the ball."""
        center, directions = self._basis
        inner = (self.points - center) @ directions.T  # (N, r)
        counts = np.bincount(self.labels, minlength=self.num_types)
        sums = np.zeros((self.num_types, inner.shape[1]))
        np.add.at(sums, self.labels, inner)
        means = sums / np.maximum(counts, 1)[:, None]
        rest = inner - means[self.labels]
        free = max(len(inner) - self.num_types, 1)
        ball = self.shrink * max(float(np.square(inner).sum(1).mean()), 1e-9) / 64
        covariance = rest.T @ rest / free + ball * np.eye(inner.shape[1])
        inverse = np.linalg.inv(covariance).astype(np.float64)
        return means * (counts / (counts + PULL))[:, None], inverse, ball

    def scores(self, points: Doubles) -> tuple[Doubles, Doubles]:
        """Score of each type (Q, K), and squared distance to the nearest type (Q,) in units of the shrunk variance."""
        center, directions = self._basis
        means, inverse, ball = self._fitted
        moved = points - center
        inner = moved @ directions.T
        beyond = np.maximum(np.square(moved).sum(1) - np.square(inner).sum(1), 0.0)  # what no example varies in
        gaps = inner[:, None] - means[None]  # (Q, K, r)
        found: Doubles = -0.5 * ((gaps @ inverse) * gaps).sum(2)
        return found, -2 * found.max(1) + beyond / ball

    @cached_property
    def left_out(self) -> tuple[Doubles, Doubles]:
        """The same of each example by the others: (N, K) and (N,); a type without others has the score -inf."""
        count, groups = len(self.points), np.unique(self.groups)
        order = np.random.default_rng(0).permutation(groups)
        parts = [order[start::FOLDS] for start in range(FOLDS)] if len(groups) > EACH_IN_TURN else groups[:, None]
        folds = [np.nonzero(np.isin(self.groups, part))[0] for part in parts]
        scores, distances = np.full((count, self.num_types), -np.inf), np.full(count, np.inf)
        for fold in folds:
            kept = np.setdiff1d(np.arange(count), fold)
            present = np.unique(self.labels[kept])
            if not present.size:
                continue
            labels = np.searchsorted(present, self.labels[kept])
            again = FewShot(self.points[kept], labels, self.groups[kept], self.shrink)
            found, far = again.scores(self.points[fold])
            scores[np.ix_(fold, present)] = found
            distances[fold] = far
        return scores, distances
