"""Pixel measures against scikit-learn and against the definition, threshold by threshold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from reason_iad.errors import InputError
from reason_iad.metrics.segmentation import FPR_LIMIT, PixelScores, pixel_scores


def made(seed: int, count: int = 4, digits: int = 2):
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        mask = np.zeros((24, 30), dtype=bool)
        if number:
            mask[3:9, 4:10] = True
            mask[15:16, 20:23] = True
        values = np.round(rng.normal(0, 1, mask.shape) + 1.2 * mask, digits).astype(np.float16)
        pairs.append((values, mask))
    return pairs


def aupro_by_definition(pairs, limit):
    """Loop over thresholds and regions, as the measure is defined."""
    thresholds = sorted({float(v) for values, _ in pairs for v in values.ravel()}, reverse=True)
    normals = sum((~mask).sum() for _, mask in pairs)
    points = [(0.0, 0.0)]
    for threshold in thresholds:
        shares, false = [], 0
        for values, mask in pairs:
            found = values >= threshold
            false += (found & ~mask).sum()
            labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
            shares += [found[labels == region].mean() for region in range(1, count + 1)]
        points.append((false / normals, np.mean(shares)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@pytest.mark.parametrize("seed", range(3))
def test_pixel_auroc_is_scikit_learns_with_ties(seed):
    pairs = made(seed, digits=1)
    labels = np.concatenate([mask.ravel() for _, mask in pairs])
    values = np.concatenate([v.ravel() for v, _ in pairs]).astype(float)
    assert pixel_scores(pairs).auroc() == pytest.approx(roc_auc_score(labels, values))


@pytest.mark.parametrize("limit", [FPR_LIMIT, 0.05, 1.0])
def test_aupro_is_the_area_that_its_definition_gives(limit):
    pairs = made(5, digits=1)
    assert pixel_scores(pairs).aupro(limit) == pytest.approx(aupro_by_definition(pairs, limit), abs=1e-9)


def test_a_perfect_map_scores_one_and_a_constant_one_a_half():
    perfect = [(mask.astype(np.float16), mask) for _, mask in made(1)]
    assert pixel_scores(perfect).auroc() == 1.0
    assert pixel_scores(perfect).aupro() == pytest.approx(1.0)
    constant = [(np.zeros(mask.shape, dtype=np.float16), mask) for _, mask in made(1)]
    assert pixel_scores(constant).auroc() == 0.5


def test_a_small_region_counts_as_much_as_a_large_one():
    mask = np.zeros((20, 20), dtype=bool)
    mask[0:10, 0:10] = True
    mask[15, 15] = True
    found = np.zeros(mask.shape, dtype=np.float16)
    found[0:10, 0:10] = 1.0  # the large region whole, the small one not at all
    # without false alarms one of two regions is found; then the overlap grows evenly with the false alarms
    assert pixel_scores([(found, mask)]).aupro(0.3) == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-6)


def test_negative_and_zero_values_keep_their_order():
    mask = np.array([[False, False, False, True]])
    assert pixel_scores([(np.array([[-2.0, -1.0, -0.0, 0.0]], dtype=np.float16), mask)]).auroc() == pytest.approx(
        2.5 / 3
    )


def test_wrong_shapes_and_missing_classes_are_refused():
    scores = PixelScores()
    with pytest.raises(InputError, match="one value a pixel"):
        scores.add(np.zeros((2, 2), np.float16), np.zeros((3, 2), bool))
    with pytest.raises(InputError, match="not finite"):
        scores.add(np.full((2, 2), np.nan, np.float16), np.zeros((2, 2), bool))
    scores.add(np.zeros((2, 2), np.float16), np.zeros((2, 2), bool))
    with pytest.raises(InputError, match="one kind"):
        scores.auroc()
    with pytest.raises(InputError, match="at least one region"):
        scores.aupro()
