"""What texts claim about a defect, and how likely the measured look makes them."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from reason_iad.errors import ModelError
from reason_iad.evidence.claims import NEEDED, VALUES, LookReliability, claims
from reason_iad.evidence.looks import Look
from reason_iad.models.sources import default_adapter
from reason_iad.types import PLACES

SEEN = Look("top left", "tiny", "compact", "darker than")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Top left.", {"top left"}),
        ("In the upper left corner", {"top left"}),
        ("Center.", {"center"}),
        ("In the middle.", {"center"}),
        ("Middle right.", {"middle right"}),
        ("Bottom center.", {"bottom center"}),
        ("On the right.", {"top right", "middle right", "bottom right"}),
        ("At the bottom", {"bottom left", "bottom center", "bottom right"}),
    ],
)
def test_a_place_is_read_as_the_cells_where_it_is_true(text, places):
    assert claims(text)["place"] == places


def test_size_shape_and_tone_are_read_and_what_is_not_said_is_left_out():
    assert claims("A tiny, elongated region, brighter than its surroundings.") == {
        "size": {"tiny"}, "shape": {"elongated"}, "tone": {"brighter than"},
    }  # fmt: skip
    assert claims("The defect is small, compact and about as bright as what lies around it.")["tone"] == {
        "about as bright as"
    }
    assert claims("The casting flaw makes the pump vibrate.") == {}


def test_rates_come_from_what_was_counted():
    seen = [("Top left.", SEEN, 0.9)] * 80 + [("Bottom right.", SEEN, 0.9)] * 20
    tables = LookReliability.count(seen).tables["place"][1]
    assert np.allclose(tables.sum(1), 1)
    top_left = PLACES.index("top left")
    assert tables[top_left, top_left] > 0.75  # right 80 times of 100, the rest four steps away
    assert tables[top_left, PLACES.index("bottom right")] > tables[top_left, PLACES.index("top center")]


def test_weak_and_strong_evidence_are_counted_apart():
    wrong = Look("bottom right", "large", "elongated", "brighter than")
    seen = [("Top left.", SEEN, 0.9)] * 50 + [("Top left.", wrong, 0.1)] * 50
    reliability = LookReliability.count(seen)
    gap = [
        reliability.log_likelihood("Top left.", SEEN, score) - reliability.log_likelihood("Bottom right.", SEEN, score)
        for score in (0.9, 0.1)
    ]
    assert gap[0] > 2 > gap[1]


def test_the_likelihood_is_that_of_the_tables():
    flat = {n: np.full((2, len(v), len(v)), 1 / len(v)) for n, v in VALUES.items()}
    even = {n: np.full(len(v), 1 / len(v)) for n, v in VALUES.items()}
    flat["size"] = np.array([[[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]]] * 2)
    reliability = LookReliability(flat, even)
    rest = math.log(1 / 9) + math.log(1 / 2) + math.log(1 / 3)
    assert reliability.log_likelihood("A tiny spot.", SEEN, 1.0) == pytest.approx(rest + math.log(0.8))
    assert reliability.log_likelihood("A spot.", SEEN, 1.0) == pytest.approx(rest + math.log((0.8 + 0.5 + 0.2) / 3))


def test_tables_survive_their_file_and_broken_ones_are_refused():
    reliability = LookReliability.count([("Top left.", SEEN, 0.9)] * 9)
    stored = reliability.to_settings()
    read = LookReliability.from_settings(stored)
    assert read.log_likelihood("Top left.", SEEN, 0.9) == pytest.approx(
        reliability.log_likelihood("Top left.", SEEN, 0.9), abs=1e-2
    )
    with pytest.raises(ModelError, match="no tables"):
        LookReliability.from_settings({"tables": {}, "shares": {}})
    stored["tables"]["shape"] = [[[1.0]]]
    with pytest.raises(ModelError, match="shape"):
        LookReliability.from_settings(stored)


def test_knowledge_speaks_of_hue_direction_sharpness_and_edge():
    found = claims("A thin, dark, vertical line along the edge, sharply bounded, with a reddish tint.")
    assert found["direction"] == {"upright"}
    assert found["sharpness"] == {"sharp"}
    assert found["border"] == {"at the edge"}
    assert found["hue"] == {"redder"}
    assert claims("A rusty stain.")["hue"] == {"redder", "yellower"}
    assert claims("Bands that are brighter or darker than the rest, with a gradual border.") == {
        "shape": {"elongated"}, "tone": {"brighter than", "darker than"}, "sharpness": {"gradual"},
    }  # fmt: skip
    assert "border" not in claims("A spot with a bright rim.")


def test_what_fits_the_finer_claims_is_likelier_and_older_tables_still_serve():
    stored = json.loads((default_adapter() / "adapter.json").read_text())["options"]["looks"]
    stored["tables"]["border"], stored["shares"]["border"] = [[[0.8, 0.2], [0.02, 0.98]]] * 2, [0.25, 0.75]
    tables = LookReliability.from_settings(stored)
    red = dataclasses.replace(SEEN, hue="redder", direction="upright", sharpness="sharp", border="inside")
    assert tables.log_likelihood("A red spot.", red, 0.9) > tables.log_likelihood("A blue spot.", red, 0.9)
    edge = dataclasses.replace(red, border="at the edge")
    assert tables.log_likelihood("A spot at the edge.", edge, 0.9) > tables.log_likelihood("A spot.", edge, 0.9)
    older = {part: {n: v for n, v in held.items() if n in NEEDED} for part, held in stored.items()}
    before = LookReliability.from_settings(older)
    assert before.log_likelihood("A red spot.", red, 0.9) == before.log_likelihood("A blue spot.", red, 0.9)
