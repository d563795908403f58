"""Questions about synthetic images: the right answer is right, wrong ones are wrong, the form is that of MMAD."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict

import numpy as np
import pytest

from reason_iad.errors import InputError
from reason_iad.inspection.question_kinds import DETECTION, LEADS, LOOK, TYPE, WHAT, WHERE
from reason_iad.training.questions import (
    CONFUSABLE,
    FREE_FORM,
    KINDS,
    MOST_OPTIONS,
    clearly_placed,
    knowledge_for,
    questions_for,
    questions_from_mmad,
    sentence,
)
from reason_iad.training.synth import CATEGORIES, Synthesizer, paste_defect
from reason_iad.training.synth_catalog import CATALOG
from reason_iad.training.synth_effects import LOOKS


@pytest.fixture(scope="module")
def samples():
    synthesizer = Synthesizer(4, 128)
    found = []
    for index in range(len(CATEGORIES)):
        line = synthesizer.make_line(index)
        found += [line.normal_sample(0), line.defective(0), line.defective(1)]
    return found


@pytest.fixture(scope="module")
def asked(samples):
    """(sample, question) by kind, of two rounds of questions."""
    found = defaultdict(list)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        for sample in samples:
            for question in questions_for(sample, rng):
                found[question.kind].append((sample, question))
    return dict(found)


def is_defective(sample):
    return hasattr(sample, "mask")


def test_every_question_has_the_form_of_the_benchmark(asked):
    assert set(asked) == {*KINDS, FREE_FORM}
    for kind, pairs in asked.items():
        for _, question in pairs:
            assert question.free_form == (kind == FREE_FORM)
            assert len(question.options) == 1 if question.free_form else 2 <= len(question.options) <= MOST_OPTIONS
            assert len(set(question.options)) == len(question.options)
            assert question.answer == question.options[question.answer_index]
            for text in question.options:
                assert text[0] == text[0].upper()
                assert text.endswith(".")
                assert not text.endswith("..")
            assert question.question.endswith(("?", "."))


def test_the_verdict_is_yes_exactly_for_defective_images(asked):
    for sample, question in asked["Anomaly Detection"]:
        assert question.answer in (("Yes.", "Defective.") if is_defective(sample) else ("No.", "Normal."))
        assert (set(question.options) == {"Yes.", "No."}) == (question.question in DETECTION)


def test_normal_images_get_no_question_about_a_defect(samples):
    for sample in samples:
        kinds = {q.kind for q in questions_for(sample, np.random.default_rng(0))}
        assert any(kind.startswith("Defect") for kind in kinds) == is_defective(sample)


def test_the_object_is_the_one_that_was_painted(asked):
    for sample, question in asked["Object Classification"]:
        assert question.answer == sentence(CATALOG[sample.category].object_name)
        assert question.question in WHAT


def test_facts_of_the_line_are_the_answers(asked):
    numbers = ["zero", "one", "two", "three", "four", "five", "six"]
    counted = colored = 0
    for sample, question in asked["Object Analysis"]:
        if "screws does" in question.question:
            assert question.answer == sentence(numbers[int(sample.facts["screws"])])
            counted += 1
        if question.question == "What color is the object?":
            assert question.answer == sentence(sample.facts["color"])
            colored += 1
    assert counted
    assert colored


def test_the_type_is_the_one_drawn_and_no_option_can_be_mistaken_for_it(asked):
    for sample, question in asked["Defect Classification"]:
        assert question.answer == sentence(sample.defect_type)
        assert question.question in TYPE
        for group in CONFUSABLE:
            if sample.defect_type in group:
                assert len({sentence(kind) for kind in group} & set(question.options)) == 1


def test_the_place_is_the_cell_that_holds_most_of_the_mask(asked):
    found = 0
    for sample, question in asked["Defect Localization"]:
        side = sample.mask.shape[0]
        edges = [0, -(-side // 3), -(-2 * side // 3), side]
        spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
        counts = [sample.mask[a, b].sum() for a in spans for b in spans]
        rows, columns = ("top", "middle", "bottom"), ("left", "center", "right")
        name = f"{rows[np.argmax(counts) // 3]} {columns[np.argmax(counts) % 3]}".replace("middle center", "center")
        assert question.answer == sentence(name)
        assert question.question in WHERE
        found += 1
    assert found > len(CATEGORIES)


def test_a_place_near_a_border_of_cells_is_not_asked(samples):
    sample = next(s for s in samples if is_defective(s) and clearly_placed(s))
    side = sample.mask.shape[0]
    moved = dataclasses.replace(sample, centroid_xy=(side / 3 + 1, sample.centroid_xy[1]))
    assert not clearly_placed(moved)


def test_the_description_says_the_measured_words_and_the_options_do_not(asked):
    found = 0
    for sample, question in asked["Defect Description"]:
        assert question.question in LOOK
        if "surroundings" in question.answer or "around it" in question.answer:
            words = (sample.size, sample.shape, sample.tone)
            fits = [all(word in text.lower() for word in words) for text in question.options]
            assert fits.count(True) == 1
            assert fits[question.answer_index]
            found += 1
        else:
            assert question.answer == sentence(LOOKS[sample.defect_type])
    assert found > len(CATEGORIES)


def test_the_consequence_belongs_to_the_category_and_the_defect(asked):
    for sample, question in asked["Defect Analysis"]:
        effects = CATALOG[sample.category].consequences
        assert question.answer == effects[sample.defect_type]
        assert question.question in LEADS


def test_the_report_states_verdict_type_place_and_look(asked):
    for sample, question in asked[FREE_FORM]:
        text = question.answer.lower()
        if is_defective(sample):
            assert all(
                word in text for word in (sample.defect_type, sample.place, sample.size, sample.shape, sample.tone)
            )
            assert "defective" in text or "rejected" in text
        else:
            assert "no defect" in text
            assert "defective" not in text


def test_options_come_in_every_order_and_wordings_vary(asked):
    questions = [q for _, q in asked["Object Classification"] if len(q.options) == MOST_OPTIONS]
    shares = np.bincount([q.answer_index for q in questions], minlength=MOST_OPTIONS) / len(questions)
    assert shares.min() > 0.4 / MOST_OPTIONS
    assert len({q.question for q in questions}) == len(WHAT)


def test_the_same_generator_state_asks_the_same(samples):
    first, second = (questions_for(samples[1], np.random.default_rng(9)) for _ in range(2))
    assert first == second


def test_nothing_is_asked_about_the_object_of_a_pasted_defect():
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 130, (128, 128, 3)).astype(np.uint8)
    questions = questions_for(paste_defect(pixels, rng), rng)
    kinds = {q.kind for q in questions}
    assert "Anomaly Detection" in kinds
    assert not {"Object Classification", "Object Analysis", "Defect Analysis"} & kinds


def test_knowledge_names_the_normal_look_and_every_defect():
    for name in CATEGORIES:
        spec, texts = CATALOG[name], knowledge_for(name)
        assert len(texts) == 1 + len(spec.defects)
        assert spec.surface in texts[0]
        for kind, text in zip(spec.defects, texts[1:], strict=True):
            assert text.startswith(f"{spec.object_name}, {kind}: ")
            assert sentence(LOOKS[kind]) in text
            assert sentence(spec.consequences[kind]) in text


def test_a_benchmark_entry_becomes_the_same_questions():
    entry = {
        "image_path": "a/b.jpg",
        "conversation": [
            {
                "Question": "Which part?",
                "Answer": "C",
                "Options": {"A": "x.", "B": "y.", "C": "z."},
                "type": "Object Analysis",
            }
        ],
    }
    (question,) = questions_from_mmad(entry)
    assert (question.kind, question.question, question.options) == (
        "Object Analysis",
        "Which part?",
        ("x.", "y.", "z."),
    )
    assert question.answer == "z."


@pytest.mark.parametrize(
    "entry",
    [
        {"image_path": "a.jpg"},
        {"conversation": [{"Question": "?", "Answer": "E", "Options": {"A": "x."}, "type": "Object Analysis"}]},
        {"conversation": [{"Question": "?", "Answer": "A", "type": "Object Analysis"}]},
        {"conversation": ["text"]},
    ],
)
def test_a_damaged_benchmark_entry_is_refused(entry):
    with pytest.raises(InputError, match="expected"):
        questions_from_mmad(entry)
