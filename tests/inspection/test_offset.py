"""The offset by references: what it cancels, what it costs, and where it is left out."""

from __future__ import annotations

import numpy as np
import pytest
from made_vision import PooledVision
from simulated_model import SimulatedModel

from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import from_pixels
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.offset import good_parts, without
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.screening import AnswerRange
from reason_iad.inspection.sources import SetEvidence
from reason_iad.inspection.verdict import logit
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.vision_cache import CachedVision
from reason_iad.types import InspectionReport

OPTIONS = InspectorOptions(latents="off", injection="off", knowledge="none")
FIT = {"bias": 0.2, "model": 0.8, "evidence": 0.5, "note": "fitted"}
BROKEN = {"with_evidence": FIT, "one_reference": FIT, "without_evidence": FIT}


@pytest.fixture(scope="module")
def goods():
    rng = np.random.default_rng(3)
    base = rng.integers(60, 180, (96, 96, 3))
    return [np.clip(base + rng.normal(0, 6, base.shape), 0, 240).astype(np.uint8) for _ in range(6)]


@pytest.fixture(scope="module")
def odd(goods):
    pixels = goods[5].copy()
    pixels[60:84, 8:40] = 255
    return pixels


@pytest.fixture
def inspector_of():
    vision = CachedVision(PooledVision())

    def make(model, settings=None, options=OPTIONS):
        return Inspector(options, model, vision, KnowledgeBase([]), settings=settings)

    return make


@pytest.mark.parametrize(("bias", "count"), [(-4.0, 1), (3.0, 4)])
def test_a_constant_bias_of_the_model_leaves_no_trace_in_the_probability(inspector_of, goods, odd, bias, count):
    for image in (odd, goods[5]):
        said = [
            inspector_of(SimulatedModel(bias=b)).inspect(image, references=goods[:count]).probability
            for b in (0.0, bias)
        ]
        assert said[1] == pytest.approx(said[0], abs=2e-4)
    off = InspectorOptions(latents="off", injection="off", knowledge="none", offset="off")
    raw = [
        inspector_of(SimulatedModel(bias=b), options=off).inspect(odd, references=goods[:count]).probability
        for b in (0.0, bias)
    ]
    assert abs(logit(raw[1]) - logit(raw[0])) > 1.0


def test_the_good_parts_of_a_product_are_asked_about_once_for_a_lot(inspector_of, goods, odd):
    model = SimulatedModel(bias=2.0)
    inspector = inspector_of(model)
    first = inspector.inspect(goods[4], references=goods[:4])
    after_first = len(model.asked)
    second = inspector.inspect(odd, references=goods[:4])
    assert first.offset == second.offset
    details = 1 if second.verdict != "normal" else 0
    assert len(model.asked) - after_first <= 1 + 6 * details  # the verdict, and words about the defect
    assert not any(np.array_equal(pictures[-1], goods[0]) for pictures in model.asked[after_first:])
    inspector.inspect(odd, references=goods[1:5])
    assert any(np.array_equal(pictures[-1], goods[4]) for pictures in model.asked[after_first:])


def test_a_good_part_is_shown_beside_the_others_and_never_beside_itself(inspector_of, goods):
    model = SimulatedModel()
    inspector_of(model).inspect(goods[5], references=goods[:3])
    about_references = [p for p in model.asked if not np.array_equal(p[-1], goods[5])]
    assert len(about_references) == 3
    for pictures in about_references:
        assert len(pictures) == 3  # two others and itself, which is asked about
        assert not any(np.array_equal(shown, pictures[-1]) for shown in pictures[:-1])


def test_the_report_says_what_was_subtracted(inspector_of, goods, odd):
    report = inspector_of(SimulatedModel(bias=3.0)).inspect(odd, references=goods[:4])
    assert report.offset.log_odds == pytest.approx([1.0] * 4, abs=1e-3)
    assert "log-odds on 4 good parts, +1.00 on average, were subtracted" in report.probability_note
    assert InspectionReport.from_json(report.to_json()) == report


def test_without_references_or_with_a_fit_that_was_made_without_nothing_is_subtracted(inspector_of, goods, odd):
    model = SimulatedModel()
    assert inspector_of(model).inspect(odd).offset is None
    assert len({picture.tobytes() for p in model.asked for picture in p}) == 1
    assert inspector_of(model, {"fusion": BROKEN}).inspect(odd, references=goods[:2]).offset is None
    made_with = {key: {**FIT, "offset": True} for key in BROKEN}
    assert inspector_of(model, {"fusion": made_with}).inspect(odd, references=goods[:2]).offset is not None


def test_where_the_comparison_is_off_the_references_are_asked_about_without_it(inspector_of, goods, odd):
    model = SimulatedModel(bias=1.0)
    options = InspectorOptions(latents="off", injection="off", knowledge="none", evidence="off")
    report = inspector_of(model, options=options).inspect(odd, references=goods[:2])
    assert report.offset.mean == pytest.approx(-1.0, abs=1e-3)
    assert report.evidence is None


def test_a_good_part_is_compared_with_the_others_alone(goods):
    vision = CachedVision(PooledVision())
    bank = MemoryBank.build(goods[:4], vision)
    fewer = without(bank, 1)
    assert fewer.num_references == 3
    for source in bank.features:
        kept = [fewer.upright(source)[i] for i in range(3)]
        assert all((k == bank.upright(source)[j]).all() for k, j in zip(kept, (0, 2, 3), strict=True))
    loaded = tuple(from_pixels(good, "good") for good in goods[:4])
    parts = good_parts(SetEvidence(bank, loaded, vision, 0.02), vision)
    assert [part.evidence.anomaly_score for part in parts] == pytest.approx(bank.leave_one_out_scores())


def test_good_parts_that_are_cleared_need_no_offset_and_its_range_holds_for_any():
    found = AnswerRange(0.3, -3.0, -2.0, -1.0, 30).less_any()
    for image in (-3.0, -2.0, -1.0):
        for goods in (-3.0, -1.0):
            assert found.lowest <= image - goods <= found.highest
    assert logit(0.5) == found.middle
