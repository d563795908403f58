"""Voices beside a calibrated one: what they know is recovered, beside an independent form and simulated voices."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.errors import InputError
from reason_iad.metrics import anchored as module
from reason_iad.metrics.anchored import anchored


def simulated(n, gaps, slopes, noise, seed=0, skill=1.6, goods=0):
    """Truth, a calibrated anchor, scores of known gap, slope and noise, and which items are known to be good."""
    rng = np.random.default_rng(seed)
    known = np.arange(n + goods) >= n
    truth = ~known & (rng.random(n + goods) < 0.5)
    anchor = skill * (truth * skill + rng.normal(0, 1, n + goods)) - skill**2 / 2  # its log-odds are right
    shared = rng.multivariate_normal(np.zeros(len(gaps)), noise, n + goods)
    return truth, anchor, 0.5 + np.outer(anchor, slopes) + np.outer(truth, gaps) + shared, known


NOISE = np.array([[1.0, 0.5, 0.0], [0.5, 1.5, 0.0], [0.0, 0.0, 2.0]])


def test_gap_slope_and_shared_noise_are_recovered_without_any_label():
    _, anchor, scores, known = simulated(6000, (2.0, 1.0, 0.0), (0.0, 0.6, 0.3), NOISE, goods=300)
    found = anchored(anchor, scores, known)
    assert found.gap == pytest.approx([2.0, 1.0, 0.0], abs=0.15)
    assert found.slope == pytest.approx([0.0, 0.6, 0.3], abs=0.08)
    assert found.start == pytest.approx([0.5] * 3, abs=0.15)
    assert found.noise == pytest.approx(NOISE, abs=0.15)
    assert found.trust == pytest.approx(1.0, abs=0.15)


def test_without_ridge_and_shrinkage_it_is_where_the_likelihood_is_largest(monkeypatch):
    from scipy.optimize import minimize
    from scipy.stats import norm

    for name in ("RIDGE", "SHARED", "LEAST_NOISE", "CHANCE"):
        monkeypatch.setattr(module, name, 0.0)
    _, anchor, scores, known = simulated(300, (2.0,), (0.5,), np.eye(1), goods=30)
    found = anchored(anchor, scores, known, max_iterations=2000, tolerance=1e-9)

    def loss(told):
        start, slope, gap, log_spread, bias, trust = told
        share = 1 / (1 + np.exp(-(bias + trust * anchor)))
        good = norm.pdf(scores[:, 0], start + slope * anchor, np.exp(log_spread))
        bad = norm.pdf(scores[:, 0], start + slope * anchor + gap, np.exp(log_spread))
        prior = 0.5 * (module.TRUST[0] * bias**2 + module.TRUST[1] * (trust - 1) ** 2)
        return prior - np.log(np.where(known, good, share * bad + (1 - share) * good)).sum()

    best = minimize(
        loss, [0.5, 0.5, 2.0, 0.0, 0.0, 1.0], method="Nelder-Mead", options={"maxiter": 9000, "xatol": 1e-7}
    )
    mine = [found.start[0], found.slope[0], found.gap[0], 0.5 * np.log(found.noise[0, 0])]
    assert mine == pytest.approx(best.x[:4], abs=2e-3)
    assert found.trust == pytest.approx(best.x[5], abs=2e-3)


def test_what_votes_are_worth_is_the_ratio_of_two_normal_densities():
    _, anchor, scores, known = simulated(400, (2.0, 1.0, 0.5), (0.0, 0.6, 0.3), NOISE)
    found = anchored(anchor, scores, known)
    from scipy.stats import multivariate_normal

    for row in range(5):
        good = found.start + found.slope * anchor[row]
        log = [multivariate_normal(good + shift, found.noise).logpdf(scores[row]) for shift in (found.gap, 0.0)]
        worth = found.worth(anchor[row : row + 1], scores[row : row + 1])[0]
        assert worth[0] == pytest.approx(found.trust * anchor[row])
        assert worth[1:].sum() == pytest.approx(log[0] - log[1], abs=1e-6)


def test_an_anchor_that_is_too_sure_is_trusted_less_where_others_agree_against_it():
    truth, anchor, scores, known = simulated(2000, (4.0, 4.0), (0.0, 0.0), np.eye(2), skill=0.7)
    found = anchored(3 * anchor, scores, known)
    assert found.trust < 0.6
    assert ((found.posteriors > 0.5) == truth).mean() > 0.95


def test_known_good_parts_tell_one_that_repeats_the_anchor_from_one_that_knows():
    """Of a repeater little is left at any rate; of one that knows more is kept with good parts than without."""
    kept = []
    for goods in (0, 200):
        gaps = [
            anchored(*simulated(150, (0.0, 1.5), (1.0, 0.0), np.eye(2), seed, goods=goods)[1:]).gap
            for seed in range(12)
        ]
        kept.append(np.mean(gaps, axis=0))
    assert kept[1][0] < 0.3
    assert abs(kept[1][1] - 1.5) < abs(kept[0][1] - 1.5)


def test_a_voice_that_says_nothing_takes_no_part_and_the_others_count_as_if_alone():
    _, anchor, scores, known = simulated(500, (2.0, 1.0, 0.0), (0.0, 0.6, 0.3), NOISE)
    found = anchored(anchor, scores, known)
    some = scores[:3].copy()
    some[:, 1] = np.nan
    worth = found.worth(anchor[:3], some)
    assert (worth[:, 2] == 0).all()
    beyond = some[:, 0] - found.start[0] - found.slope[0] * anchor[:3] - found.gap[0] / 2
    assert worth[:, 1] == pytest.approx(beyond * found.gap[0] / found.noise[0, 0])


def test_copies_share_the_weight_of_one(monkeypatch):
    truth, anchor, scores, known = simulated(400, (2.0,), (0.0,), np.eye(1))
    rng = np.random.default_rng(1)
    once = anchored(anchor, scores, known).worth(anchor, scores)[:, 1:].sum(1)
    twice = np.c_[scores, scores + rng.normal(0, 0.05, scores.shape)]
    both = anchored(anchor, twice, known).worth(anchor, twice)[:, 1:].sum(1)
    assert np.abs(both - once).max() < 0.5
    assert truth.any()


def test_scores_that_are_missing_and_items_that_are_all_known_are_refused():
    anchor, scores = np.zeros(3), np.zeros((3, 2))
    with pytest.raises(InputError, match="none unknown"):
        anchored(anchor, scores, np.ones(3, dtype=bool))
    scores[0, 0] = np.nan
    with pytest.raises(InputError, match="some missing"):
        anchored(anchor, scores, np.zeros(3, dtype=bool))
    assert module.RIDGE > 0
