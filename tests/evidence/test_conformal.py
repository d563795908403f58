import numpy as np
import pytest

from reason_iad.errors import EvidenceError
from reason_iad.evidence import conformal


def test_good_parts_are_stopped_no_more_often_than_promised():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(400):
        scores = rng.gamma(2.0, size=80)  # one production: held-out normals and new parts
        threshold = conformal.score_threshold(scores[:60].tolist(), 0.05)
        alarms.append(np.mean(scores[60:] > threshold))
    assert 0.03 < np.mean(alarms) <= 0.055


def test_threshold_and_p_value_stop_the_same_images():
    rng = np.random.default_rng(1)
    normals = rng.normal(size=60).tolist()
    threshold = conformal.score_threshold(normals, 0.1)
    for score in rng.normal(1.0, 1.0, 200):
        assert (score > threshold) == (conformal.p_value(score, normals) <= 0.1)


def test_too_few_normals_give_no_threshold_and_say_how_many_are_needed():
    assert conformal.score_threshold([0.1] * 48, 0.02) is None
    assert conformal.score_threshold([0.1] * 49, 0.02) == 0.1
    assert "show at least 49 normal images" in conformal.describe_promise(48, 0.02)
    assert "at most 20 of 1000 good parts" in conformal.describe_promise(49, 0.02)


def test_a_score_tied_with_every_normal_is_not_odd():
    assert conformal.p_value(0.0, [0.0] * 9) == 1.0


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_rate_outside_zero_and_one_is_refused(rate):
    with pytest.raises(EvidenceError, match="between 0 and 1"):
        conformal.normals_needed(rate)
