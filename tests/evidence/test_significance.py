import numpy as np
import pytest

from reason_iad.evidence import calibrate, significance


def test_the_estimated_share_is_that_of_an_exponential_tail():
    rng = np.random.default_rng(0)
    normals = rng.exponential(0.4, 4000).astype(np.float32) + 2
    median, edge = float(np.median(normals)), significance.edge_of(normals, len(normals))
    others = rng.exponential(0.4, 4000) + 2
    for share in (0.02, 0.05, 0.1, 0.2):
        scores = np.array([calibrate.anomaly_score(float(one), median, edge) for one in others])
        estimated = np.array([significance.estimated_share(one) for one in scores])
        assert (estimated <= share).mean() == pytest.approx(share, rel=0.25)
        assert (scores >= significance.score_at(share)).mean() == (estimated <= share).mean()


@pytest.mark.parametrize("count", [2, 4, 8, 16, 64])
def test_about_one_good_part_in_twenty_lies_above_one_half_with_any_number_of_references(count):
    rng, above = np.random.default_rng(1), []
    for _ in range(600):
        drawn = rng.exponential(0.4, count + 8).astype(np.float32) + 1.2
        edge = significance.edge_of(drawn[:count], count)
        above.append((drawn[count:] >= edge).mean())
    assert 0.02 < np.mean(above) < 0.12


def test_one_reference_has_a_spread_as_wide_as_usual_products():
    copies = np.array([2.0, 2.1, 2.0, 1.9], dtype=np.float32)  # of one image: they say nothing about other parts
    assert significance.spread_of(copies, 1) == pytest.approx(significance.PRIOR_SPREAD * 2.0)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.05, 0.1, 0.3])
def test_share_and_score_are_inverse(share):
    assert significance.estimated_share(significance.score_at(share)) == pytest.approx(share, rel=1e-6)


def test_known_normals_count_where_they_support_the_rate_and_the_estimate_elsewhere():
    assert significance.share_of_normals(0.5, 0.3, 100, 0.02) == 0.3
    assert significance.share_of_normals(0.5, 0.3, 16, 0.02) == pytest.approx(0.05)
    assert significance.share_of_normals(0.5, None, 0, 0.02) == pytest.approx(0.05)
