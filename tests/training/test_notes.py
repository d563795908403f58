"""Questions that the notes answer."""

from __future__ import annotations

import random

import pytest

from reason_iad.knowledge.entries import load_categories
from reason_iad.training.notes import REPORTED, ask_notes, products


@pytest.fixture(scope="module")
def all_products():
    return products()


@pytest.fixture(scope="module")
def asked(all_products):
    rng = random.Random(0)
    return [ask_notes(rng.choice(all_products), all_products, rng, 4) for _ in range(200)]


def test_the_right_answer_stands_in_the_notes_and_no_wrong_one_does(asked):
    for notes, questions in asked:
        text = " ".join(notes).lower()
        for q in questions:
            assert q.answer.lower().rstrip(".") in text
            if q.kind in ("Object Classification", "Object Analysis"):
                assert not [o for o in q.options if o != q.answer and notes[0].lower() == f"normal {o.lower()}"]


def test_every_kind_that_notes_can_answer_is_asked(asked):
    kinds = {q.kind for _, questions in asked for q in questions}
    assert kinds == {"Object Classification", "Object Analysis", "Defect Analysis", "Defect Description"}


def test_nothing_said_of_a_reported_product_is_trained_on(all_products):
    names = {p.name for p in all_products}
    texts = {text for p in all_products for text in p.consequences.values()}
    for known in load_categories():
        if known.category in REPORTED:
            assert known.name not in names
            assert not texts & {d.consequence for d in known.defects}


def test_notes_read_as_retrieved_knowledge_does(all_products):
    known = next(k for k in load_categories() if k.category == "metal_nut")
    product = next(p for p in all_products if p.name == known.name)
    retrieved = {entry.text for entry in known.entries()}
    assert set(product.notes(sorted(product.looks))) <= retrieved
