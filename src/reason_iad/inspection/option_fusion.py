"""From the model's option probabilities to calibrated ones that evidence and knowledge had a say in.

    p_i ~ model_i ^ a * exp(b L_i + c K_i - d U_i)

L_i is the log-likelihood of the place and look that the evidence measured, were option i true (`evidence/claims.py`);
of an option that names a kind of defect the knowledge says how that kind looks.
K_i is how close the knowledge of the named category comes to option i (`KnowledgeBase.support`); U_i is the same of the
categories that can be recognized and were not, where none was: what only they have is unlikely. A small model reads
both in its prompt and still misses them often; said once more as numbers they cannot be missed. The weights
belong to a type of question and are fitted by maximum likelihood on data that trained nothing; 1 / a is what Guo et al.
(2017) call the temperature. A part that is switched off, or has nothing to say, is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from reason_iad.errors import ModelError
from reason_iad.evidence.claims import LookReliability, claims
from reason_iad.evidence.looks import Look
from reason_iad.inspection.question_kinds import Closest
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.knowledge.retrieve import KnowledgeBase

ANY_KIND = "any"  # of a question whose type is not known
SAME_DEFECT = 0.8  # cosine from which an option names a kind of defect that the knowledge knows


@dataclass(frozen=True)
class OptionWeights:
    """Weights of what speaks for an option; these leave it to the model alone."""

    model: float = 1.0
    evidence: float = 0.0
    knowledge: float = 0.0
    excluded: float = 0.0


@dataclass(frozen=True)
class OptionFusion:
    """Weights by type of question, and how reliable measured looks are."""

    weights: Mapping[str, OptionWeights] = field(default_factory=dict)
    looks: LookReliability | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> OptionFusion:
        """Read what is stored with a model's adapter; the model alone where there is nothing.

        Raises:
            ModelError: what is stored is not what `training.fit_options` writes.
        """
        stored = settings.get("options")
        if stored is None:
            return cls()
        try:
            weights = {
                str(kind): OptionWeights(**{name: float(value) for name, value in found.items()})
                for kind, found in stored["weights"].items()
            }
            looks = stored["looks"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError("the model's settings hold no weights of options; reinstall the package") from error
        if any(w.model <= 0 or min(w.evidence, w.knowledge, w.excluded) < 0 for w in weights.values()):
            raise ModelError("the model's settings hold weights of options under 0; reinstall the package")
        return cls(weights, LookReliability.from_settings(looks))

    def of(self, kind: str | None) -> OptionWeights:
        """Weights of a type of question; those of questions in general where it is not known."""
        return self.weights.get(kind or ANY_KIND, self.weights.get(ANY_KIND, OptionWeights()))


def measured(
    texts: Sequence[str],
    look: Look,
    score: float,
    tables: LookReliability,
    knowledge: CategoryKnowledge | None = None,
    closest: Closest | None = None,
) -> tuple[float, ...]:
    """L of each option.

    Args:
        texts: the options.
        look: what the evidence measured.
        score: anomaly score, in [0, 1].
        tables: how reliable that is.
        knowledge: says how the kinds of defects of the category look; None where it is not known.
        closest: finds the kind that an option names.
    """
    kinds = {} if knowledge is None else {defect.name: defect.look for defect in knowledge.defects}
    found = []
    for text in texts:
        said, general = text, False
        if kinds and closest is not None and not claims(text):
            nearest, cosine = closest(text.rstrip("."), list(kinds))
            if cosine >= SAME_DEFECT:
                said, general = list(kinds.values())[nearest], True
        found.append(tables.log_likelihood(said, look, score, general))
    return tuple(found)


def strongest(base: KnowledgeBase, question: str, texts: Sequence[str], categories: Sequence[str]) -> tuple[float, ...]:
    """U of each option: the largest support that the knowledge of any of these categories gives it."""
    supports = np.array([base.support(question, texts, category) for category in categories])
    return tuple(float(u) for u in supports.max(0))


@dataclass(frozen=True)
class Spoken:
    """What speaks for each of some options; the model's are probabilities, the others what the module's top names."""

    model: Sequence[float]
    evidence: Sequence[float]  # L
    knowledge: Sequence[float]  # K
    excluded: Sequence[float]  # U

    def joined(self, weights: OptionWeights) -> tuple[float, ...]:
        """Probabilities that join all of it; they sum to 1.

        >>> spoken = Spoken([0.9, 0.1], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
        >>> [round(p, 2) for p in spoken.joined(OptionWeights(model=0.5))]
        [0.75, 0.25]
        """
        logs = weights.model * np.log(np.maximum(self.model, 1e-12)) + weights.evidence * np.asarray(self.evidence)
        logs = logs + weights.knowledge * np.asarray(self.knowledge) - weights.excluded * np.asarray(self.excluded)
        joined = np.exp(logs - logs.max())
        return tuple(float(p) for p in joined / joined.sum())


def fit_weights(
    asked: Sequence[tuple[Spoken, int]], prior: OptionWeights | None = None, ridge: float = 5.0
) -> OptionWeights:
    """The weights at which right options are likeliest.

    Args:
        asked: what speaks for the options of each question, and which is right.
        prior: what few questions are drawn to (default: no pull).
        ridge: how many questions' worth of likelihood a unit of distance from it costs.
    """
    from scipy.optimize import minimize

    start = np.array([1.0, 0.5, 1.0, 1.0] if prior is None else astuple(prior))

    def loss(w: np.ndarray) -> float:
        weights = OptionWeights(*map(float, w))
        lost = -sum(np.log(max(spoken.joined(weights)[target], 1e-12)) for spoken, target in asked)
        return float(lost + (0 if prior is None else ridge * np.sum(((w - start) / np.maximum(start, 0.5)) ** 2)))

    bounds = [(0.05, 5.0), (0.0, 3.0), (0.0, 60.0), (0.0, 60.0)]
    found = minimize(loss, start, bounds=bounds, method="L-BFGS-B")
    return OptionWeights(*(round(float(v), 4) for v in found.x))
