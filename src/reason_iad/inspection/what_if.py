"""What another threshold would have meant: the verdicts of recorded parts at other false-alarm rates.

A report holds all that its verdict was decided by, so that it is decided again as `verdict.decide` did; a test compares
the two. Nothing is looked at anew: a profile that was changed since speaks as it did then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal

import numpy as np

from reason_iad.evidence.conformal import normals_needed
from reason_iad.evidence.significance import estimated_share, judge
from reason_iad.inspection.options import USUAL_OVERKILL
from reason_iad.inspection.verdict import DISAGREE, VerdictOptions, decide
from reason_iad.types import EvidenceSummary, Verdict

Truth = Literal["good", "defective"]
RATES = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2)


@dataclass(frozen=True)
class PastPart:
    """What the record knows about one inspected part.

    Attributes:
        id: of its inspection.
        at: when it came, in UTC.
        verdict: that was given.
        probability: of a defect, in [0, 1].
        evidence: the comparison with good parts; None where there was none.
        disagreed: model and comparison alone would each have decided, and differently.
        truth: what a person said it is; None where nobody did.
    """

    id: str
    at: datetime
    verdict: Verdict
    probability: float
    evidence: EvidenceSummary | None
    disagreed: bool = False
    truth: Truth | None = None

    @classmethod
    def of(
        cls, identifier: str, at: datetime, verdict: Verdict, probability: float, evidence: EvidenceSummary | None,
        notes: Sequence[str], said: str | None,
    ) -> PastPart:  # fmt: skip
        """From what a report holds, and the last thing that a person said: false_alarm, missed or confirmed."""
        confirmed: dict[Verdict, Truth] = {"normal": "good", "defective": "defective"}
        told: dict[str | None, Truth | None] = {
            "false_alarm": "good", "missed": "defective", "confirmed": confirmed.get(verdict),
        }  # fmt: skip
        disagreed = any(note.startswith(DISAGREE) for note in notes)
        return cls(identifier, at, verdict, probability, evidence, disagreed, told.get(said))

    @property
    def week(self) -> date:
        """The Monday of its week."""
        return self.at.date() - timedelta(days=self.at.weekday())

    def verdict_at(self, max_overkill: float) -> Verdict:
        """The verdict, had another false-alarm rate been asked for."""
        told, evidence = self._told, self.evidence
        if told == "uncertain" or evidence is None:
            return told
        counted = evidence.p_value is not None and normals_needed(max_overkill) <= evidence.num_normals
        seen = judge(evidence.p_value if counted and evidence.p_value is not None else self._estimated, max_overkill)
        return told if told == seen else "uncertain"

    @cached_property
    def _told(self) -> Verdict:
        """What the probability says, and uncertain where no rate would change that."""
        if self.disagreed or (self.evidence is not None and self.evidence.unsuitable is not None):
            return "uncertain"
        return decide(self.probability, None, VerdictOptions(USUAL_OVERKILL))[0]

    @cached_property
    def _estimated(self) -> float:
        return 1.0 if self.evidence is None else estimated_share(self.evidence.anomaly_score)


@dataclass(frozen=True)
class Share:
    """How many of how many, with the exact 95 % interval of the share (Clopper & Pearson, 1934)."""

    count: int
    of: int

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval, in [0, 1]; the whole range where there is nothing to count."""
        from scipy.special import betaincinv

        low = 0.0 if self.count == 0 else float(betaincinv(self.count, self.of - self.count + 1, 0.025))
        high = 1.0 if self.count == self.of else float(betaincinv(self.count + 1, self.of - self.count, 0.975))
        return low, high


@dataclass(frozen=True)
class Outcome:
    """What a rate does with some parts.

    Attributes:
        parts: how many.
        stopped: called defective, of all.
        uncertain: left to a person, of all.
        missed: called normal, of those that people know to be defective.
        false_alarms: called defective, of those that people know to be good.
    """

    parts: int
    stopped: Share
    uncertain: Share
    missed: Share
    false_alarms: Share


@dataclass(frozen=True)
class WhatIf:
    """One rate over the record.

    Attributes:
        max_overkill: the rate.
        total: over all parts.
        weeks: the same by week, by its Monday.
        changed: ids of parts whose verdict differs from that at the rate which holds now, newest first.
    """

    max_overkill: float
    total: Outcome
    weeks: tuple[tuple[date, Outcome], ...]
    changed: tuple[str, ...]


def what_if(parts: Iterable[PastPart], now: float, rates: Sequence[float] = RATES) -> tuple[WhatIf, ...]:
    """What each of the rates, and the one that holds now, would have made of the parts; by rising rate.

    Args:
        parts: of one category.
        now: the rate that holds.
        rates: others to look at.
    """
    parts = sorted(parts, key=lambda part: part.at)
    present = [part.verdict_at(now) for part in parts]
    by_week: dict[date, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        by_week[part.week].append(index)
    found = []
    for rate in sorted({now, *rates}):
        verdicts = [part.verdict_at(rate) for part in parts]
        weeks = tuple(
            (week, _outcome([parts[i] for i in chosen], [verdicts[i] for i in chosen]))
            for week, chosen in sorted(by_week.items())
        )
        differ = [part.id for part, then, is_now in zip(parts, verdicts, present, strict=True) if then != is_now]
        found.append(WhatIf(rate, _outcome(parts, verdicts), weeks, tuple(reversed(differ))))
    return tuple(found)


def _outcome(parts: Sequence[PastPart], verdicts: Sequence[Verdict]) -> Outcome:
    said, truth = np.array(verdicts, dtype=object), np.array([part.truth for part in parts], dtype=object)
    good, defective = truth == "good", truth == "defective"

    def of(counted: np.ndarray, among: np.ndarray) -> Share:
        return Share(int((counted & among).sum()), int(among.sum()))

    everything = np.ones(len(parts), dtype=bool)
    return Outcome(
        len(parts),
        stopped=of(said == "defective", everything),
        uncertain=of(said == "uncertain", everything),
        missed=of(said == "normal", defective),
        false_alarms=of(said == "defective", good),
    )
