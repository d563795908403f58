"""Voices beside one whose scale is known: what is known of simulated ones is found again, without labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from reason_iad.errors import InputError
from reason_iad.metrics import anchored as module
from reason_iad.metrics.anchored import anchored


def simulated(n, gaps, noise, slopes=None, seed=0, skill=1.6, goods=0, defective=0.5):
    """Truth, an anchor whose log-odds are right, scores of known gap, noise and repetition, and known good items."""
    rng = np.random.default_rng(seed)
    known = np.arange(n + goods) >= n
    truth = ~known & (rng.random(n + goods) < defective)
    anchor = skill * (truth * skill + rng.normal(0, 1, n + goods)) - skill**2 / 2
    shared = rng.multivariate_normal(np.zeros(len(gaps)), noise, n + goods)
    repeated = np.outer(anchor, np.zeros(len(gaps)) if slopes is None else slopes)
    return truth, anchor, 0.5 + repeated + np.outer(truth, gaps) + shared, known


NOISE = np.array([[1.0, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, 2.0]])


@pytest.mark.parametrize("defective", [0.5, 0.1])
@pytest.mark.parametrize("goods", [0, 200])
def test_gap_noise_and_frequency_are_recovered_without_any_label(defective, goods):
    _, anchor, scores, known = simulated(8000, (2.0, 1.0, 0.0), NOISE, goods=goods, defective=defective)
    found = anchored(anchor, scores, known)
    assert found.gap == pytest.approx([2.0, 1.0, 0.0], abs=0.2)
    assert np.diag(found.noise) == pytest.approx([1.0, 1.5, 2.0], abs=0.15)
    assert found.frequency == pytest.approx(defective, abs=0.03)
    assert found.middle[:2] == pytest.approx([1.5, 1.0], abs=0.15)


def test_the_gap_is_that_of_the_two_covariances_where_voices_err_independently():
    """Of three voices, the product of two covariances by the third is a squared gap: the textbook's one factor."""
    _, anchor, scores, known = simulated(20000, (2.0, 1.0, 1.5), NOISE)
    found = anchored(anchor, scores, known)
    c = np.cov(scores.T)
    factor = [
        (c[0, 1] * c[0, 2] / c[1, 2]) ** 0.5,
        (c[0, 1] * c[1, 2] / c[0, 2]) ** 0.5,
        (c[0, 2] * c[1, 2] / c[0, 1]) ** 0.5,
    ]
    assert found.gap * 0.5 == pytest.approx(factor, abs=0.06)  # half of a gap is its standard deviation over classes


def test_what_votes_are_worth_is_the_ratio_of_two_normal_densities():
    _, anchor, scores, known = simulated(400, (2.0, 1.0, 0.8), NOISE)
    found = anchored(anchor, scores, known)
    for row in range(5):
        log = [
            multivariate_normal(found.middle + side * found.gap / 2, found.noise).logpdf(scores[row])
            for side in (1, -1)
        ]
        assert found.worth(scores[row : row + 1]).sum() == pytest.approx(log[0] - log[1], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_guesser_earns_nothing_also_one_that_is_always_sure(seed):
    rng = np.random.default_rng(seed)
    _, anchor, scores, known = simulated(150, (1.5, 0.0), np.eye(2), seed=seed, goods=20)
    scores[:, 1] = 4.0 * np.sign(rng.normal(0, 1, len(scores)))
    found = anchored(anchor, scores, known)
    assert found.gap[0] > 0.8
    assert abs(found.weights[1]) < 0.06


def test_one_that_repeats_the_anchor_counts_the_less_the_more_it_does():
    weights = [
        anchored(*simulated(2000, (0.0,), np.eye(1) * noise**2, (1.0,))[1:]).weights[0] for noise in (1.0, 0.5, 0.25)
    ]
    assert max(weights) < 0.25


def test_known_good_parts_tell_what_a_voice_is_worth_where_the_anchor_knows_nothing():
    _, anchor, scores, known = simulated(400, (2.0, 0.0), np.eye(2), skill=0.2, goods=60)
    with_goods = anchored(anchor, scores, known)
    assert with_goods.gap[0] > 1.0
    assert with_goods.gap[1] == 0.0


def test_a_voice_that_says_nothing_takes_no_part_and_the_others_count_as_if_alone():
    _, anchor, scores, known = simulated(500, (2.0, 1.0, 0.5), NOISE)
    found = anchored(anchor, scores, known)
    some = scores[:3].copy()
    some[:, 1:] = np.nan
    worth = found.worth(some)
    assert (worth[:, 1:] == 0).all()
    assert worth[:, 0] == pytest.approx((some[:, 0] - found.middle[0]) * found.gap[0] / found.noise[0, 0])


def test_copies_share_the_weight_of_one():
    _, anchor, scores, known = simulated(400, (2.0,), np.eye(1))
    twice = np.c_[scores, scores + np.random.default_rng(1).normal(0, 0.05, scores.shape)]
    once, both = anchored(anchor, scores, known), anchored(anchor, twice, known)
    assert both.weights.sum() < 1.4 * once.weights.sum()


def test_scores_that_are_missing_and_items_that_are_all_known_are_refused():
    anchor, scores = np.zeros(3), np.zeros((3, 2))
    with pytest.raises(InputError, match="few unknown"):
        anchored(anchor, scores, np.ones(3, dtype=bool))
    assert anchored(anchor, scores, np.zeros(3, dtype=bool)).weights == pytest.approx(
        [0.0, 0.0]
    )  # nobody says anything
    scores[0, 0] = np.nan
    with pytest.raises(InputError, match="some missing"):
        anchored(anchor, scores, np.zeros(3, dtype=bool))
    assert module.DOUBT > 0
