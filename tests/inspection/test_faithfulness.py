"""Faithfulness: planted explanations that are right or wrong, and the pixels that are changed."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from made_report import make_report

from reason_iad.inspection.faithfulness import keep_alone, measure, paint_over, random_boxes
from reason_iad.inspection.options import InspectorOptions
from reason_iad.types import InjectedPatch, InspectionRequest, Region, TriedDetail

PLACE = (30, 20, 50, 40)


class SeesOnePlace:
    """Says "defective" by how dark one place of the image is, and by nothing else."""

    def __init__(self, options: InspectorOptions | None = None) -> None:
        self.options = options or InspectorOptions()

    def with_options(self, options):
        return SeesOnePlace(options)

    def run(self, request):
        pixels = request.image
        left, top, right, bottom = PLACE
        dark = 1 - float(pixels[top:bottom, left:right].mean()) / 255
        bonus = 0.1 if self.options.evidence == "on" else 0.0
        return SimpleNamespace(report=SimpleNamespace(probability=0.8 * dark + bonus))


def image() -> np.ndarray:
    pixels = np.full((80, 120, 3), 230, np.uint8)
    pixels[20:40, 30:50] = 10
    return pixels


def said(*boxes):
    regions = tuple(Region(box, "center", 0.9, 0.04) for box in boxes)
    report = make_report(regions=regions, image_hw=(80, 120), citations=(), trace=None)
    return SimpleNamespace(report=report, pixels=image(), verdict_trace=None)


def test_a_right_region_moves_the_answer_further_than_any_random_one():
    deletion, insertion, evidence = measure(SeesOnePlace(), said(PLACE), (), num_random=6).rows
    assert deletion.moved < -0.5
    assert all(abs(moved) < 0.05 for moved in deletion.random_moved)
    assert abs(insertion.moved) < 0.05
    assert all(moved < -0.05 for moved in insertion.random_moved)
    assert evidence.moved == pytest.approx(-0.1)


def test_a_wrong_region_moves_it_no_further():
    deletion, *_ = measure(SeesOnePlace(), said((80, 50, 100, 70)), (), num_random=6).rows
    assert abs(deletion.moved) < 0.01
    assert max(abs(moved) for moved in deletion.random_moved) >= abs(deletion.moved)


def test_the_same_seed_gives_the_same_figures():
    first, again = (measure(SeesOnePlace(), said(PLACE), (), seed=3) for _ in range(2))
    assert dataclasses.replace(first, milliseconds=0) == dataclasses.replace(again, milliseconds=0)


def test_painting_over_leaves_no_trace_on_an_even_ground_and_touches_nothing_else():
    filled = paint_over(image(), [PLACE])
    assert (filled == 230).all()
    corner = paint_over(image(), [(100, 60, 120, 80)])
    assert (corner == image()).all()


def test_keeping_alone_keeps_exactly_the_boxes():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    kept = keep_alone(pixels, [(8, 8, 24, 24)])
    assert (kept[8:24, 8:24] == pixels[8:24, 8:24]).all()
    assert kept[32:].std() < 0.5 * pixels[32:].std()


def test_random_boxes_have_the_same_sizes_stay_inside_and_avoid_the_given_ones():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ((left, top, right, bottom),) = random_boxes([PLACE], (80, 120), rng)
        assert (right - left, bottom - top) == (20, 20)
        assert left >= 0
        assert top >= 0
        assert right <= 120
        assert bottom <= 80
        assert right <= 30 or left >= 50 or bottom <= 20 or top >= 40


def test_a_miniature_model_gives_every_row_its_figures(tiny_nano):
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.models.vision_cache import CachedVision

    inspector = Inspector(InspectorOptions(num_steps=1), tiny_nano, CachedVision(tiny_nano.vision), KnowledgeBase([]))
    found = said(PLACE)
    found.report = dataclasses.replace(found.report, category="unknown")
    rows = measure(inspector, found, [image()[:, ::-1].copy()], num_random=1).rows
    assert [row.change for row in rows] == [
        "the regions painted over",
        "only the regions left sharp",
        "without the comparison with good parts",
    ]
    # The figures again, each by an inspection of its own: a row that were made up would not meet them.
    goods, plain = (image()[:, ::-1].copy(),), InspectorOptions(latents="off", injection="off")
    view = inspector.with_options(plain)
    base = view.inspect(found.pixels, references=goods).probability
    painted = view.inspect(paint_over(found.pixels, [PLACE]), references=goods).probability
    bare = inspector.with_options(dataclasses.replace(plain, evidence="off")).inspect(found.pixels).probability
    assert rows[0].moved == pytest.approx(painted - base, abs=1e-5)
    assert rows[2].moved == pytest.approx(bare - base, abs=1e-5)
    assert [len(row.random_moved) for row in rows] == [1, 1, 0]


@pytest.mark.parametrize(
    ("options", "change", "used", "unused"),
    [
        (
            InspectorOptions(num_steps=1, latents="on", injection="on"),
            "patches",
            {"patches": (InjectedPatch(3, (0, 0, 1, 1), 0, 1.0),)},
            {"patches": ()},
        ),
        (
            InspectorOptions(num_steps=1, details="on"),
            "details",
            {"details": (TriedDetail((0, 0, 40, 40), "top left", 0, 1.0, True, None),)},
            {"details": (TriedDetail((0, 0, 40, 40), "top left", 0, 1.0, False, None),)},
        ),
    ],
)
def test_what_the_verdict_was_thought_with_is_held_against_random_ones(tiny_nano, options, change, used, unused):
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.models.vision_cache import CachedVision

    inspector = Inspector(options, tiny_nano, CachedVision(tiny_nano.vision), KnowledgeBase([]))
    found = inspector.run(InspectionRequest(image()))
    asked = dataclasses.replace(found.verdict_trace, **used)
    found = dataclasses.replace(found, verdict_trace=asked)
    (row,) = (row for row in measure(inspector, found, (), num_random=3).rows if change in row.change)
    assert len(row.random_moved) == 3
    without = dataclasses.replace(found, verdict_trace=dataclasses.replace(asked, **unused))
    assert not any(change in row.change for row in measure(inspector, without, (), num_random=1).rows)
