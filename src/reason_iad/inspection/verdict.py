"""From model and evidence to a calibrated probability and a verdict that may be "uncertain".

Pure functions over numbers; the weights of the fusion are fitted on held-out data and ship with the model's adapter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reason_iad.errors import ModelError
from reason_iad.evidence.significance import judge, share_of_normals
from reason_iad.types import AnswerOffset, EvidenceSummary, Verdict

_EPS = 1e-4
DISAGREE = "Uncertain because model and comparison disagree"  # how a note begins, by which the record tells
FUSIONS = ("with_evidence", "one_reference", "without_evidence")


def fusion_key(num_references: int) -> str:
    """Which fusion holds: the scores against a single reference lie lower, since it shows little of what varies.

    >>> fusion_key(0), fusion_key(1), fusion_key(16)
    ('without_evidence', 'one_reference', 'with_evidence')
    """
    return "without_evidence" if num_references == 0 else "one_reference" if num_references == 1 else "with_evidence"


@dataclass(frozen=True)
class Fusion:
    """Logistic fusion of the model's answer and the evidence: p = sigmoid(bias + model * logit + evidence * logit).

    Fitted by Platt's method on data that trained neither; `note` says on which, `offset` whether what the model says
    of good parts had been subtracted.
    """

    bias: float
    model: float
    evidence: float
    note: str
    offset: bool = False

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], key: str) -> Fusion:
        """Read the fusion stored under `key`, one of `FUSIONS`.

        Raises:
            ModelError: the model's settings hold none.
        """
        try:
            record = settings["fusion"][key]  # type: ignore[index]
            bias, model, evidence = (float(record[name]) for name in ("bias", "model", "evidence"))
            return cls(bias, model, evidence, str(record["note"]), bool(record.get("offset", False)))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's settings hold no fusion {key!r}; reinstall the package") from error

    def probability(self, model: float, evidence: float | None) -> float:
        """Probability of a defect from the model's and, where there is one, the anomaly score; all in [0, 1]."""
        total = self.bias + self.model * logit(model)
        if evidence is not None:
            total += self.evidence * logit(evidence)
        return sigmoid(total)

    def alone(self, model: float, evidence: float | None) -> tuple[float, float] | None:
        """What model and evidence would each say had the other said nothing; None where only one of them spoke."""
        return None if evidence is None else (self.probability(model, 0.5), self.probability(0.5, evidence))


EVIDENCE_ALONE = Fusion(0.0, 0.0, 1.0, "no model was asked: the anomaly score itself, 0.5 for one good part in twenty")
UNCALIBRATED = Fusion(0.0, 1.0, 1.0, "not calibrated for this model: the mean of the log-odds of model and evidence")


@dataclass(frozen=True)
class VerdictOptions:
    """Where "uncertain" begins and ends."""

    max_overkill: float  # share of good parts that may be stopped
    lower: float = 0.35  # at or below: normal
    upper: float = 0.65  # at or above: defective


def decide(
    probability: float,
    evidence: EvidenceSummary | None,
    options: VerdictOptions,
    alone: tuple[float, float] | None = None,
    unsuitable: str | None = None,
    asked: bool = True,
) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict and, where it is uncertain, why.

    The comparison judges first, at the false-alarm rate asked for (see `evidence.significance`); a model that does not
    agree makes the verdict uncertain, never the opposite. Without a comparison the probability alone decides.

    Args:
        probability: of a defect, from model and evidence together.
        evidence: the comparison, where there was one.
        options: where "uncertain" begins and ends.
        alone: what model and evidence would each say by itself, see `Fusion.alone`.
        unsuitable: why the image is no picture of the product; None where it is one.
        asked: whether a model had a say; where none had, the comparison decides alone.
    """
    if unsuitable is not None:
        return "uncertain", (f"Uncertain because {unsuitable}; take the picture again, or check what it shows.",)
    told = _of(probability, options)
    seen = told if evidence is None else judge(_share(evidence, options), options.max_overkill)
    told = told if asked else seen
    if alone is not None and min(alone) <= options.lower and max(alone) >= options.upper:
        said = (f"the model alone would say {alone[0]:.2f}", f"the comparison with good parts alone {alone[1]:.2f}")
        return "uncertain", (f"{DISAGREE}: {', '.join(said)}; look at the part.",)
    if evidence is not None and seen == "uncertain":
        reason = (
            f"about {_share(evidence, options):.1%} of good parts look at least this odd, as far as references tell: "
            f"more than {options.max_overkill:.1%}, the false-alarm rate asked for, and too few to call it normal"
        )
        return "uncertain", (f"Uncertain because {reason}.",)
    if told == seen and told != "uncertain":
        return seen, ()
    reason = f"the probability of a defect ({probability:.2f}) lies between {options.lower} and {options.upper}"
    if told != "uncertain":
        reason = f"the comparison with good parts says {seen}, with the model it is {told} ({probability:.2f})"
    return "uncertain", (f"Uncertain because {reason}; look at the part, or give more normal references.",)


def _of(probability: float, options: VerdictOptions) -> Verdict:
    """What a probability says by itself."""
    if probability <= options.lower:
        return "normal"
    return "defective" if probability >= options.upper else "uncertain"


def _share(evidence: EvidenceSummary, options: VerdictOptions) -> float:
    """Share of good parts at least as odd as the image."""
    score, rank = evidence.anomaly_score, evidence.p_value
    return share_of_normals(score, rank, evidence.num_normals, options.max_overkill)


def logit(p: float) -> float:
    """Log-odds of a probability, kept finite.

    >>> logit(0.5)
    0.0
    """
    p = min(max(p, _EPS), 1 - _EPS)
    return math.log(p / (1 - p))


def sigmoid(odds: float) -> float:
    """Probability of log-odds, the inverse of `logit`; those beyond 30 are taken as 30.

    >>> sigmoid(0.0), round(sigmoid(logit(0.2)), 6)
    (0.5, 0.2)
    """
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


def less(model: float, offset: AnswerOffset | None) -> float:
    """A model's probability of a defect, less what it says of good parts.

    >>> less(0.5, None), round(less(0.9, AnswerOffset((2.2, 2.2), 2.2)), 2)
    (0.5, 0.5)
    """
    return model if offset is None else sigmoid(logit(model) - offset.mean)
