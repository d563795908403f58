"""Drift is seen soon, and false alarms are as rare as they were set, whatever the values are distributed like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_line import photo
from scipy import ndimage

from reason_iad.line.drift import Detector, DriftTest, Quantity, spread_of
from reason_iad.line.quantities import QUANTITIES, as_preview, known_values, measure

ONE = Quantity("one")


def parts_until_alarm(known: np.ndarray, stream: np.ndarray, limit: int = 1000, tolerance: float = 0.5) -> int | None:
    test = DriftTest({ONE: tuple(known)}, limit, tolerance)
    return next((n for n, value in enumerate(stream, 1) if test.see({"one": float(value)})), None)


def test_p_values_of_parts_like_the_known_ones_are_uniform_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        values = rng.integers(0, 5, 21).astype(float)
        detector = Detector(ONE, values[:20], 0.0, rng)
        found.append(detector._p_value(float(values[20]), "high"))
    counts, _ = np.histogram(found, 10, (0, 1))
    assert abs(float(np.mean(found)) - 0.5) < 0.05
    assert counts.min() > 20


def test_the_mean_of_the_stakes_grows_by_one_a_part_and_no_more() -> None:
    rng = np.random.default_rng(1)
    levels = []
    for _ in range(300):
        test = DriftTest({ONE: tuple(rng.standard_normal(50))}, 100, 0.0, int(rng.integers(1 << 30)))
        for value in rng.standard_normal(10):
            test.see({"one": float(value)})
        levels.append(test.stakes[:, :2].mean())
    assert 7 < float(np.mean(levels)) < 13  # ten parts


@pytest.mark.parametrize("draw", ["normal", "student", "skewed"])
def test_stable_parts_raise_no_more_alarms_than_were_set(draw: str) -> None:
    rng = np.random.default_rng(2)
    draws = {
        "normal": rng.standard_normal,
        "student": lambda count: rng.standard_t(3, count),
        "skewed": lambda count: rng.exponential(1, count),
    }
    make = draws[draw]
    alarms = sum(parts_until_alarm(make(20), make(500), 1000) is not None for _ in range(20))
    assert alarms <= 5  # 10,000 parts at one in 1,000 or more would be about ten


def test_a_shift_is_seen_within_a_few_parts_and_a_small_one_within_tens() -> None:
    rng = np.random.default_rng(3)
    known = rng.standard_normal(30)
    stable = rng.standard_normal(200)
    large = parts_until_alarm(known, np.concatenate([stable, rng.standard_normal(60) + 5]), 10_000)
    small = parts_until_alarm(known, np.concatenate([stable, rng.standard_normal(200) - 2]), 10_000)
    assert large is not None
    assert 200 < large <= 210
    assert small is not None
    assert 200 < small <= 260


def test_parts_that_differ_from_the_profile_from_the_first_on_are_seen() -> None:
    rng = np.random.default_rng(4)
    found = parts_until_alarm(rng.standard_normal(8), rng.standard_normal(60) + 4, 10_000)
    assert found is not None
    assert found <= 30


def test_a_shift_within_the_tolerance_is_none() -> None:
    rng = np.random.default_rng(5)
    known, stream = rng.standard_normal(200), rng.standard_normal(1500) + 0.4
    assert parts_until_alarm(known, stream, 10_000) is None
    assert parts_until_alarm(known, stream, 10_000, tolerance=0.0) is not None


def test_one_alarm_names_the_quantity_its_side_and_when_it_began() -> None:
    rng = np.random.default_rng(6)
    two = Quantity("two", ("low",))
    test = DriftTest({ONE: tuple(rng.standard_normal(30)), two: tuple(rng.standard_normal(30))}, 10_000, 0.5)
    alarms = []
    for number in range(200):
        shift = -4 if number >= 150 else 0
        alarms.append(test.see({"one": rng.standard_normal(), "two": rng.standard_normal() + shift}))
    (raised,) = [one for one in alarms if one is not None]
    assert (raised.quantity, raised.side) == ("two", "low")
    assert alarms.index(raised) - raised.since in range(145, 153)


def test_a_quantity_that_is_not_known_or_not_measured_is_left_out() -> None:
    test = DriftTest({ONE: (), Quantity("two"): (1.0, 2.0)}, 100, 0.5)
    assert [one.quantity.name for one in test.detectors] == ["two"]
    assert test.see({"one": 99.0, "two": None}) is None
    assert test.level == 0


def test_the_spread_of_many_values_is_not_ruled_by_a_few() -> None:
    values = [*np.random.default_rng(0).standard_normal(400), 1e6]
    assert 0.9 < spread_of(values) < 1.1
    assert spread_of([3.0]) == 0


def test_each_quantity_moves_with_what_it_is_called_after_and_little_with_the_rest() -> None:
    good = photo()
    base = measure(good)
    dim = measure((good * 0.95).astype(np.uint8))
    blurred = measure(ndimage.gaussian_filter(good, (1.0, 1.0, 0)))
    warm = measure(np.clip(good * [1.05, 1.0, 0.95], 0, 255).astype(np.uint8))
    shifted = measure(np.roll(good, 8, axis=1))
    assert dim["brightness"] - base["brightness"] == pytest.approx(math.log(0.95), abs=0.01)
    assert abs(dim["place_x"] - base["place_x"]) < 0.003
    assert blurred["sharpness"] < base["sharpness"] - 0.1
    assert abs(blurred["brightness"] - base["brightness"]) < 0.02  # the filter rounds down
    assert warm["red"] - base["red"] == pytest.approx(math.log(1.05), abs=0.01)
    assert warm["blue"] - base["blue"] == pytest.approx(math.log(0.95), abs=0.01)
    assert shifted["place_x"] - base["place_x"] == pytest.approx(8 / 160, abs=0.02)
    assert abs(shifted["place_y"] - base["place_y"]) < 0.003


def test_a_profile_gives_as_many_values_as_it_knows_good_parts(profile) -> None:
    known = {quantity.name: values for quantity, values in known_values(profile).items()}
    assert {len(values) for name, values in known.items() if name != "recognition"} == {12}
    assert set(known) == {quantity.name for quantity in QUANTITIES}
    fresh = measure(photo(seed=99))
    spread = max(spread_of(known["brightness"]), 0.002)
    assert abs(fresh["brightness"] - float(np.median(known["brightness"]))) < 4 * spread
    assert as_preview(np.zeros((1000, 600, 3), np.uint8)).shape == (512, 307, 3)
