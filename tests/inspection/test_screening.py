"""Parts that the evidence clears alone: same verdicts, and nobody asked in vain."""

from __future__ import annotations

import math

import pytest

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.screening import SLACK, AnswerRange, SilentDialog, screen
from reason_iad.inspection.verdict import Fusion, VerdictOptions, decide
from reason_iad.models.vision_cache import CachedVision
from reason_iad.types import EvidenceSummary, InspectionRequest

FUSION = Fusion(-0.5, 0.3, 0.6, "made up")
LIMITS = VerdictOptions(0.02)
ANSWERS = AnswerRange(calm=0.3, lowest=-3.0, middle=-2.0, highest=-1.0, images=40)


def summary(score: float, references: int = 4) -> EvidenceSummary:
    return EvidenceSummary(references, score, None, False, "Calm.")


@pytest.mark.parametrize("score", [0.01, 0.1, 0.2, 0.3])
def test_a_cleared_part_is_normal_whatever_the_model_answers_within_its_range(score):
    cleared = screen(FUSION, summary(score), LIMITS, ANSWERS)
    assert cleared is not None
    for step in range(101):
        odds = -3.0 - SLACK + step / 100 * (2 + 2 * SLACK)
        model = 1 / (1 + math.exp(-odds))
        probability = FUSION.probability(model, score)
        assert probability <= cleared.highest + 1e-9
        assert decide(probability, summary(score), LIMITS, FUSION.alone(model, score))[0] == "normal"
    assert cleared.probability == pytest.approx(FUSION.probability(1 / (1 + math.exp(2.0)), score))
    assert f"at most {cleared.highest:.2f}" in cleared.note
    assert "a margin of" in cleared.note


def test_where_an_answer_could_change_the_verdict_the_model_is_asked():
    eager = AnswerRange(calm=0.3, lowest=-3.0, middle=0.0, highest=3.0, images=40)
    assert screen(FUSION, summary(0.2), LIMITS, eager) is None


@pytest.mark.parametrize(
    ("evidence", "answers"),
    [(summary(0.31), ANSWERS), (summary(0.1, references=1), ANSWERS), (None, ANSWERS), (summary(0.1), None)],
)
def test_nothing_is_cleared_beyond_what_the_range_was_measured_on(evidence, answers):
    assert screen(FUSION, evidence, LIMITS, answers) is None


def test_a_range_is_read_from_the_models_settings_and_a_broken_one_is_refused():
    stored = {"calm": 0.3, "lowest": -3, "middle": -2, "highest": -1, "images": 40}
    assert AnswerRange.from_settings({"answers": stored}) == ANSWERS
    assert AnswerRange.from_settings({}) is None
    for broken in ({**stored, "highest": -9}, {"calm": 0.3}):
        with pytest.raises(ModelError, match="range of answers"):
            AnswerRange.from_settings({"answers": broken})


def test_the_shipped_adapter_holds_a_range():
    import json

    from reason_iad.models.sources import default_adapter

    found = AnswerRange.from_settings(json.loads((default_adapter() / "adapter.json").read_text()))
    assert found is not None
    assert found.images >= 20


@pytest.fixture(scope="module")
def made(tiny_nano):
    """An inspector with a fusion and a range by which a calm part is cleared."""
    from tiny_encoder import TinyEncoder

    from reason_iad.knowledge.entries import load_categories
    from reason_iad.knowledge.retrieve import KnowledgeBase

    categories = load_categories()
    entries = [e for c in categories for e in c.entries() if c.category in ("hazelnut", "any_product")]
    knowledge = KnowledgeBase(entries, TinyEncoder(), categories)
    weights = {"bias": -0.5, "model": 0.05, "evidence": 0.6, "note": "made up"}
    fusion = dict.fromkeys(("with_evidence", "one_reference", "without_evidence"), weights)
    answers = {"calm": 0.6, "lowest": -2, "middle": 0, "highest": 2, "images": 1}
    settings = {"fusion": fusion, "answers": answers}

    def make(reason, model=tiny_nano):
        options = InspectorOptions(num_steps=2, reason=reason)
        return Inspector(options, model, CachedVision(tiny_nano.vision), knowledge, None, settings)

    return make


@pytest.fixture(scope="module")
def goods():
    import numpy as np

    rng = np.random.default_rng(3)
    base = rng.integers(60, 200, (96, 96, 3))
    return [np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(4)]


class Unasked:
    """A model that may be described, and not asked."""

    def __init__(self, model):
        self.info, self.capabilities, self.spent = model.info, model.capabilities, None

    def __getattr__(self, name):
        raise AssertionError(f"the model was asked: {name}")


def test_auto_gives_the_verdicts_of_always_and_asks_for_odd_parts_alone(made, goods):
    odd = goods[3].copy()
    odd[60:84, 8:40] = 255
    for image in (goods[3], odd):
        request = InspectionRequest(image, "hazelnut", tuple(goods[:3]))
        auto, always = made("auto").run(request), made("always").run(request)
        assert auto.report.verdict == always.report.verdict
        assert always.report.trace is not None
        assert (auto.report.trace is None) == (image is not odd)
    assert any("It was not asked" in note for note in made("auto").run(
        InspectionRequest(goods[3], "hazelnut", tuple(goods[:3]))
    ).report.notes)  # fmt: skip


def test_a_cleared_part_asks_nobody_until_a_question_comes(made, goods, tiny_nano):
    request = InspectionRequest(goods[3], "hazelnut", tuple(goods[:3]))
    found = made("auto", Unasked(tiny_nano)).run(request)
    assert found.report.verdict == "normal"
    with pytest.raises(AssertionError, match="the model was asked"):
        found.session.choose("Is it whole?", ("Yes.", "No."))
    asked = made("auto").run(InspectionRequest(goods[3], "hazelnut", tuple(goods[:3]), "Is it whole?", ("Yes.", "No.")))
    assert asked.report.answers[0].question == "Is it whole?"


def test_never_calls_a_calm_part_normal_whatever_the_fusion_thinks_of_a_silent_model(made, goods, tiny_nano):
    inspector = made("never", Unasked(tiny_nano))
    found = inspector.run(InspectionRequest(goods[3], "hazelnut", tuple(goods[:3]))).report
    assert found.verdict == "normal"
    assert found.probability == pytest.approx(found.anomaly_score)
    assert found.probability_note.startswith("no model was asked")


def test_never_judges_by_the_evidence_and_says_so(made, goods, tiny_nano):
    inspector = made("never", Unasked(tiny_nano))
    odd = goods[3].copy()
    odd[60:84, 8:40] = 255
    report = inspector.run(InspectionRequest(odd, "hazelnut", tuple(goods[:3]), "Is it whole?")).report
    assert any("was not asked (--reason never)" in note for note in report.notes)
    assert report.trace is None or report.trace.mode == "off"
    assert report.verdict != "normal"
    with pytest.raises(InputError, match="found --reason never and nothing to compare"):
        inspector.run(InspectionRequest(odd, "hazelnut"))


def test_a_silent_dialog_holds_every_option_as_likely():
    reply = SilentDialog().choose("Which?", ("a", "b", "c", "d"))
    assert [option.probability for option in reply.answer.options] == [0.25] * 4
