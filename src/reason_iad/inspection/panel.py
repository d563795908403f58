"""A panel: several models and the comparison with good parts answer, each weighs as much as it has shown to deserve.

No label is needed; `panel_weights` says how. The votes on one image are read off the models' reports and joined into
one report that says who said what.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from reason_iad.files import sha256_of_json
from reason_iad.inspection.dialog import relative_entropy
from reason_iad.inspection.offset import COPIES
from reason_iad.inspection.panel_memory import GOOD, PanelMemory
from reason_iad.inspection.panel_weights import EVIDENCE, Agreed, Votes, Weights
from reason_iad.inspection.session import DETECTION, DETECTION_QUESTION, YES
from reason_iad.inspection.verdict import VerdictOptions, decide, less, sigmoid
from reason_iad.types import Answer, AnswerOffset, InspectionReport, OptionProbability, ServerCost, Voice


def join_defect(votes: Mapping[str, float], weights: Weights) -> tuple[float, dict[str, float]]:
    """Probability of a defect from those of the voices; and what each vote is worth, in log-odds."""
    worth = weights.worth(votes)
    return sigmoid(math.fsum(worth.values())), worth


def join_options(votes: Votes, agreed: Agreed) -> tuple[tuple[float, ...], dict[str, float]]:
    """Probabilities of options from those of the voices; and the weight of each."""
    size = len(next(iter(votes.values())))
    worth = {name: agreed.of(name).worth(size) for name in votes}
    if not any(worth.values()):
        worth = dict.fromkeys(votes, 1.0)
    most = max(worth.values())
    logs = sum(
        worth[name] / most * np.log(np.maximum(np.asarray(probabilities, dtype=float), 1e-6))
        for name, probabilities in votes.items()
    )
    joined = np.exp(logs - np.max(logs))
    return tuple(float(p) for p in joined / joined.sum()), worth


def defect_votes(reports: Mapping[str, InspectionReport]) -> dict[str, float]:
    """What each model, less what it says of good parts, and the evidence say of a defect."""
    votes: dict[str, float] = {}
    for name, report in reports.items():
        said = next((a for a in report.answers if a.question == DETECTION_QUESTION and a.options), None)
        if said is not None:
            yes = next(o.probability for o in said.options if o.text == YES)
            votes[name] = less(yes, report.offset)
    evidence = next((report.evidence for report in reports.values()), None)
    if votes and evidence is not None:
        votes[EVIDENCE] = evidence.anomaly_score
    return votes


def good_votes(offsets: Mapping[str, AnswerOffset | None]) -> Iterator[tuple[str, dict[str, float]]]:
    """What every model and the comparison say of known good parts, each less what is said of the others.

    Altered copies of a single good part are none: they are more alike than two parts.

    Args:
        offsets: by model; of the same good parts, or None.

    Yields:
        What tells a part from others, and the probabilities of a defect.
    """
    known = {name: one for name, one in offsets.items() if one is not None and len(one.scores) > COPIES}
    scores = next((one.scores for one in known.values()), ())
    parts = sha256_of_json(list(scores))[:16]
    for number, score in enumerate(scores):
        votes = {EVIDENCE: score}
        for name, one in known.items():
            if one.scores == scores:
                odds, others = one.log_odds[number], len(scores) - 1
                votes[name] = sigmoid(odds - (math.fsum(one.log_odds) - odds) / others)
        yield f"{parts} {number}", votes


def remember(reports: Mapping[str, InspectionReport], memory: PanelMemory) -> None:
    """Let the votes on one image count in the weights."""
    votes, image = defect_votes(reports), next(iter(reports.values())).image_sha256
    if len(votes) > 1:
        memory.add(DETECTION, image, {name: [p, 1 - p] for name, p in votes.items()})
    for item, spared in good_votes({name: report.offset for name, report in reports.items()}):
        memory.add(GOOD, item, {name: [p, 1 - p] for name, p in spared.items()})
    asked = {a.question: [o.text for o in a.options] for r in reports.values() for a in r.answers if a.options}
    for question, texts in asked.items():
        said = said_of(question, texts, reports)
        if question != DETECTION_QUESTION and len(said) > 1:
            memory.add(question, image, said)


def said_of(question: str, texts: Sequence[str], reports: Mapping[str, InspectionReport]) -> dict[str, list[float]]:
    """Probabilities that the models gave the options of a question, of those that were asked it so."""
    said = {}
    for name, report in reports.items():
        same = next((a for a in report.answers if a.question == question), None)
        if same is not None and [option.text for option in same.options] == list(texts):
            said[name] = [option.probability for option in same.options]
    return said


def combine(reports: Mapping[str, InspectionReport], memory: PanelMemory, max_overkill: float) -> InspectionReport:
    """One report of those that the models of a panel made of the same image.

    The words are those of the weightiest model that came to the panel's verdict.

    Args:
        reports: by name of the model; the evidence in them is the same.
        memory: of the panel.
        max_overkill: share of good parts that may be called defective.
    """
    votes = defect_votes(reports)
    names = list(reports)
    if not votes:  # the comparison cleared the part: no model was asked
        return reports[names[0]]
    weights = memory.on_defects(votes)
    probability, worth = join_defect(votes, weights)
    first = reports[names[0]]
    apart = None
    if EVIDENCE in votes:
        models = [name for name in votes if name != EVIDENCE]
        apart = (sigmoid(math.fsum(worth[name] for name in models)), sigmoid(worth[EVIDENCE]))
    unsuitable = None if first.evidence is None else first.evidence.unsuitable
    verdict, reasons = decide(probability, first.evidence, VerdictOptions(max_overkill), apart, unsuitable)
    ranked = sorted((name for name in names if name in votes), key=lambda name: -weights.merit(name))
    agreeing = [name for name in ranked if reports[name].verdict == verdict]
    base = reports[(agreeing or [name for name in ranked if reports[name].verdict != "normal"] or ranked)[0]]
    said = ", ".join(f"{name} {p:.2f} (worth {worth[name]:+.1f})" for name, p in votes.items())
    absent = [name for name in names if name not in votes]
    notes = [note for note in base.notes if all(note in report.notes for report in reports.values())]
    if base.faithfulness is not None:
        words = next(name for name, report in reports.items() if report is base)
        notes.append(f"How faithful the answer is was measured on that of {words} alone, whose words these are.")
    return dataclasses.replace(
        base,
        verdict=verdict,
        probability=probability,
        probability_note=f"a panel of {', '.join(votes)}; {weights.how}",
        answers=tuple(_joined(answer, reports, memory, votes, probability) for answer in base.answers),
        notes=(*notes, *reasons, f"The panel on a defect: {said}.", *(f"{name} gave no answer." for name in absent)),
        versions={key: value for report in reports.values() for key, value in report.versions.items()},
        milliseconds=_added(reports),
        cost=_spent(reports),
    )


def _added(reports: Mapping[str, InspectionReport]) -> dict[str, float]:
    total: dict[str, float] = {}
    for report in reports.values():
        for stage, spent in report.milliseconds.items():
            total[stage] = round(total.get(stage, 0.0) + spent, 1)
    return total


def _spent(reports: Mapping[str, InspectionReport]) -> ServerCost | None:
    """What all models on servers were asked; None where no model is on one."""
    costs = [report.cost for report in reports.values() if report.cost is not None]
    return sum(costs[1:], costs[0]) if costs else None


def _joined(
    answer: Answer,
    reports: Mapping[str, InspectionReport],
    memory: PanelMemory,
    votes: Mapping[str, float],
    probability: float,
) -> Answer:
    """An answer with everybody's voice; one in free words stays as it is."""
    if not answer.options:
        return answer
    if answer.question == DETECTION_QUESTION:
        worth = memory.on_defects(votes).worth(votes)
        voices = tuple(Voice(name, (p, 1 - p), round(worth[name], 3)) for name, p in votes.items())
        return _with(answer, (probability, 1 - probability), voices)
    said = said_of(answer.question, [option.text for option in answer.options], reports)
    found, worth = join_options(said, memory.agreed(answer.question))
    return _with(answer, found, tuple(Voice(n, tuple(p), round(worth[n], 3)) for n, p in said.items()))


def _with(answer: Answer, found: Sequence[float], voices: tuple[Voice, ...]) -> Answer:
    pairs = tuple(OptionProbability(option.text, float(p)) for option, p in zip(answer.options, found, strict=True))
    best = max(pairs, key=lambda pair: pair.probability)
    return dataclasses.replace(
        answer, text=best.text, options=pairs, entropy=relative_entropy(tuple(found)), voices=voices
    )
