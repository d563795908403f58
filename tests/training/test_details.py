"""Details in training: boxes as in use, at times beside the defect; what is asked of them follows from the mask."""

from __future__ import annotations

import random

import numpy as np
import pytest

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.reasoning.details import DetailOptions, GoodPlace, Views, cut, overlap, parts_of
from reason_iad.training.details import (
    DEFECT,
    NOTHING,
    PART,
    SAME,
    ask_about,
    draw_details,
    look_text,
    place_pictures,
    record_of,
    what_shows,
)

SIDE = 512
LOOK = look_text("tiny", "compact", "darker than")


@pytest.fixture
def mask():
    """A defect of 0.15 % at the lower right."""
    found = np.zeros((SIDE, SIDE), bool)
    found[400:420, 420:440] = True
    return found


@pytest.fixture
def views():
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    return Views(pixels, lambda box: GoodPlace(0, box, 0.1, cut(pixels[::-1], box)), True)


def evidence(row, column):
    """A map that is odd at one place."""
    raw = np.zeros((28, 28), np.float32)
    raw[row, column] = 9.0
    return EvidenceMap(raw, raw / 9, 0.9, None, 4, ())


def test_details_are_led_by_evidence_by_the_mask_and_by_chance(views, mask):
    shown = [draw_details(views, evidence(2, 2), mask, 3, np.random.default_rng(k)) for k in range(40)]
    first, second, third = (np.mean([one[at].shows == DEFECT for one in shown]) for at in range(3))
    assert first < 0.2 < 0.9 < second, "evidence elsewhere leads elsewhere, the mask to the defect"
    assert third < 0.2, "the defect was met before, and chance alone leads there seldom"
    boxes = [[drawn.detail.box_xyxy for drawn in one] for one in shown]
    most = DetailOptions().overlap
    assert all(overlap(a, b) <= most for one in boxes for i, a in enumerate(one) for b in one[:i])


def test_no_detail_of_a_normal_image_shows_a_defect(views):
    drawn = draw_details(views, evidence(14, 14), None, 3, np.random.default_rng(0))
    assert [one.shows for one in drawn] == [NOTHING] * 3


def test_what_a_box_shows_follows_from_the_mask(mask):
    assert what_shows(mask, (400, 380, 460, 440)) == DEFECT
    assert what_shows(mask, (0, 0, 100, 100)) == NOTHING
    assert what_shows(mask, (439, 300, 510, 401)) == PART
    assert what_shows(None, (0, 0, 100, 100)) == NOTHING


def test_a_stored_detail_stands_in_a_prompt_as_use_writes_it(views, mask):
    drawn = draw_details(views, evidence(2, 2), mask, 1, np.random.default_rng(0))[0]
    placed = place_pictures(record_of(drawn)["parts"], 5)
    written = parts_of(drawn.detail)
    assert [part for part in placed if isinstance(part, str)] == [part for part in written if isinstance(part, str)]
    assert [part for part in placed if not isinstance(part, str)] == [5, 6]
    assert [isinstance(part, str) for part in placed] == [isinstance(part, str) for part in written]


def test_what_is_asked_of_a_detail_is_answered_by_what_it_shows():
    rng = random.Random(0)
    asked = {shows: [ask_about(shows, LOOK, rng) for _ in range(60)] for shows in (DEFECT, NOTHING)}
    assert {question.answer for question in asked[DEFECT]} == {"Yes.", LOOK}
    assert {question.answer for question in asked[NOTHING]} == {"No.", SAME}
    assert all(SAME in question.options for one in asked.values() for question in one if len(question.options) > 2)
    assert all(len(set(question.options)) == len(question.options) for one in asked.values() for question in one)


def test_a_detail_with_a_part_of_a_defect_is_not_asked_about():
    assert all(ask_about(PART, LOOK, random.Random(k)) is None for k in range(20))
