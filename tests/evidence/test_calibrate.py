import itertools

import numpy as np
import pytest

from reason_iad.evidence import calibrate


def test_the_scale_begins_at_the_sorted_residual_of_rank_99_percent():
    residuals = np.random.default_rng(0).gamma(2.0, 1.0, (4, 9, 11)).astype(np.float32)
    scale = calibrate.fit_scale(residuals)
    ordered = sorted(residuals.ravel().tolist())
    place = 0.99 * (len(ordered) - 1)
    below, above = ordered[int(place)], ordered[int(place) + 1]
    low = below + (above - below) * (place - int(place))
    median = (ordered[197] + ordered[198]) / 2
    assert scale.low == pytest.approx(low, rel=1e-5)
    assert scale.high == pytest.approx(low + 3 * (low - median), rel=1e-5)


def test_strength_is_zero_up_to_the_edge_and_one_from_the_end_on():
    scale = calibrate.Scale(median=1.0, low=2.0, high=5.0)
    found = scale.apply(np.array([0.0, 2.0, 3.5, 5.0, 90.0], dtype=np.float32))
    assert found.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_a_normal_map_keeps_its_own_extremes_calm():
    rng = np.random.default_rng(1)
    scale = calibrate.fit_scale(rng.normal(1.0, 0.1, 20_000).astype(np.float32))
    assert scale.apply(rng.normal(1.0, 0.1, (28, 28)).astype(np.float32)).mean() < 0.01


def test_references_that_are_exact_copies_still_give_a_finite_scale():
    found = calibrate.fit_scale(np.zeros((3, 4, 4), dtype=np.float32)).apply(np.full((2, 2), 0.1, dtype=np.float32))
    assert np.isfinite(found).all()
    assert found.max() <= 1.0


def test_the_score_is_half_at_the_edge_and_never_stops_growing():
    assert calibrate.anomaly_score(3.0, 1.0, 3.0) == 0.5
    scores = [calibrate.anomaly_score(float(x), 1.0, 3.0) for x in np.geomspace(0.01, 1e6, 50)]
    assert all(a < b for a, b in itertools.pairwise(scores))
    assert 0.0 <= scores[0] < scores[-1] <= 1.0


def test_the_image_statistic_is_the_mean_of_the_worst_patches():
    values = np.arange(1000, dtype=np.float32).reshape(20, 50)
    assert calibrate.image_statistic(values, 0.01) == np.mean(range(990, 1000))


def test_the_statistics_of_a_stack_are_those_of_its_maps():
    maps = np.random.default_rng(0).random((3, 2, 20, 10)).astype(np.float32)
    found = calibrate.image_statistic(maps, 0.05)
    assert found.shape == (3, 2)
    assert found[2, 1] == pytest.approx(np.sort(maps[2, 1].ravel())[-10:].mean())
