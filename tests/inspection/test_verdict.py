"""Probability, verdict and words as pure functions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.special import logit as scipy_logit

from reason_iad.errors import ModelError
from reason_iad.evidence.significance import estimated_share, judge
from reason_iad.inspection.verdict import Fusion, VerdictOptions, decide, logit
from reason_iad.types import EvidenceSummary


def summary(p_value, score=0.8, **more):
    return EvidenceSummary(20, score, p_value, True, "differs at center", **more)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_fusion_is_a_logistic_model(model, evidence):
    fusion = Fusion(0.3, 0.8, 1.2, "")
    expected = expit(0.3 + 0.8 * scipy_logit(model) + 1.2 * scipy_logit(evidence))
    assert fusion.probability(model, evidence) == pytest.approx(float(expected), abs=1e-6)


def test_certainty_stays_finite():
    assert math.isfinite(logit(0.0))
    assert math.isfinite(logit(1.0))


@pytest.mark.parametrize(("p", "verdict"), [(0.1, "normal"), (0.5, "uncertain"), (0.9, "defective")])
def test_the_middle_is_uncertain(p, verdict):
    found, reasons = decide(p, None, VerdictOptions(0.02))
    assert found == verdict
    assert bool(reasons) == (verdict == "uncertain")


def test_a_defect_must_be_odder_than_the_false_alarm_rate_allows():
    known = {"num_normals": 60}
    assert decide(0.9, summary(0.01, **known), VerdictOptions(max_overkill=0.02))[0] == "defective"
    verdict, reasons = decide(0.9, summary(0.05, **known), VerdictOptions(max_overkill=0.02))
    assert verdict == "uncertain"
    assert "false-alarm rate" in reasons[0]


@pytest.mark.parametrize(
    ("score", "verdict"), [(0.3, "uncertain"), (0.45, "uncertain"), (0.6, "uncertain"), (0.7, "defective")]
)
def test_with_few_references_the_share_is_estimated_from_their_spread(score, verdict):
    assert decide(0.9, summary(0.06, score, num_normals=16), VerdictOptions(0.02))[0] == verdict
    assert decide(0.1, summary(0.06, 0.3, num_normals=16), VerdictOptions(0.02))[0] == "normal"


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.sampled_from([None, "it is blank"]))
def test_a_model_never_turns_what_the_comparison_says_into_its_opposite(probability, score, unsuitable):
    evidence, options = summary(None, score), VerdictOptions(0.02)
    seen = judge(estimated_share(score), 0.02)
    found, reasons = decide(probability, evidence, options, None, unsuitable)
    assert found in (seen, "uncertain")
    assert bool(reasons) is (found == "uncertain")
    assert unsuitable is None or (found == "uncertain" and unsuitable in reasons[0])


def test_an_empty_picture_is_uncertain_without_any_reference():
    verdict, (reason,) = decide(0.01, None, VerdictOptions(0.02), None, "the image is blank (black)")
    assert verdict == "uncertain"
    assert "blank" in reason


def test_settings_without_fusion_are_an_error():
    with pytest.raises(ModelError, match="no fusion"):
        Fusion.from_settings({}, "with_evidence")


@pytest.mark.parametrize(
    ("model", "evidence", "verdict"),
    [(0.99, 0.02, "uncertain"), (0.02, 0.99, "uncertain"), (0.9, 0.9, "defective"), (0.99, 0.7, "defective")],
)
def test_model_and_evidence_that_would_each_decide_and_disagree_leave_it_uncertain(model, evidence, verdict):
    fusion = Fusion(0.0, 1.0, 1.0, "")
    together, alone = fusion.probability(model, evidence), fusion.alone(model, evidence)
    assert alone == (pytest.approx(model), pytest.approx(evidence))
    found, reasons = decide(together, summary(None, evidence), VerdictOptions(0.02), alone)
    assert found == verdict
    assert any("disagree" in reason for reason in reasons) == (verdict == "uncertain")
    assert fusion.alone(model, None) is None
