"""Put distances on a scale that does not depend on the image shown.

Everything here is a pure function of normal-to-normal residuals: the distances that normal references have to each
other, each compared with the others (leave one out). A map is never divided by its own extremes: good parts stay calm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

EDGE_QUANTILE = 0.99  # of the residuals: where the scale begins
SPAN = 3.0  # the scale ends this many (edge - median) above the edge
WORST_SHARE = 0.01  # of the patches: their mean is the oddness of an image
SMALLEST = 1e-6  # a reference compared with an exact copy leaves no residual at all


@dataclass(frozen=True)
class Scale:
    """The fixed scale of one stream: median, edge and end of the normal residuals, in units of distance."""

    median: float
    low: float
    high: float

    def apply(self, distances: Array) -> Array:
        """Calibrated strength of `distances`: 0 up to the edge, 1 from the end of the scale on; same shape."""
        return cast(Array, np.clip((distances - self.low) / (self.high - self.low), 0.0, 1.0).astype(np.float32))

    def standardize(self, distances: Array) -> Array:
        """Distances in units in which the median of normals is 0 and their edge 1, unclipped; same shape."""
        return cast(Array, ((distances - self.median) / (self.low - self.median)).astype(np.float32))


@dataclass(frozen=True)
class Calibration:
    """What normals show, in the units of the fused maps; all of it comes from the references alone.

    Attributes:
        scales: by stream, of the distances of normals.
        fused: of the fused distances of normals in the map.
        median_statistic: image statistic of a usual normal.
        edge_statistic: image statistic that about one good part in twenty reaches (see `significance`).
        largest_masses: of the odd areas of each reference beside the others, the largest.
        medians: by stream, the largest median distance of a reference to the others.
    """

    scales: dict[str, Scale]
    fused: Scale
    median_statistic: float
    edge_statistic: float
    largest_masses: tuple[float, ...] = ()
    medians: dict[str, float] = field(default_factory=dict)


def fit_scale(residuals: Array) -> Scale:
    """Fit the scale to the residuals of normals, of any shape.

    low = quantile_0.99(residuals), high = low + 3 * max(low - median, 0).

    >>> scale = fit_scale(np.linspace(0, 1, 101, dtype=np.float32))
    >>> round(scale.low, 2), round(scale.high, 2)
    (0.99, 2.46)
    """
    median = float(np.median(residuals))
    low = max(float(np.quantile(residuals, EDGE_QUANTILE)), median + SMALLEST)
    return Scale(median, low, low + SPAN * (low - median))


def image_statistic(fused: Array, share: float = WORST_SHARE) -> Array:
    """Mean of the worst `share` of the patches of maps (..., h, w): the oddness of each image (...)."""
    size = fused.shape[-2] * fused.shape[-1]
    count = max(1, round(size * share))
    flat = fused.reshape(*fused.shape[:-2], size)
    return cast(Array, np.partition(flat, size - count, axis=-1)[..., size - count :].mean(axis=-1))


def anomaly_score(statistic: float, median: float, edge: float) -> float:
    """Squash the image statistic to [0, 1]: 0.5 at the `edge` of what good parts show, 0.25 at their `median`.

    Strictly monotone without saturating, so that two very odd images still differ.

    >>> anomaly_score(2.0, 1.0, 2.0), anomaly_score(1.0, 1.0, 2.0), round(anomaly_score(11.0, 1.0, 2.0), 2)
    (0.5, 0.25, 0.95)
    """
    excess = (statistic - edge) / max(edge - median, SMALLEST)
    return 0.5 * (1.0 + excess / (1.0 + abs(excess)))
