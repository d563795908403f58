"""Other thresholds over recorded parts: the same decision as an inspection's, counted with exact intervals."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import binomtest

from reason_iad.inspection.verdict import UNCALIBRATED, VerdictOptions, decide
from reason_iad.inspection.what_if import PastPart, Share, what_if
from reason_iad.types import EvidenceSummary

MONDAY = datetime(2026, 11, 2, 6, tzinfo=UTC)


def evidence(score=0.4, p_value=None, num_normals=12, **more):
    return EvidenceSummary(12, score, p_value, True, "", num_normals=num_normals, **more)


def part(probability=0.9, found=None, at=MONDAY, **more):
    return PastPart("a", at, "defective", probability, found, **more)


def test_at_the_rate_of_its_inspection_every_part_keeps_its_verdict():
    rng = np.random.default_rng(0)
    for _ in range(500):
        score, model, rate = (float(x) for x in rng.uniform(0.001, 0.999, 3))
        found = evidence(score, float(rng.uniform(0.001, 1)) if rng.random() < 0.5 else None, int(rng.integers(4, 200)))
        found = found if rng.random() < 0.9 else dataclasses.replace(found, unsuitable="it is blank")
        found = found if rng.random() < 0.9 else None
        probability = UNCALIBRATED.probability(model, None if found is None else score)
        alone = UNCALIBRATED.alone(model, None if found is None else score)
        unsuitable = None if found is None else found.unsuitable
        verdict, reasons = decide(probability, found, VerdictOptions(rate), alone, unsuitable)
        past = PastPart.of("a", MONDAY, verdict, probability, found, ["a note", *reasons], None)
        assert past.verdict_at(rate) == verdict


def test_a_stricter_rate_stops_less_and_a_looser_one_more():
    odd = part(found=evidence(p_value=0.03, num_normals=200))
    assert [odd.verdict_at(rate) for rate in (0.005, 0.01, 0.05)] == ["uncertain", "uncertain", "defective"]
    parts = [part(found=evidence(score)) for score in np.linspace(0, 1, 50)]
    stopped = [row.total.stopped.count for row in what_if(parts, 0.02)]
    assert stopped == sorted(stopped)
    assert stopped[0] < stopped[-1]


def test_what_was_missed_and_stopped_in_vain_is_counted_among_parts_that_people_know():
    calm, odd = evidence(0.05), evidence(0.97)
    parts = [
        *[part(0.05, calm, truth="good")] * 3, *[part(0.05, calm, truth="defective")] * 2,
        *[part(0.95, odd, truth="good")] * 1, *[part(0.95, odd)] * 4,
    ]  # fmt: skip
    total = what_if(parts, 0.02)[0].total
    assert (total.parts, total.stopped, total.missed) == (10, Share(5, 10), Share(2, 2))
    assert total.false_alarms == Share(1, 4)


@pytest.mark.parametrize(("count", "of"), [(0, 1), (0, 30), (3, 30), (30, 30), (17, 4000)])
def test_intervals_are_the_exact_ones_of_scipy(count, of):
    expected = binomtest(count, of).proportion_ci(method="exact")
    assert Share(count, of).interval == pytest.approx((expected.low, expected.high))
    assert Share(0, 0).interval == (0.0, 1.0)


def test_weeks_begin_on_monday_and_add_up():
    parts = [part(0.95, evidence(0.97), MONDAY + timedelta(days=day, hours=17)) for day in range(21)]
    row = what_if(parts, 0.02)[3]
    assert [str(week) for week, _ in row.weeks] == ["2026-11-02", "2026-11-09", "2026-11-16"]
    assert [outcome.parts for _, outcome in row.weeks] == [7, 7, 7]
    assert sum(outcome.stopped.count for _, outcome in row.weeks) == row.total.stopped.count


def test_feedback_tells_what_a_part_was():
    told = {"false_alarm": "good", "missed": "defective", "confirmed": "defective", None: None}
    for said, truth in told.items():
        assert PastPart.of("a", MONDAY, "defective", 0.9, None, (), said).truth == truth
    assert PastPart.of("a", MONDAY, "normal", 0.1, None, (), "confirmed").truth == "good"


def test_the_changed_parts_are_named_newest_first():
    odd = part(found=evidence(p_value=0.03, num_normals=200))
    parts = [dataclasses.replace(odd, id=str(n), at=MONDAY + timedelta(hours=n)) for n in range(3)]
    rows = {row.max_overkill: row.changed for row in what_if(parts, 0.02)}
    assert rows[0.02] == ()
    assert rows[0.05] == ("2", "1", "0")
