"""Telling a question's type from its words."""

from __future__ import annotations

import pytest

from reason_iad.inspection.question_kinds import ALIKE, PHRASES, kind_of
from reason_iad.training.questions import KINDS


def test_the_types_are_those_of_the_benchmark():
    assert set(PHRASES) == set(KINDS)


def test_no_wording_stands_for_two_types():
    known = [phrase for phrases in PHRASES.values() for phrase in phrases]
    assert len(known) == len(set(known))


def test_the_nearest_wording_decides_and_a_distant_one_does_not():
    assert kind_of("?", lambda text, known: (known.index("What can this defect lead to?"), ALIKE)) == "Defect Analysis"
    assert kind_of("?", lambda text, known: (0, ALIKE - 0.01)) is None


@pytest.mark.weights
@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a defect on this part?", "Anomaly Detection"),
        ("Where exactly is the defect?", "Defect Localization"),
        ("What product is this?", "Object Classification"),
        ("What type of defect can be seen?", "Defect Classification"),
        ("What consequence may the defect have?", "Defect Analysis"),
        ("Who sold the machine to the plant?", None),
    ],
)
def test_questions_in_other_words_are_told_by_the_bundled_encoder(question, kind):
    from reason_iad.knowledge.encoders import configured_encoder
    from reason_iad.knowledge.retrieve import KnowledgeBase

    base = KnowledgeBase.load(encoder=configured_encoder())
    assert kind_of(question, base.closest) == kind
