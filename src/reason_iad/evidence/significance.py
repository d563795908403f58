"""How odd an image is among good parts: estimated from the spread of the references, each left out in turn.

    spread = mean excess of the upper half over the median, drawn towards a quarter of the median where there are few
    share(x) = 0.5 * exp(-(x - median) / spread)

is the share of good parts at least as odd as x: an exponential tail through the median (as peaks over a threshold are
modelled, Pickands 1975). It needs no held-out images, holds for one reference as for a hundred, and is exact for none:
where enough normals are known, `conformal` counts instead. Image and references are measured alike: each reference
beside the others, the image beside the references with one left out, averaged (the jackknife, Barber et al. 2021).

Axes: R references, h x w patches of a map.
"""

from __future__ import annotations

import math

import numpy as np

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.conformal import normals_needed
from reason_iad.evidence.regions import odd_areas
from reason_iad.types import Verdict

EDGE_SHARE = 0.05  # of good parts that are at least as odd as a score of 0.5
BAND = 5.0  # up to this many times the false-alarm rate asked for, an image is uncertain
PRIOR_SPREAD = 0.25  # of the median statistic: what few references are drawn towards (docs/evidence.md)
PRIOR_WEIGHT = 2.0  # references that the prior counts as
ENOUGH_TO_RANK = 4  # references from which a rank among them says something
MEANING = "0.5 means that about one good part in twenty looks at least this odd, as far as the references tell"


def spread_of(statistics: Array, num_references: int) -> float:
    """Spread of the oddness of good parts, from the image statistics of normals (N,) of `num_references` references."""
    median = float(np.median(statistics))
    upper = statistics[statistics > median]
    excess = float((upper - median).mean()) if len(upper) else 0.0
    prior = PRIOR_SPREAD * max(median, 0.3)
    seen = num_references - 1
    return (seen * excess + PRIOR_WEIGHT * prior) / (seen + PRIOR_WEIGHT)


def edge_of(statistics: Array, num_references: int) -> float:
    """The statistic that a share of `EDGE_SHARE` of good parts reaches."""
    return float(np.median(statistics)) + math.log(0.5 / EDGE_SHARE) * spread_of(statistics, num_references)


def estimated_share(score: float) -> float:
    """Estimated share of good parts at least as odd as an anomaly score in (0, 1): 0.05 at 0.5, 0.5 at 0.25.

    >>> round(estimated_share(0.5), 3), round(estimated_share(0.25), 3), round(estimated_share(0.65), 3)
    (0.05, 0.5, 0.019)
    >>> estimated_share(0.0)
    1.0
    """
    centered = 2.0 * min(max(score, 1e-6), 1.0 - 1e-6) - 1.0
    excess = centered / (1.0 - abs(centered))  # as `calibrate.anomaly_score` squashed it
    exponent = math.log(EDGE_SHARE / 0.5) * (1.0 + excess)
    return min(1.0, 0.5 * math.exp(min(exponent, 1.0)))  # a part as calm as can be would overflow


def score_at(share: float) -> float:
    """Anomaly score at which an estimated `share` of good parts is at least as odd; the inverse of `estimated_share`.

    >>> round(score_at(0.05), 3), round(score_at(0.02), 3), round(score_at(0.1), 3)
    (0.5, 0.642, 0.384)
    """
    excess = math.log(share / 0.5) / math.log(EDGE_SHARE / 0.5) - 1.0
    return 0.5 * (1.0 + excess / (1.0 + abs(excess)))


def share_of_normals(score: float, p_value: float | None, num_normals: int, max_overkill: float) -> float:
    """Share of good parts at least as odd: counted where the normals support the rate, else estimated.

    Args:
        score: of the image, in [0, 1].
        p_value: its rank among normals as a share, in (0, 1]; None where there are too few.
        num_normals: how many normals that is.
        max_overkill: false-alarm rate asked for.
    """
    counted = p_value is not None and num_normals >= normals_needed(max_overkill)
    return p_value if counted and p_value is not None else estimated_share(score)


def judge(share: float, max_overkill: float) -> Verdict:
    """Verdict of the comparison alone: defective up to the rate asked for, normal beyond `BAND` times that.

    >>> judge(0.01, 0.02), judge(0.06, 0.02), judge(0.3, 0.02)
    ('defective', 'uncertain', 'normal')
    """
    if share <= max_overkill:
        return "defective"
    return "uncertain" if share <= min(BAND * max_overkill, 0.5) else "normal"


def largest_mass(excess: Array) -> float:
    """Largest mass of a connected odd area of a map (h, w) that is 0 where nothing is odd."""
    _, masses = odd_areas(excess)
    return float(masses.max()) if len(masses) else 0.0
