"""What a run's records say: accuracy by type with intervals, under both scoring rules; detection; cost; honesty.

Every figure carries its interval and n. Questions that ended in an error are unreadable: they count as wrong in the
strict rule and are listed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from reason_iad.benchmark.plan import MISSING
from reason_iad.benchmark.record_log import Record
from reason_iad.datasets.mmad import TYPES
from reason_iad.errors import InputError
from reason_iad.metrics.classification import auroc, balanced_accuracy, expected_calibration_error, miss, overkill
from reason_iad.metrics.intervals import Estimate, bootstrap, share
from reason_iad.metrics.multiple_choice import GivenAnswer, OfficialScores, official_scores
from reason_iad.metrics.paired import clustered_macro


@dataclass(frozen=True)
class DetectionSummary:
    """Detection from the option probabilities; a probability above 0.5 calls a part defective."""

    balanced: float
    overkill: float
    miss: float
    auroc: Estimate
    ece: float
    num_normal: int
    num_defective: int
    model_auroc: float  # of the model's answer alone
    evidence_auroc: float | None  # of the comparison alone


@dataclass(frozen=True)
class CostSummary:
    """Milliseconds a question, each image's own cost shared among its questions."""

    total: float
    stages: Mapping[str, float]


@dataclass(frozen=True)
class ThoughtSummary:
    """What latent reasoning did to the plain answers."""

    changed: int
    right_before: int  # of the changed ones
    right_after: int
    stopped: Mapping[str, int]


@dataclass(frozen=True)
class CalibrationSummary:
    """Expected calibration error of the most likely option: is a probability of 0.7 right in seven of ten cases?"""

    model: float  # as the model says it
    stated: float  # as it is reported: tempered by type, detection fused with the evidence
    n: int


@dataclass(frozen=True)
class Summary:
    """All figures of one run, or of a part of it."""

    n: int
    images: int
    unreadable: tuple[str, ...]  # ids of the questions
    accuracy: Mapping[str, Estimate]  # by type, strict
    macro: Estimate  # mean over the types, strict
    official: OfficialScores
    detection: DetectionSummary | None
    cost: CostSummary | None
    thought: ThoughtSummary
    calibration: Mapping[str, CalibrationSummary]  # by type, and over all as "all"

    def to_json(self) -> dict[str, Any]:
        """Plain values for --json: `accuracy` per type, `macro`, `n`, `unreadable`, and the rest."""
        accuracy = {kind: round(one.value, 6) for kind, one in self.accuracy.items()}
        found: dict[str, Any] = {
            "accuracy": accuracy,
            "macro": round(self.macro.value, 6),
            "n": self.n,
            "unreadable": len(self.unreadable),
            "images": self.images,
            "intervals": {kind: _interval(one) for kind, one in self.accuracy.items()},
            "counts": {kind: one.n for kind, one in self.accuracy.items()},
            "macro_interval": _interval(self.macro),
            "unreadable_ids": list(self.unreadable),
            "official": {
                "average": round(self.official.average, 4),
                "types": {kind: round(value, 4) for kind, value in self.official.types.items()},
            },
            "calibration": {kind: vars(one) for kind, one in self.calibration.items()},
            "thought": {**vars(self.thought), "stopped": dict(self.thought.stopped)},
        }
        if self.cost is not None:
            found["milliseconds"] = {"total": self.cost.total, **self.cost.stages}
        if self.detection is not None:
            area = self.detection.auroc
            found["detection"] = {**vars(self.detection), "auroc": area.value, "auroc_interval": _interval(area)}
        return found


def summarize(records: Sequence[Record]) -> Summary:
    """Summarize the records of a run, errors included.

    Raises:
        InputError: there is none.
    """
    if not records:
        raise InputError("there are no records; expected at least one question: run the benchmark first")
    given = [given_answer(record) for record in records]
    kinds = sorted({answer.kind for answer in given}, key=_type_order)
    accuracy = {}
    for kind in kinds:
        mine = [answer for answer in given if answer.kind == kind]
        accuracy[kind] = share(sum(answer.right for answer in mine), len(mine))
    answered = [record for record in records if "error" not in record]
    images = [cluster_of(record) for record in records]
    return Summary(
        n=len(records),
        images=len(set(images)),
        unreadable=tuple(record["id"] for record in records if "error" in record),
        accuracy=accuracy,
        macro=clustered_macro([answer.right for answer in given], [answer.kind for answer in given], images, 1000),
        official=official_scores(given),
        detection=_detection(answered),
        cost=_cost(answered),
        thought=_thought(answered),
        calibration=_calibration(answered, kinds),
    )


def split_by_category(records: Sequence[Record], seen: Collection[str]) -> dict[str, list[Record]]:
    """Records of categories that the shipped weights may have been trained on, and of the others."""
    parts: dict[str, list[Record]] = {"seen": [], "unseen": []}
    for record in records:
        parts["seen" if record["category"] in seen else "unseen"].append(record)
    return {name: part for name, part in parts.items() if part}


def cluster_of(record: Record) -> str:
    """What stands or falls together: the image by its content, so that a copy under another name is no new one."""
    found = str(record.get("image_sha256", ""))
    return str(record["image"]) if found in ("", MISSING) else found


def given_answer(record: Record) -> GivenAnswer:
    """A record as it is scored."""
    given = None if "error" in record else ascii_uppercase[record["answer"]]
    return GivenAnswer(record["image"], record["dataset"], record["type"], ascii_uppercase[record["target"]], given)


def is_right(record: Record) -> bool:
    """Whether a question was answered right; an error is wrong."""
    return bool(record.get("answer", -1) == record["target"])


def log_of_right(record: Record) -> float:
    """Log-probability that was given to the right option, at least that of one in a million."""
    return math.log(max(float(record["probabilities"][record["target"]]), 1e-6))


def question_cost(record: Record) -> dict[str, float]:
    """Milliseconds of one question by stage, with its share of what the questions of its image have in common."""
    stages = {name: value / record["questions"] for name, value in record["image_milliseconds"].items()}
    return {**stages, **record["milliseconds"]}


def _detection(records: Sequence[Record]) -> DetectionSummary | None:
    asked = [record for record in records if record["yes"] is not None]
    truth = [record["target"] == record["yes"] for record in asked]
    if len(set(truth)) < 2:
        return None
    fused = [record["probabilities"][record["yes"]] for record in asked]
    found = [probability > 0.5 for probability in fused]
    area = bootstrap(range(len(asked)), lambda i: auroc([truth[j] for j in i], [fused[j] for j in i]), 500)
    evidence = [record["evidence"] for record in asked]
    return DetectionSummary(
        balanced=balanced_accuracy(truth, found),
        overkill=overkill(truth, found),
        miss=miss(truth, found),
        auroc=area,
        ece=expected_calibration_error(truth, fused),
        num_normal=truth.count(False),
        num_defective=truth.count(True),
        model_auroc=auroc(truth, [record["model"][record["yes"]] for record in asked]),
        evidence_auroc=None if None in evidence else auroc(truth, evidence),
    )


def _calibration(records: Sequence[Record], kinds: Sequence[str]) -> dict[str, CalibrationSummary]:
    found = {}
    for kind in (*kinds, "all"):
        mine = [record for record in records if kind in (record["type"], "all")]
        if mine:
            stated = _confidence_error(mine, "probabilities")
            found[kind] = CalibrationSummary(_confidence_error(mine, "model"), stated, len(mine))
    return found


def _confidence_error(records: Sequence[Record], field: str) -> float:
    right = [_pick(record[field]) == record["target"] for record in records]
    return expected_calibration_error(right, [max(record[field]) for record in records])


def _cost(records: Sequence[Record]) -> CostSummary | None:
    if not records:
        return None
    stages: Counter[str] = Counter()
    for record in records:
        stages.update(question_cost(record))
    means = {name: round(value / len(records), 1) for name, value in stages.items()}
    return CostSummary(round(sum(means.values()), 1), means)


def _thought(records: Sequence[Record]) -> ThoughtSummary:
    changed = [record for record in records if _pick(record["base"]) != _pick(record["model"])]
    return ThoughtSummary(
        changed=len(changed),
        right_before=sum(_pick(record["base"]) == record["target"] for record in changed),
        right_after=sum(_pick(record["model"]) == record["target"] for record in changed),
        stopped=dict(Counter(record["stopped"] for record in records)),
    )


def _pick(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _interval(one: Estimate) -> list[float]:
    return [round(one.low, 6), round(one.high, 6)]


def _type_order(kind: str) -> tuple[int, str]:
    return (TYPES.index(kind) if kind in TYPES else len(TYPES), kind)
