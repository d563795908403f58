"""What a label would teach most comes first."""

from __future__ import annotations

import numpy as np

from reason_iad.naming.describe import LENGTH
from reason_iad.naming.examples import DefectExample, DefectExamples
from reason_iad.naming.namer import Namer, NamerSettings
from reason_iad.naming.queue import MOST_WAITING, Waiting, rank


def waiting(kind: int, number: int, **more) -> Waiting:
    middle = np.random.default_rng(kind).normal(size=LENGTH)
    vector = middle + 0.3 * np.random.default_rng(50 + number).normal(size=LENGTH)
    return Waiting(f"{kind}-{number}", f"{kind}.png", 0, (0, 0, 9, 9), vector.astype(np.float32), **more)


def namer(*areas: Waiting) -> Namer:
    found = tuple(
        DefectExample(f"type {a.name[0]}", a.name, a.inspection, (9, 9), (0, 0, 9, 9), a.vector[None], b"", "", "")
        for a in areas
    )
    return Namer(DefectExamples("made up", found, 1), NamerSettings.load())


def test_the_first_question_is_about_the_largest_group():
    areas = [*(waiting(0, n) for n in range(6)), *(waiting(1, n) for n in range(2)), waiting(2, 0)]
    assert rank(areas, None)[0].area.name == "0.png"
    assert rank(areas, None)[0].reasons == ("no example has a name yet",)


def test_what_is_like_a_named_area_comes_after_what_is_not():
    areas = [*(waiting(0, n) for n in range(5)), *(waiting(1, n) for n in range(3))]
    order = [one.area.name for one in rank(areas, namer(waiting(0, 9)))]
    assert order[0] == "1.png"
    assert order[-1] == "0.png"


def test_among_equals_an_open_verdict_and_a_disagreement_come_first():
    calm, odd = waiting(0, 0), waiting(0, 0, verdict="uncertain", probability=0.5, disagree=True)
    first = rank([calm, odd], None)[0]
    assert first.area is odd
    assert first.reasons[:2] == ("the verdict is open (0.50)", "model and comparison disagree")


def test_nothing_waits_and_thousands_wait():
    assert rank([], None) == ()
    many = [waiting(n % 3, n) for n in range(MOST_WAITING + 50)]
    assert len(rank(many, None)) == MOST_WAITING
