"""What the fitting of options' weights reads from prepared lines."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from reason_iad.evidence.looks import Look
from reason_iad.inspection.option_fusion import OptionWeights, Spoken
from reason_iad.knowledge.entries import load_categories, load_entries
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.training.fit_options import Asked, category_of, fit, measure, read_look, true_looks

LOOK = Look("middle left", "tiny", "elongated", "about as bright as")


def test_a_measured_look_is_read_without_its_finer_parts():
    record = {"looks": {"4": asdict(replace(LOOK, hue="redder", border="inside")), "1": None}}
    assert read_look(record, "4") == LOOK
    assert read_look(record, "1") is None
    assert read_look(record, None) is None


def test_only_true_texts_about_place_and_look_are_counted():
    line = {
        "records": [
            {
                "questions": [
                    {"kind": "Defect Localization", "options": ["Center.", "Middle left."], "answer_index": 1},
                    {"kind": "Object Analysis", "options": ["Left.", "Right."], "answer_index": 0},
                ],
                "looks": {"4": asdict(LOOK), "1": None},
                "scores": {"4": 0.7, "1": 0.2},
            }
        ]
    }
    assert list(true_looks([line])) == [("Middle left.", LOOK, 0.7)]


class OneWord:
    """Texts are alike if they share their last word."""

    name = "one word"

    def encode(self, texts):
        import zlib

        import numpy as np

        rows = np.zeros((len(texts), 4096), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[zlib.crc32(text.lower().split()[-1].encode()) % 4096] = 1
        return rows


@pytest.mark.parametrize(
    ("name", "knowledge", "category"),
    [
        ("real-hazelnut-3", [], "hazelnut"),
        ("line-00001", ["Normal ball bearing: It is round."], "ball_bearing"),
        ("line-00002", ["Normal old leather: It is soft."], "leather"),
        ("line-00003", ["Normal gizmo: It is odd."], None),
        (
            "line-00004",
            ["Normal solar cell: It is dark."],
            None,
        ),  # reported on: what its knowledge brings is not fitted
    ],
)
def test_the_category_of_a_line(name, knowledge, category):
    base = KnowledgeBase(load_entries(), OneWord(), load_categories())
    assert category_of({"name": name, "knowledge": knowledge}, base) == category


def test_accuracy_and_calibration_are_measured_with_the_weights_of_the_other_half():
    told = Spoken([0.9, 0.1], [0.0, 5.0], [0.0, 0.0], [0.0, 0.0])
    asked = [Asked(line, "Defect Localization", told, 1) for line in range(4)]
    model, joined = OptionWeights(), OptionWeights(1.0, 1.0)
    assert measure(asked, [model, model])[0] == 0
    assert measure(asked, [model, joined])[0] == 0.5
    assert measure(asked, [joined, joined])[0] == 1
    assert fit(asked).evidence > 0.4
