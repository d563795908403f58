"""Metrics against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score

from reason_iad.errors import InputError
from reason_iad.metrics.classification import (
    auroc,
    average_precision,
    balanced_accuracy,
    expected_calibration_error,
    f1_max,
    miss,
    overkill,
    reliability,
)
from reason_iad.metrics.intervals import bootstrap, share


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auroc_is_scikit_learns_with_ties(pairs):
    labels, scores = [p[0] for p in pairs], [float(p[1]) for p in pairs]
    if len(set(labels)) < 2:
        with pytest.raises(InputError, match="both classes"):
            auroc(labels, scores)
        return
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_balanced_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels, found = rng.random(50) < 0.2, rng.random(50) < 0.5
    assert balanced_accuracy(labels, found) == pytest.approx(balanced_accuracy_score(labels, found))


def test_perfectly_calibrated_probabilities_have_no_error():
    labels = [True] * 3 + [False] * 7
    assert expected_calibration_error(labels, [0.3] * 10) == pytest.approx(0.0)
    assert expected_calibration_error(labels, [0.9] * 10) == pytest.approx(0.6)


@pytest.mark.parametrize(("correct", "n"), [(0, 5), (3, 5), (5, 5), (73, 100)])
def test_the_interval_of_a_share_is_scipys_wilson(correct, n):
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    found = share(correct, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_bootstrap_of_a_mean_has_about_the_normal_width():
    values = np.random.default_rng(1).normal(0, 1, 400)
    found = bootstrap(range(400), lambda index: float(values[index].mean()))
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_resamples_without_a_class_are_drawn_again():
    labels = np.array([True, False, False])
    scores = np.array([0.9, 0.1, 0.2])
    found = bootstrap(range(3), lambda i: auroc(labels[i], scores[i]), repeats=50)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_overkill_and_miss_are_the_missing_parts_of_scikit_learns_recall():
    rng = np.random.default_rng(2)
    labels, found = rng.random(60) < 0.4, rng.random(60) < 0.5
    assert overkill(labels, found) == pytest.approx(1 - recall_score(~labels, ~found))
    assert miss(labels, found) == pytest.approx(1 - recall_score(labels, found))
    with pytest.raises(InputError, match="no normal sample"):
        overkill([True], [True])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_average_precision_is_scikit_learns_with_ties(pairs):
    labels, scores = [p[0] for p in pairs], [float(p[1]) for p in pairs]
    if not any(labels):
        with pytest.raises(InputError, match="no defective sample"):
            average_precision(labels, scores)
        return
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))


def test_the_largest_f1_is_that_of_the_best_threshold():
    rng = np.random.default_rng(3)
    labels = rng.random(50) < 0.3
    scores = np.round(labels * 0.5 + rng.random(50), 1)
    value, threshold = f1_max(labels, scores)
    assert value == pytest.approx(max(f1_score(labels, scores >= t) for t in np.unique(scores)))
    assert value == pytest.approx(f1_score(labels, scores >= threshold))


def test_the_reliability_diagram_is_scikit_learns():
    rng = np.random.default_rng(4)
    stated = rng.random(300)
    labels = rng.random(300) < stated
    observed, mean = calibration_curve(labels, stated, n_bins=10)
    found = reliability(labels, stated)
    assert [b.observed for b in found] == pytest.approx(list(observed))
    assert [b.stated for b in found] == pytest.approx(list(mean))
    assert sum(b.n for b in found) == 300
