"""Metrics against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from reason_iad.errors import InputError
from reason_iad.metrics.classification import auroc, balanced_accuracy, expected_calibration_error
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
