"""Fit the weights of what speaks for an option to questions with known answers, type by type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from reason_iad.calibration.fusion import LEAST
from reason_iad.calibration.rows import Row, RowFile
from reason_iad.datasets.mmad import MmadQuestions, MmadSample
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.files import sha256_of_json
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.option_fusion import ANY_KIND, OptionFusion, OptionWeights, Spoken, fit_weights
from reason_iad.inspection.session import DETECTION, Session
from reason_iad.metrics.classification import expected_calibration_error
from reason_iad.metrics.intervals import Estimate, bootstrap, share
from reason_iad.types import InspectionRequest

OF_THE_IMAGE = ("Defect Localization", "Defect Description")  # product knowledge has nothing to say on these


@dataclass(frozen=True)
class FittedKind:
    """Weights of one type of question, and what they bring on images that the fit did not see."""

    kind: str
    weights: OptionWeights
    accuracy: tuple[Estimate, Estimate]  # of the model alone, and joined
    calibration_error: tuple[Estimate, Estimate]
    n: int

    @property
    def temperature(self) -> float:
        """By which the model's log-probabilities are divided."""
        return round(1 / self.weights.model, 3)


def ask_questions(
    inspector: Inspector,
    questions: MmadQuestions,
    kept: RowFile,
    shots: int = 1,
    limit: int | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[str, ...]:
    """Ask about every image whose questions were not asked yet; gives what could not be asked, in words.

    Args:
        inspector: without a fit of the model.
        questions: with their answers.
        kept: rows of earlier calls, and of this one.
        shots: references of each image.
        limit: only so many images, spread over the file.
        say: told how far it is.

    Raises:
        ModelError: the model does not answer; what was answered is kept.
    """
    say = say or (lambda _: None)
    inspector = inspector.with_options(replace(inspector.options, offset="on"))
    done = {row["name"] for row in kept.rows if "kind" in row}
    left_out, samples = [], list(questions.samples)
    if limit is not None and limit < len(samples):
        samples = [samples[index * len(samples) // limit] for index in range(limit)]
    for sample in samples:
        if sample.id in done:
            continue
        try:
            references = sample.templates("random", shots)
            session = inspector.open(InspectionRequest(sample.image, references=references))
        except ReasonIADError as error:
            left_out.append(f"{sample.name}: {error}")
            continue
        rows = [_row(session, sample, number, len(references)) for number in range(len(sample.questions))]
        for row in rows:  # all of an image at once, so that none is left half asked
            kept.add(row)
        say(f"{len(kept.rows)} answers: {sample.name}")
    return tuple(left_out)


def _row(session: Session, sample: MmadSample, number: int, references: int) -> Row:
    question = sample.questions[number]
    reply = session.dialog.choose(question.question, question.options)
    texts = [option.text for option in reply.answer.options]
    summary, closed = session.context.summary, question.yes is not None
    silent = [0.0] * len(texts)
    row: Row = {
        "group": sample.category, "name": sample.id, "references": references, "unit": sample.name,
        "kind": question.kind, "target": question.target,
        "options": [round(option.probability, 7) for option in reply.answer.options],
        "evidence": silent if closed else list(session.measured(texts)),
        "knowledge": silent if closed else list(session.known(question.question, texts)),
        "excluded": silent if closed else list(session.unlike(question.question, texts)),
    }  # fmt: skip
    if question.yes is not None:
        row |= {
            "defective": question.target == question.yes,
            "model": round(reply.answer.options[question.yes].probability, 7),
            "score": 0.5 if summary is None else round(summary.anomaly_score, 6),
            "offset": None if (offset := session.offset()) is None else offset.mean,
        }
    return row


def spoken_of(row: Row) -> Spoken:
    """What speaks for the options of a kept question."""
    return Spoken(row["options"], row["evidence"], row["knowledge"], row["excluded"])


def fit_kinds(rows: Sequence[Row]) -> list[FittedKind]:
    """Weights for each type of question; types with few questions are drawn to those of all.

    Raises:
        InputError: there are fewer than `LEAST` questions.
    """
    asked = [row for row in rows if "kind" in row]
    pooled = [row for row in asked if row["kind"] != DETECTION]
    if len(asked) < LEAST:
        raise InputError(f"found {len(asked)} questions; expected at least {LEAST}: add some")
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in asked:
        by_kind[row["kind"]].append(row)
    common = _weights(pooled, OptionWeights()) if pooled else OptionWeights()
    found = [_fitted(ANY_KIND, pooled, None)] if pooled else []
    for kind, mine in sorted(by_kind.items()):
        prior = common
        if kind in OF_THE_IMAGE:
            prior = OptionWeights(common.model, common.evidence)
        found.append(_fitted(kind, mine, prior))
    return found


def _weights(rows: Sequence[Row], prior: OptionWeights | None) -> OptionWeights:
    return fit_weights([(spoken_of(row), row["target"]) for row in rows], prior)


def _fitted(kind: str, rows: Sequence[Row], prior: OptionWeights | None) -> FittedKind:
    weights = _weights(rows, prior)
    if kind == DETECTION:
        weights = OptionWeights(weights.model)  # fused with the anomaly score instead
    half = [int(sha256_of_json(str(row["name"]))[0], 16) % 2 for row in rows]
    parts = [_weights([r for r, h in zip(rows, half, strict=True) if h != part], prior) for part in (0, 1)]
    plain = [spoken_of(row).joined(OptionWeights()) for row in rows]
    joined = [spoken_of(row).joined(parts[h]) for row, h in zip(rows, half, strict=True)]
    measured = [_measured(rows, one) for one in (plain, joined)]
    return FittedKind(kind, weights, (measured[0][0], measured[1][0]), (measured[0][1], measured[1][1]), len(rows))


def _measured(rows: Sequence[Row], said: Sequence[Sequence[float]]) -> tuple[Estimate, Estimate]:
    right = np.array([int(np.argmax(p)) == row["target"] for row, p in zip(rows, said, strict=True)])
    sure = np.array([max(p) for p in said])
    error = bootstrap(
        range(len(rows)), lambda index: expected_calibration_error(right[index].tolist(), sure[index].tolist()), 500
    )
    return share(int(right.sum()), len(right)), error


def settings_of(fitted: Sequence[FittedKind], looks: Mapping[str, Any] | None) -> dict[str, Any]:
    """As `OptionFusion.from_settings` reads it.

    Args:
        fitted: weights by type of question.
        looks: how reliable measured looks are, which is a fact of the evidence and the same for every model.
    """
    stored = {"weights": {one.kind: asdict(one.weights) for one in fitted}, "looks": looks}
    OptionFusion.from_settings({"options": stored})  # what cannot be read back is not written
    return stored
