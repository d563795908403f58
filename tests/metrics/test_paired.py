"""Paired comparison against statsmodels' textbook case and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from reason_iad.errors import InputError
from reason_iad.metrics.paired import clustered_macro, mcnemar, paired_difference


def test_mcnemar_is_the_two_sided_binomial_test_of_the_discordant_pairs():
    first = [True] * 3 + [False] * 12 + [True] * 40 + [False] * 5
    second = [False] * 3 + [True] * 12 + [True] * 40 + [False] * 5
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (3, 12)
    assert found.p_value == pytest.approx(2 * binom.cdf(3, 15, 0.5))


def test_equal_answers_show_no_difference():
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    found = paired_difference([True, False], [True, False])
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_paired_difference_has_about_the_normal_width():
    rng = np.random.default_rng(0)
    first, second = rng.random(900) < 0.5, rng.random(900) < 0.6
    change = second.astype(float) - first
    found = paired_difference(first, second)
    assert found.value == pytest.approx(change.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * change.std() / 30, rel=0.1)


def test_questions_of_one_image_count_as_one_observation():
    rng = np.random.default_rng(1)
    first = np.repeat(rng.random(100) < 0.5, 9)
    second = np.repeat(rng.random(100) < 0.6, 9)
    images = np.repeat(np.arange(100), 9)
    alone, together = paired_difference(first, second), paired_difference(first, second, images)
    assert (together.high - together.low) == pytest.approx(3 * (alone.high - alone.low), rel=0.15)


def test_the_macro_average_weighs_types_equally():
    found = clustered_macro([True, True, True, False], ["a", "a", "a", "b"], ["1", "2", "3", "4"], repeats=50)
    assert found.value == pytest.approx(0.5)
    assert found.low <= found.value <= found.high


def test_different_questions_cannot_be_paired():
    with pytest.raises(InputError, match="same questions"):
        mcnemar([True], [True, False])
