"""Option probabilities that evidence and knowledge have a say in."""

from __future__ import annotations

from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest

from reason_iad.errors import ModelError
from reason_iad.evidence.claims import LookReliability
from reason_iad.evidence.looks import Look
from reason_iad.inspection.dialog import Reply
from reason_iad.inspection.option_fusion import OptionFusion, OptionWeights, Spoken, fit_weights
from reason_iad.inspection.session import Session
from reason_iad.inspection.verdict import UNCALIBRATED
from reason_iad.types import Answer, LatentTrace, OptionProbability

LOOK = Look("top left", "tiny", "compact", "darker than")
OTHER = Look("center", "large", "elongated", "brighter than")
TABLES = LookReliability.count(
    [
        ("Top left.", LOOK, 0.9),
        ("A tiny, compact spot, darker than its surroundings.", LOOK, 0.9),
        ("A large, elongated spot, brighter than its surroundings.", OTHER, 0.9),
    ]
    * 50
)
SETTINGS = {
    "options": {
        "weights": {
            "any": {"model": 0.5, "evidence": 0.0, "knowledge": 0.0},
            "Defect Localization": {"model": 1.0, "evidence": 1.0, "knowledge": 0.0},
            "Object Classification": {"model": 1.0, "evidence": 0.0, "knowledge": 10.0, "excluded": 10.0},
        },
        "looks": TABLES.to_settings(),
    }
}


def reply(question: str, **options: float) -> Reply:
    pairs = tuple(OptionProbability(text.replace("_", " "), p) for text, p in options.items())
    best = max(pairs, key=lambda o: o.probability)
    values = tuple(options.values())
    return Reply(Answer(question, best.text, pairs), LatentTrace("off", (), None, None, values, values, "off", False))


class Knows:
    """A knowledge base of one category."""

    def find_category(self, name: str) -> str | None:
        return name if name == "cookie" else None

    def support(self, question: str, options: list[str], category: str) -> tuple[float, ...]:
        return tuple(float(category in option.lower()) for option in options)

    def closest(self, text: str, candidates: list[str]) -> tuple[int, float]:
        return (candidates.index(text), 1.0) if text in candidates else (0, 0.0)

    def knowledge_of(self, category: str) -> SimpleNamespace:
        defects = [
            ("pore", "A tiny dark pit at the bottom."),
            ("bubble", "A large bright patch."),
            ("dent", "A hollow."),
        ]
        return SimpleNamespace(defects=[SimpleNamespace(name=n, look=look) for n, look in defects])


def session(look: Look | None = None, category: str = "unknown", excluded: tuple[str, ...] = ()) -> Session:
    evidence = None if look is None else SimpleNamespace(anomaly_map=np.ones((2, 2)))
    summary = None if look is None else SimpleNamespace(anomaly_score=0.9)
    context = SimpleNamespace(
        summary=summary,
        look=look,
        evidence=evidence,
        category=category,
        excluded=excluded,
        citations=[SimpleNamespace(category="cookie")],
    )
    return Session(context, None, UNCALIBRATED, OptionFusion.from_settings(SETTINGS), Knows())  # type: ignore[arg-type]


def test_without_settings_the_model_alone_is_believed():
    assert OptionFusion.from_settings({}).of("Defect Localization") == OptionWeights(1.0, 0.0, 0.0)


def test_fusing_is_bayes_rule_where_all_weights_are_one():
    model, likelihood = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.6, 0.3])
    expected = model * likelihood / (model @ likelihood)
    spoken = Spoken(model.tolist(), np.log(likelihood).tolist(), [0.0] * 3, [0.0] * 3)
    assert spoken.joined(OptionWeights(1.0, 1.0)) == pytest.approx(expected.tolist())


def test_the_fitted_weights_are_those_that_answers_were_drawn_with():
    rng = np.random.default_rng(0)
    true, asked = OptionWeights(0.4, 0.8, 6.0, 3.0), []
    for _ in range(4000):
        m, e = rng.dirichlet(np.ones(4)).tolist(), rng.normal(0, 1, 4).tolist()
        k, u = rng.normal(0, 0.2, (2, 4)).tolist()
        spoken = Spoken(m, e, k, u)
        asked.append((spoken, int(rng.choice(4, p=spoken.joined(true)))))
    found = fit_weights(asked)
    assert astuple(found) == pytest.approx(astuple(true), rel=0.15)


def test_few_questions_are_drawn_to_the_prior():
    asked = [(Spoken([0.9, 0.1], [0.0, 3.0], [0.0, 0.0], [0.0, 0.0]), 1)] * 2
    prior = OptionWeights(0.5, 0.1, 1.0)
    assert abs(fit_weights(asked, prior).evidence - 0.1) < abs(fit_weights(asked).evidence - 0.1)


def test_the_measured_place_overrules_a_model_that_guesses():
    told = session(LOOK).calibrate(reply("Where in the image is the defect?", Left=0.1, Right=0.4, Bottom_right=0.5))
    assert told.answer.text == "Left"
    assert told.answer.grounds == ("the measured place and look",)
    assert sum(o.probability for o in told.answer.options) == pytest.approx(1)
    assert told.trace.answer == (0.1, 0.4, 0.5)  # what the model said is kept


def test_without_evidence_or_of_another_type_the_place_has_no_say():
    assert session().calibrate(reply("Where in the image is the defect?", Left=0.1, Right=0.9)).answer.text == "Right"
    told = session(LOOK).calibrate(reply("Which side is printed?", Left=0.1, Right=0.9))
    assert (told.answer.text, told.answer.grounds) == ("Right", ())
    assert told.answer.options[1].probability == pytest.approx(0.75)  # softened by the weights of any type


def test_the_knowledge_of_a_known_category_has_a_say_and_of_an_unknown_one_none():
    asked = reply("What is it?", Cookie=0.2, Nut=0.8)
    told = session(category="cookie").calibrate(asked, "Object Classification")
    assert told.answer.text == "Cookie"
    assert told.answer.grounds == ("the knowledge of the category cookie",)
    assert session().calibrate(asked, "Object Classification").answer.text == "Nut"


def test_what_only_excluded_categories_have_is_unlikely():
    asked = reply("What is the object in the image?", Cookie=0.7, Nut=0.2, Tile=0.1)
    told = session(excluded=("cookie",)).calibrate(asked)
    assert told.answer.text == "Nut"
    assert told.answer.grounds == ("the knowledge of learned categories, none of which it shows",)
    assert session().calibrate(asked).answer.text == "Cookie"


def test_the_knowledge_of_how_a_kind_looks_is_held_against_what_was_measured():
    asked = reply("Where in the image is the defect?", pore=0.3, bubble=0.4, dent=0.3)
    told = session(LOOK, category="cookie").calibrate(asked)  # tiny, compact, darker
    assert told.answer.text == "pore"
    assert session(LOOK).calibrate(asked).answer.text == "bubble"  # of an unknown category no look is known
    found = session(LOOK, category="cookie").measured(["pore", "dent", "something else"])
    assert found[0] > found[1] == pytest.approx(found[2])


def test_yes_and_no_are_not_held_against_the_knowledge():
    asked = reply("Does it taste of cookie?", Yes_cookie=0.3, No=0.7)
    told = session(category="cookie").calibrate(asked, "Object Classification")
    assert (told.answer.text, told.answer.grounds) == ("No", ())


def test_whether_there_is_a_defect_is_answered_by_the_probability_of_the_verdict():
    looked = session(LOOK)
    told = looked.calibrate(reply("Would you reject this object?", Yes=0.2, No=0.8))
    assert told.answer.options[0].probability == pytest.approx(looked.probability(0.2))
    assert told.answer.grounds == ("the anomaly score",)


@pytest.mark.parametrize("fault", [{"weights": {"any": {"model": 0.0}}}, {"weights": {"any": 3}}, {"looks": {}}])
def test_settings_that_hold_no_weights_are_refused(fault):
    with pytest.raises(ModelError, match=r"weights of options|tables"):
        OptionFusion.from_settings({"options": {**SETTINGS["options"], **fault}})


def test_a_changed_answer_tells_how_decided_it_is():
    told = session(LOOK).calibrate(reply("Where in the image is the defect?", Left=0.5, Right=0.5))
    p = told.answer.options[0].probability
    assert told.answer.entropy == pytest.approx(-(p * np.log(p) + (1 - p) * np.log(1 - p)) / np.log(2), abs=1e-5)
