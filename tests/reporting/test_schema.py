"""The published schema accepts what the program writes, and refuses what it does not."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from made_report import make_report

from reason_iad.reporting.schema import report_schema, schema_text
from reason_iad.reporting.table import COLUMNS, report_row, table_parts
from reason_iad.types import Faithfulness, FaithfulnessRow, NearestNormal

PUBLISHED = Path(__file__).parents[2] / "docs" / "report.schema.json"


def whole():
    report = make_report(
        check_next="Wipe it.", faithfulness=Faithfulness((FaithfulnessRow("x", 0.1, -0.8, (0.1,)),), 0, 5.0)
    )
    near = NearestNormal(0, (1, 2, 3, 4), 0.25)
    return dataclasses.replace(
        report, regions=(dataclasses.replace(report.regions[0], nearest=near), *report.regions[1:])
    )


def test_the_published_file_is_the_schema_of_this_version():
    assert PUBLISHED.read_text("utf-8") == schema_text()


def test_an_independent_validator_accepts_every_report():
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(report_schema())
    for report in (whole(), make_report(), make_report(evidence=None, trace=None, regions=(), defect_type=None)):
        validator.validate(json.loads(report.to_json()))


@pytest.mark.parametrize(
    "change", [{"verdict": "maybe"}, {"probability": "high"}, {"regions": [{"place": "x"}]}, {"extra": 1}]
)
def test_an_independent_validator_refuses_what_is_no_report(change):
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(report_schema())
    assert not validator.is_valid({**json.loads(make_report().to_json()), **change})


def test_a_row_of_the_table_says_what_the_report_says():
    text = "".join(table_parts([report_row(whole()), ("=b", "it is empty")]))
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["verdict"], rows[0]["box_xyxy"], rows[0]["check_next"]) == ("defective", "58 30 104 56", "Wipe it.")
    assert (rows[1]["image"], rows[1]["verdict"], rows[1]["error"]) == ("'=b", "", "it is empty")
