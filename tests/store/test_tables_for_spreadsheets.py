"""Tables that people open in a spreadsheet: letters come out right, and nothing is run."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest

from reason_iad.errors import InputError
from reason_iad.knowledge.entries import Entry
from reason_iad.knowledge.export import dump_csv
from reason_iad.knowledge.import_tables import read_csv
from reason_iad.reporting.table import table_parts
from reason_iad.store.cells import safe_cell, table_line
from reason_iad.types import InspectionRequest


@pytest.mark.parametrize("start", [*"=+-@\r|%\uff1d\uff0b", "\t=", "\n=", " =", "\u00a0="])
def test_no_text_is_run_as_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"


def test_numbers_and_plain_texts_stay_as_they_are() -> None:
    assert [safe_cell(value) for value in (-0.5, 3, "a=b", "part-1.png", "", "'x")] == [
        "-0.5", "3", "a=b", "part-1.png", "", "'x",
    ]  # fmt: skip


def test_tables_begin_with_the_mark_of_utf8_and_end_lines_as_spreadsheets_do(tmp_path) -> None:
    knowledge = dump_csv([Entry("lid/defect/x", "lid", "defect", "=1+1 \u00e4", "s", "x")])
    reports = "".join(table_parts([("\u00e4.png", "=broken")]))
    for text in (knowledge, reports):
        assert text.startswith("\ufeff")
        assert text.count("\r\n") == 2
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
        assert any(cell.startswith("'=") for cell in rows[1])
    assert read_csv(knowledge, "a.csv")[0].text == "=1+1 \u00e4"


def test_the_records_table_does_too(store, tmp_path) -> None:
    from reason_iad.store.export import export

    store.accept(InspectionRequest(b"x", name="=teil_\u00e4.png"))
    export(store, tmp_path / "all.zip")
    text = zipfile.ZipFile(tmp_path / "all.zip").read("inspections.csv").decode("utf-8")
    assert text.startswith("\ufeffid,")
    assert "'=teil_\u00e4.png" in text
    assert text.endswith("\r\n")


@pytest.mark.parametrize(
    ("given", "line"), [("", "0.5,a\r\n"), ("semicolon", "0,5;a\r\n"), (";", "0,5;a\r\n"), ("tab", "0.5\ta\r\n")]
)
def test_the_separator_and_the_decimal_sign_follow_the_language_of_the_spreadsheet(monkeypatch, given, line) -> None:
    monkeypatch.setenv("REASON_IAD_CSV_SEPARATOR", given)
    assert table_line([0.5, "a"]) == line
    knowledge = dump_csv([Entry("lid/defect/x", "lid", "defect", "a, b; c", "s", "x")])
    assert read_csv(knowledge, "a.csv")[0].text == "a, b; c"


def test_a_separator_that_does_not_exist_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("REASON_IAD_CSV_SEPARATOR", "dot")
    with pytest.raises(InputError, match="is 'dot'; expected comma, semicolon or tab"):
        table_line(["a"])
