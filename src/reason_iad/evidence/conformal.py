"""What held-out normals promise about false alarms: split-conformal p-values, in plain words.

Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005); split form as in Bates et al., Testing for
outliers with conformal p-values (2023). Valid where new normal parts and the held-out ones come from one production.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reason_iad.errors import EvidenceError


def p_value(score: float, normal_scores: Sequence[float]) -> float:
    """Share of normals at least as odd as `score`, itself counted: (1 + #{s_i >= score}) / (n + 1), in (0, 1].

    For a normal image, P(p <= alpha) <= alpha.

    >>> p_value(0.9, [0.1, 0.2, 0.3]), p_value(0.2, [0.1, 0.2, 0.3])
    (0.25, 0.75)
    """
    return (1 + sum(s >= score for s in normal_scores)) / (len(normal_scores) + 1)


def smallest_rate(num_normals: int) -> float:
    """Smallest false-alarm rate, in (0, 1], that `num_normals` held-out normals can promise: 1 / (n + 1)."""
    return 1.0 / (num_normals + 1)


def normals_needed(max_false_alarms: float) -> int:
    """Number of held-out normals from which a false-alarm rate can be promised.

    >>> normals_needed(0.02), normals_needed(0.05)
    (49, 19)
    """
    _check_rate(max_false_alarms)
    return max(1, math.ceil(1.0 / max_false_alarms - 1e-9) - 1)


def score_threshold(normal_scores: Sequence[float], max_false_alarms: float) -> float | None:
    """Score above which an image is odd at a rate of at most `max_false_alarms`; None with too few normals for it."""
    if len(normal_scores) < normals_needed(max_false_alarms):
        return None
    allowed = math.floor(max_false_alarms * (len(normal_scores) + 1) + 1e-9) - 1
    return sorted(normal_scores, reverse=True)[allowed]


def describe_promise(num_normals: int, max_false_alarms: float) -> str:
    """Say in plain words whether `num_normals` held-out normals support the false-alarm rate asked for."""
    needed = normals_needed(max_false_alarms)
    if num_normals >= needed:
        return (
            f"{num_normals} held-out normals support a false-alarm rate of {max_false_alarms:.1%}: on average at most "
            f"{max_false_alarms * 1000:.0f} of 1000 good parts from the same production are stopped"
        )
    return (
        f"{num_normals} held-out normals cannot promise a false-alarm rate of {max_false_alarms:.1%}; the smallest "
        f"they support is {smallest_rate(num_normals):.1%}: show at least {needed} normal images"
    )


def _check_rate(rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise EvidenceError(f"the false-alarm rate is {rate}; expected a number between 0 and 1, such as 0.02")
