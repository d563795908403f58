"""A number never travels alone: 95 % intervals of shares and of means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reason_iad.errors import InputError

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % CI {self.low:.3f}-{self.high:.3f}, n={self.n})"


def share(correct: int, n: int) -> Estimate:
    """A share with Wilson's score interval (Wilson, 1927), right also near 0 and 1.

    >>> str(share(9, 10))
    '0.900 (95 % CI 0.596-0.982, n=10)'
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"{correct} of {n} is no share; expected 0 <= correct <= n and n >= 1")
    p = correct / n
    denominator = 1 + Z95**2 / n
    center = (p + Z95**2 / (2 * n)) / denominator
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / denominator
    return Estimate(p, max(0.0, center - half), min(1.0, center + half), n)


def bootstrap(
    samples: Sequence[int], statistic: Callable[[np.ndarray], float], repeats: int = 1000, seed: int = 0
) -> Estimate:
    """A statistic of resampled indices with its percentile interval (Efron, 1979).

    Args:
        samples: indices 0 to n - 1 of the samples.
        statistic: of an array of indices; a resample on which it raises `InputError` is drawn again.
        repeats: resamples.
        seed: of the draws.
    """
    index = np.asarray(samples)
    rng = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(20 * repeats):
        if len(values) == repeats:
            break
        try:
            values.append(statistic(rng.choice(index, len(index))))
        except InputError:  # a resample without one of the classes
            continue
    low, high = np.quantile(values, [0.025, 0.975]) if values else (math.nan, math.nan)
    return Estimate(statistic(index), float(low), float(high), len(index))
