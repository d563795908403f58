"""The report as data: what goes out comes back, and nothing else is accepted."""

from __future__ import annotations

import json

import pytest

from reason_iad.errors import InputError
from reason_iad.types import InspectionReport, InspectionRequest, OptionProbability, place_of


def report(**changes) -> InspectionReport:
    fields = {
        "image": "a.png", "image_hw": (4, 6), "image_sha256": "0", "verdict": "normal", "probability": 0.25,
        "probability_note": "", "anomaly_score": 0.1, "category": "unknown", "category_source": "unknown",
        "category_probability": None, "defect_type": None, "description": "ü <b>", "consequence": None,
    }  # fmt: skip
    return InspectionReport(**{**fields, **changes})


def test_a_report_survives_json():
    assert InspectionReport.from_json(report().to_json()) == report()


def test_whole_numbers_become_floats_where_floats_belong():
    text = report().to_json().replace("0.25", "1")
    assert InspectionReport.from_json(text).probability == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": "0"}, "schema version"),
        ({"verdict": "maybe"}, "should be 'normal', 'defective' or 'uncertain'"),
        ({"probability": "high"}, "should be a valid number"),
        ({"extra": 1}, "report.extra is 1; unexpected"),
        ({"image_hw": [True, 2]}, "report.image_hw.0 is True; input should be a valid integer"),
        ({"image_hw": [1, 2, 3, 4]}, "report.image_hw is"),
        ({"regions": [{"box_xyxy": [1], "place": "center", "strength": 0.5, "area": 0.1}]}, "box_xyxy"),
        ({"regions": "none"}, "should be a valid array"),
    ],
)
def test_a_report_of_another_shape_is_refused(change, message):
    data = {**json.loads(report().to_json()), **change}
    with pytest.raises(InputError, match=message):
        InspectionReport.from_json(json.dumps(data))


def test_a_report_that_lacks_a_field_is_refused():
    data = json.loads(report().to_json())
    del data["verdict"]
    with pytest.raises(InputError, match=r"report\.verdict is nothing; field required"):
        InspectionReport.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(InputError):
        InspectionReport.from_json(text)


def test_numbers_that_json_has_not_are_never_written():
    with pytest.raises(ValueError, match="JSON"):
        report(probability=float("nan")).to_json()


def test_places_follow_reading_order():
    assert [place_of(x, y, (90, 90)) for y in (5, 45, 85) for x in (5, 45, 85)][4] == "center"
    assert place_of(89.9, 0, (90, 90)) == "top right"
    assert OptionProbability("a", 0.5).text == "a"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": ""}, "no image"),
        ({"choices": ("a", "b")}, "no question"),
        ({"question": " "}, "question is empty"),
        ({"question": "?", "choices": ("a", " a")}, "different answers"),
        ({"question": "?", "choices": ("a",)}, "2 to 26"),
        ({"question": "?", "choices": "ab"}, "a sequence of answers"),
        ({"question": "a\x00"}, "null character"),
        ({"category": 3}, "category is int"),
        ({"references": "good.png"}, "a sequence of images"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_where_it_is_made(fields, message):
    with pytest.raises(InputError, match=message):
        InspectionRequest(**{"image": "a.png", **fields})


def test_a_request_keeps_texts_without_the_blanks_around_them():
    request = InspectionRequest("a.png", " screw ", ["b.png"], " Is it whole? ", ["Yes. ", "No."])
    assert (request.category, request.references, request.question) == ("screw", ("b.png",), "Is it whole?")
    assert request.choices == ("Yes.", "No.")
    assert InspectionRequest("a.png", category=" ").category is None
