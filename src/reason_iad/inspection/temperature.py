"""Calibrating option probabilities: one temperature a question type, fitted on data that trained nothing.

    p_i ~ p_i ^ (1 / T)        (Guo et al., "On Calibration of Modern Neural Networks", 2017)

The order of the options never changes, so neither does an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reason_iad.errors import ModelError
from reason_iad.inspection.dialog import Reply

ANY_KIND = "any"  # of a question whose type is not known


@dataclass(frozen=True)
class Temperatures:
    """Temperatures by question type; 1 leaves probabilities as the model says them."""

    by_kind: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Temperatures:
        """Read what is stored with a model's adapter; none where there is none.

        Raises:
            ModelError: what is stored is not a positive number a type.
        """
        stored = settings.get("temperatures", {})
        try:
            found = {str(kind): float(value) for kind, value in dict(stored).items()}  # type: ignore[call-overload]
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model's temperatures are {stored!r}; expected a number a type") from error
        if any(value <= 0 for value in found.values()):
            raise ModelError(f"the model's temperatures are {found}; expected numbers above 0")
        return cls(found)

    def of(self, kind: str | None) -> float:
        """Temperature of a question type; that of questions in general where the type is not known."""
        return self.by_kind.get(kind or ANY_KIND, self.by_kind.get(ANY_KIND, 1.0))

    def soften(self, reply: Reply, kind: str | None = None) -> Reply:
        """The same answer with calibrated probabilities; the trace keeps those that the loop saw."""
        options = reply.answer.options
        softened = temper([option.probability for option in options], self.of(kind))
        pairs = tuple(replace(option, probability=p) for option, p in zip(options, softened, strict=True))
        return replace(reply, answer=replace(reply.answer, options=pairs))


def temper(probabilities: Sequence[float], temperature: float) -> list[float]:
    """Probabilities at another temperature; they sum to 1.

    >>> [round(p, 3) for p in temper([0.9, 0.1], 2.0)]
    [0.75, 0.25]
    """
    logs = np.log(np.maximum(probabilities, 1e-12)) / temperature
    weights = np.exp(logs - logs.max())
    result: list[float] = (weights / weights.sum()).tolist()
    return result


def fit_temperature(probabilities: Sequence[Sequence[float]], targets: Sequence[int]) -> float:
    """The temperature in [0.2, 20] at which right options are likeliest: least mean negative log-likelihood."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        t = float(np.exp(log_t))
        return float(
            -np.mean([np.log(max(temper(p, t)[i], 1e-12)) for p, i in zip(probabilities, targets, strict=True)])
        )

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
