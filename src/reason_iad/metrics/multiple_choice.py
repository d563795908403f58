"""Scoring of multiple-choice answers, strictly and as MMAD's own script does.

Strict: an answer that cannot be read counts as wrong and is listed. The official script (arXiv 2410.09453, its
`caculate_accuracy_mmad`) differs in four ways, all kept here so that published figures can be compared with:

- an answer that is not one of A to E leaves the denominator, and since it is removed from the list that the loop runs
  over, the answer after it is passed over too;
- detection is the mean of the accuracies on normal and on defective images, told apart by "good" in the path;
- a data set without questions of a type counts as 0 there;
- the average is over types within a data set, then over data sets, of which none weighs more than another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reason_iad.errors import InputError

LETTERS = "ABCDE"
DETECTION = "Anomaly Detection"
NORMAL_FLAG = "good"
_SAME_TYPE = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}


@dataclass(frozen=True)
class GivenAnswer:
    """One answer as it is scored.

    Attributes:
        image: path as the question file names it.
        dataset: its data set.
        kind: type of the question.
        target: the right letter.
        given: the letter that was answered; None where none could be read.
    """

    image: str
    dataset: str
    kind: str
    target: str
    given: str | None

    @property
    def right(self) -> bool:
        """Whether it counts as right; unreadable is wrong."""
        return self.given == self.target


def read_letter(text: str, count: int) -> str | None:
    """Read the letter of one of the first `count` options from a text, as MMAD does: the last that stands alone.

    >>> read_letter("A scratch? No: B.", 4), read_letter("I cannot say", 4), read_letter("E", 4)
    ('B', None, None)
    """
    found = re.findall(r"\b([A-E])\b", text)
    return found[-1] if found and found[-1] in tuple(LETTERS[:count]) else None


def strict_counts(answers: Sequence[GivenAnswer]) -> dict[str, tuple[int, int]]:
    """Right answers and all answers by type; unreadable ones count as wrong."""
    counts: dict[str, tuple[int, int]] = {}
    for answer in answers:
        right, total = counts.get(answer.kind, (0, 0))
        counts[answer.kind] = (right + answer.right, total + 1)
    return counts


@dataclass(frozen=True)
class OfficialScores:
    """The table that the official script prints, in percent.

    Attributes:
        accuracy: by data set, then by type.
        averages: of each data set, over its types.
        types: mean over the data sets, by type.
        average: mean of the data sets' averages.
        overkill: share of normal images called defective, mean over the data sets.
        miss: share of defective images called normal, mean over the data sets.
    """

    accuracy: dict[str, dict[str, float]]
    averages: dict[str, float]
    types: dict[str, float]
    average: float
    overkill: float
    miss: float


def official_scores(answers: Sequence[GivenAnswer], normal_flag: str = NORMAL_FLAG) -> OfficialScores:
    """Score answers, in the order of the file, as the official script does.

    Raises:
        InputError: there is no answer.
    """
    if not answers:
        raise InputError("there are no answers to score; expected at least one")
    types = list(dict.fromkeys(counted_kind(answer) for answer in answers))
    datasets = list(dict.fromkeys(answer.dataset for answer in answers))
    counted = list(_counted_officially(answers))
    accuracy: dict[str, dict[str, float]] = {}
    overkill, miss = [], []
    for dataset in datasets:
        mine = [answer for answer in counted if answer.dataset == dataset]
        accuracy[dataset] = {kind: _percent([a for a in mine if counted_kind(a) == kind]) for kind in types}
        detection = [answer for answer in mine if counted_kind(answer) == DETECTION]
        normal = _percent([answer for answer in detection if normal_flag in answer.image])
        defective = _percent([answer for answer in detection if normal_flag not in answer.image])
        if DETECTION in types:
            accuracy[dataset][DETECTION] = (normal + defective) / 2
        overkill.append(100 - normal)
        miss.append(100 - defective)
    averages = {dataset: _mean(list(row.values())) for dataset, row in accuracy.items()}
    return OfficialScores(
        accuracy,
        averages,
        {kind: _mean([row[kind] for row in accuracy.values()]) for kind in types},
        _mean(list(averages.values())),
        _mean(overkill),
        _mean(miss),
    )


def _counted_officially(answers: Sequence[GivenAnswer]) -> Iterator[GivenAnswer]:
    """What is left when unreadable answers are removed from the list that is being iterated over."""
    passed_over = False
    for answer in answers:
        if passed_over:
            passed_over = False
        elif answer.target in tuple(LETTERS) and answer.given in tuple(LETTERS):
            yield answer
        else:
            passed_over = True


def counted_kind(answer: GivenAnswer) -> str:
    """The type that an answer counts as: parts of an object count as its analysis."""
    return _SAME_TYPE.get(answer.kind, answer.kind)


def _percent(answers: Sequence[GivenAnswer]) -> float:
    return 100 * sum(answer.right for answer in answers) / len(answers) if answers else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
