"""Intervals of the official scores: the values are the rule's own, the ends hold what drawing images again gives."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.metrics.multiple_choice import DETECTION, GivenAnswer, official_scores
from reason_iad.metrics.official_intervals import official_intervals


def answers(images: int = 40, seed: int = 0, unreadable: float = 0.0):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(images):
        dataset = ("VisA", "GoodsAD")[number % 2]
        name = f"{dataset}/nut/test/{'good' if rng.random() < 0.5 else 'bad'}/{number}.png"
        for kind, count in ((DETECTION, 2), ("Defect Localization", 4), ("Object Details", 4)):
            target, given = ("ABCD"[i] for i in rng.integers(0, count, 2))
            found.append(GivenAnswer(name, dataset, kind, target, None if rng.random() < unreadable else given))
    return found


@pytest.mark.parametrize("unreadable", [0.0, 0.1])
def test_the_values_are_those_of_the_official_rule(unreadable):
    given = answers(unreadable=unreadable)
    types, average = official_intervals(given, repeats=50)
    expected = official_scores(given)
    assert {kind: 100 * one.value for kind, one in types.items()} == pytest.approx(expected.types)
    assert 100 * average.value == pytest.approx(expected.average)
    assert average.low < average.value < average.high
    assert sum(one.n for one in types.values()) == average.n == len(given)


def test_the_ends_are_those_of_scoring_drawn_images_by_the_rule_itself():
    given = answers()
    by_image: dict = {}
    for one in given:
        by_image.setdefault(one.image, []).append(one)
    images, rng = sorted(by_image), np.random.default_rng(1)
    drawn = []
    for _ in range(600):
        chosen = rng.choice(images, len(images))
        drawn.append(official_scores([one for image in chosen for one in by_image[image]]).average / 100)
    _, average = official_intervals(given, repeats=600)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert average.low == pytest.approx(low, abs=0.02)
    assert average.high == pytest.approx(high, abs=0.02)


def test_more_images_make_the_interval_narrower():
    _, few = official_intervals(answers(20), repeats=200)
    _, many = official_intervals(answers(320), repeats=200)
    assert many.high - many.low < 0.5 * (few.high - few.low)
