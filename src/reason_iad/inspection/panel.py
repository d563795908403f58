"""A panel: several models and the evidence answer, each weighs as much as its agreement with the others deserves.

No label is needed: how often an annotator is right is told from agreement alone, for each type of question apart
(`metrics.agreement`). For "is there a defect" each has a share of defects that it finds and of good parts that it
spares; of other questions it names the right option with some probability. A vote counts as its log-likelihood ratio,
more or less as the annotator is surer than it usually is; annotators that err together share their weight.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reason_iad.errors import InputError
from reason_iad.files import home, sha256_of_json, write_whole
from reason_iad.inspection.dialog import relative_entropy
from reason_iad.inspection.session import DETECTION, DETECTION_QUESTION, YES
from reason_iad.inspection.verdict import VerdictOptions, decide, less, logit
from reason_iad.metrics.agreement import dawid_skene, one_coin, shared_errors
from reason_iad.types import Answer, InspectionReport, OptionProbability, ServerCost, Voice

EVIDENCE = "the comparison with good parts"
ENOUGH = 20  # items that two or more voted on, from which weights are told
MAX_KEPT = 2000  # items of a type that are remembered
ALIKE = 0.90  # correlation of log-odds from which annotators are one voice, where three voices are left
COPIES = 0.98  # and from which they are one whatever is left: two that agree as a matter of course prove nothing
_USUAL = 0.75  # how often an annotator is taken to be right before that is known
_SUREST = 2.0  # times its usual sureness, beyond which more counts no more

Votes = Mapping[str, Sequence[float]]  # probabilities of the options, by annotator


@dataclass(frozen=True)
class Weight:
    """What one annotator's vote is worth in one type of question."""

    found: float  # share of true defects that it calls one, or of questions that it is right on
    spared: float  # share of good parts that it calls good; the same where there is no such thing
    sureness: float  # median of the log-odds of its vote, regardless of sign
    share: float = 1.0  # of its weight that it keeps beside others that err as it does

    def evidence_for(self, probability: float) -> float:
        """Log-odds that its probability of a defect is worth."""
        odds = logit(probability)
        votes = self.found / (1 - self.spared) if odds >= 0 else (1 - self.found) / self.spared
        strength = min(abs(odds) / max(self.sureness, 1e-6), _SUREST)
        return self.share * strength * math.log(votes)

    def worth(self, size: int) -> float:
        """Log-likelihood ratio of a vote for one of `size` options."""
        return self.share * max(0.0, math.log(self.found * (size - 1) / (1 - self.found)))


UNKNOWN = Weight(_USUAL, _USUAL, 1.0)


@dataclass
class PanelMemory:
    """Votes that a panel has cast, by type of question, and the weights that follow; kept in a file.

    Attributes:
        path: of the file; None keeps nothing.
        votes: by type, by item, the probabilities of each annotator.

    Several processes may remember for the same panel: what each adds is joined with what is on disk.
    """

    path: Path | None = None
    votes: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    _weights: dict[str, dict[str, Weight]] = field(default_factory=dict)
    _new: list[tuple[str, str, dict[str, list[float]]]] = field(default_factory=list)  # not yet on disk

    @classmethod
    def of(cls, fingerprints: Mapping[str, str]) -> PanelMemory:
        """What is remembered of a panel.

        Args:
            fingerprints: of its models, by name.

        Raises:
            InputError: the file is damaged.
        """
        path = home() / "panels" / f"{sha256_of_json(sorted(fingerprints.items()))[:16]}.json"
        return cls(path, _votes_in(path))

    def add(self, kind: str, item: str, votes: Votes) -> None:
        """Remember the votes on an item, those of an earlier time replaced."""
        mine = {name: [round(float(p), 5) for p in probabilities] for name, probabilities in votes.items()}
        self._new.append((kind, item, mine))
        self._put(kind, item, mine)

    def save(self) -> None:
        """Write what is remembered, beside what other processes have added since.

        Raises:
            InputError: the file is damaged.
            OSError: it cannot be written.
        """
        import filelock

        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_suffix(".lock")):
            self.votes, self._weights = _votes_in(self.path), {}
            for kind, item, votes in self._new:
                self._put(kind, item, votes)
            write_whole(self.path, json.dumps(self.votes), durable=False)
        self._new.clear()

    def _put(self, kind: str, item: str, votes: dict[str, list[float]]) -> None:
        mine = self.votes.setdefault(kind, {})
        mine.pop(item, None)
        mine[item] = votes
        while len(mine) > MAX_KEPT:
            mine.pop(next(iter(mine)))
        self._weights.pop(kind, None)

    def count(self, kind: str) -> int:
        """Items of a type on which two or more voted."""
        return sum(len(votes) > 1 for votes in self.votes.get(kind, {}).values())

    def weights(self, kind: str) -> Mapping[str, Weight]:
        """Of each annotator; those that are not known, or of too few items, are as good as any."""
        if kind not in self._weights:
            shared = [votes for votes in self.votes.get(kind, {}).values() if len(votes) > 1]
            self._weights[kind] = {} if len(shared) < ENOUGH else weigh(kind, shared)
        return self._weights[kind]


def _votes_in(path: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The votes in a file; none where there is no file."""
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {k: {i: {a: list(map(float, p)) for a, p in v.items()} for i, v in kept[k].items()} for k in kept}
    except (OSError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); remove it: the panel then begins anew") from error


def weigh(kind: str, items: Sequence[Votes]) -> dict[str, Weight]:
    """Weights of annotators from their agreement on items of one type; none from fewer than three different voices.

    Annotators that say nearly the same are one voice first: agreement with one's own copy proves nothing.
    """
    names = sorted({name for votes in items for name in votes})
    groups = _alike(names, items)
    if len(groups) < 3:
        return {}  # of two that differ nobody can tell which is right
    votes = np.full((len(items), len(groups)), -1)
    for row, item in enumerate(items):
        for column, group in enumerate(groups):
            if said := [item[name] for name in group if name in item]:
                votes[row, column] = int(np.mean(said, axis=0).argmax())
    if kind == DETECTION:
        found = dawid_skene(votes, 2, smoothing=1.0)
        posteriors, tables = found.posteriors, found.confusion
        rates = [(float(table[0, 0]), float(table[1, 1])) for table in tables]  # option 0 says that there is a defect
    else:
        coins = one_coin(votes, [len(next(iter(item.values()))) for item in items])
        posteriors, rates = coins.posteriors, [(float(r), float(r)) for r in coins.right]
    errors = np.clip(shared_errors(votes, posteriors), 0.0, None).sum(1)
    weights = {}
    for (found_share, spared), error, group in zip(rates, errors, groups, strict=True):
        for name in group:
            sure = [abs(logit(max(item[name]))) for item in items if name in item]
            share = 1 / (len(group) * (1 + float(error)))
            weights[name] = Weight(_inside(found_share), _inside(spared), float(np.median(sure)), share)
    return weights


def _alike(names: Sequence[str], items: Sequence[Votes]) -> list[list[str]]:
    """Annotators in groups of one voice each: whose log-odds of the first option go up and down together.

    The most alike are joined first, as long as three voices are left to tell weights from; copies are joined even so.
    """
    odds = np.array([[logit(item[name][0]) if name in item else math.nan for item in items] for name in names])
    likeness = {(i, j): _correlation(odds[i], odds[j]) for i in range(len(names)) for j in range(len(names)) if i < j}
    groups = [[index] for index in range(len(names))]
    for pair in sorted(likeness, key=lambda pair: -likeness[pair]):
        one, other = (next(group for group in groups if index in group) for index in pair)
        least = min((likeness[min(i, j), max(i, j)] for i in one for j in other if i != j), default=1.0)
        if one is not other and least > (ALIKE if len(groups) > 3 else COPIES):
            groups = [group for group in groups if group not in (one, other)] + [one + other]
    return [[names[index] for index in sorted(group)] for group in sorted(groups)]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the items that both voted on; 0 where these are few, or one always says the same."""
    both = ~np.isnan(one) & ~np.isnan(other)
    if both.sum() < ENOUGH or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _inside(rate: float) -> float:
    return min(max(rate, 0.02), 0.98)


def join_defect(votes: Mapping[str, float], weights: Mapping[str, Weight]) -> tuple[float, dict[str, float]]:
    """Probability of a defect from those of the annotators; and what each vote is worth, in log-odds."""
    worth = {name: weights.get(name, UNKNOWN).evidence_for(p) for name, p in votes.items()}
    total = math.fsum(worth.values())
    return 1 / (1 + math.exp(-total)), worth


def join_options(votes: Votes, weights: Mapping[str, Weight]) -> tuple[tuple[float, ...], dict[str, float]]:
    """Probabilities of options from those of the annotators; and the weight of each."""
    size = len(next(iter(votes.values())))
    worth = {name: weights.get(name, UNKNOWN).worth(size) for name in votes}
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


def remember(reports: Mapping[str, InspectionReport], memory: PanelMemory) -> None:
    """Let the votes on one image count in the weights."""
    votes, image = defect_votes(reports), next(iter(reports.values())).image_sha256
    if len(votes) > 1:
        memory.add(DETECTION, image, {name: [p, 1 - p] for name, p in votes.items()})
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
    weights = memory.weights(DETECTION)
    probability, worth = join_defect(votes, weights)
    first = reports[names[0]]
    apart = None
    if EVIDENCE in votes:
        models = {name: p for name, p in votes.items() if name != EVIDENCE}
        apart = (join_defect(models, weights)[0], join_defect({EVIDENCE: votes[EVIDENCE]}, weights)[0])
    unsuitable = None if first.evidence is None else first.evidence.unsuitable
    verdict, reasons = decide(probability, first.evidence, VerdictOptions(max_overkill), apart, unsuitable)
    ranked = sorted((name for name in names if name in votes), key=lambda name: -_quality(weights.get(name, UNKNOWN)))
    agreeing = [name for name in ranked if reports[name].verdict == verdict]
    base = reports[(agreeing or [name for name in ranked if reports[name].verdict != "normal"] or ranked)[0]]
    known = memory.count(DETECTION)
    how = (
        f"weights from the agreement of {known:,} images, without labels (Dawid and Skene)"
        if weights
        else f"equal weights: {known:,} images are known, {ENOUGH} and three voices are needed to tell them apart"
    )
    said = ", ".join(f"{name} {p:.2f} (worth {worth[name]:+.1f})" for name, p in votes.items())
    absent = [name for name in names if name not in votes]
    notes = [note for note in base.notes if all(note in report.notes for report in reports.values())]
    return dataclasses.replace(
        base,
        verdict=verdict,
        probability=probability,
        probability_note=f"a panel of {', '.join(votes)}; {how}",
        answers=tuple(_joined(answer, reports, memory, votes, probability) for answer in base.answers),
        notes=(*notes, *reasons, f"The panel on a defect: {said}.", *(f"{name} gave no answer." for name in absent)),
        versions={key: value for report in reports.values() for key, value in report.versions.items()},
        milliseconds=_added(reports),
        cost=_spent(reports),
    )


def _quality(weight: Weight) -> float:
    return weight.share * (weight.found + weight.spared)


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
        _, worth = join_defect(votes, memory.weights(DETECTION))
        voices = tuple(Voice(name, (p, 1 - p), round(worth[name], 3)) for name, p in votes.items())
        return _with(answer, (probability, 1 - probability), voices)
    said = said_of(answer.question, [option.text for option in answer.options], reports)
    found, worth = join_options(said, memory.weights(answer.question))
    return _with(answer, found, tuple(Voice(n, tuple(p), round(worth[n], 3)) for n, p in said.items()))


def _with(answer: Answer, found: Sequence[float], voices: tuple[Voice, ...]) -> Answer:
    pairs = tuple(OptionProbability(option.text, float(p)) for option, p in zip(answer.options, found, strict=True))
    best = max(pairs, key=lambda pair: pair.probability)
    return dataclasses.replace(
        answer, text=best.text, options=pairs, entropy=relative_entropy(tuple(found)), voices=voices
    )
