"""Reports on paper: what they say in each language, on both papers, read back by pypdf."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from made_report import make_map, make_pixels, make_report
from pypdf import PdfReader

from reason_iad.errors import InputError
from reason_iad.languages import LANGUAGES, speaking
from reason_iad.reporting import fonts
from reason_iad.reporting.pdf import Shift, ShiftDrift, ShiftPart, report_pdf, shift_pdf
from reason_iad.reporting.shift import read_shift
from reason_iad.store.record import BoardFilter
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest

SAYS = {"en": "Defective", "de": "Fehlerhaft", "zh": "有缺陷", "ja": "不良"}
SIZES = {"A4": (595, 842), "Letter": (612, 792)}
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def read(data: bytes) -> tuple[PdfReader, str]:
    found = PdfReader(io.BytesIO(data))
    return found, "\n".join(page.extract_text() for page in found.pages).replace("\x00", "")  # of 2-byte letters


@pytest.mark.parametrize("code", list(LANGUAGES))
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_report_says_what_was_found_in_the_language_and_on_the_paper_asked_for(code, paper):
    if code in ("zh", "ja") and fonts.font_of(code) is None:
        pytest.skip(f"no font for {LANGUAGES[code]}; on Debian: apt-get install fonts-noto-cjk")
    report = make_report(image="Prüfteil_<b>中.png")
    with speaking(code):
        pdf, text = read(report_pdf(report, make_pixels(), make_map(), (make_pixels(),), paper))
    assert (round(pdf.pages[0].mediabox.width), round(pdf.pages[0].mediabox.height)) == SIZES[paper]
    assert SAYS[code] in text
    assert "97 %" in text
    assert report.image_sha256 in text.replace("\n", "")
    assert len(pdf.pages[0].images) == 1
    assert pdf.trailer["/Root"]["/Lang"] == code


@pytest.mark.skipif(os.name == "nt", reason="a script stands for the program")
@pytest.mark.parametrize(("spoken", "taken"), [("ja|zh-tw", False), ("aa|en|ja", True), ("en|zh-cn", False)])
def test_a_font_of_the_system_is_taken_only_where_it_has_the_language_and_latin_letters(
    tmp_path, monkeypatch, spoken, taken
):
    font, program = tmp_path / "some.ttf", tmp_path / "fc-match"
    font.touch()
    program.write_text(f"#!/bin/sh\nprintf '%s\\t0\\t%s' {font} '{spoken}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert (fonts._by_fontconfig("ja") == fonts.Font(font)) is taken


def part(verdict: str, number: int) -> ShiftPart:
    report = make_report(verdict=verdict, image=f"part_{number}.png")
    pixels = make_pixels(120 + number)  # equal pictures are kept once
    return ShiftPart(NOON, report, pixels, "False alarm by ann")


def test_a_shift_counts_its_parts_and_shows_every_reject_and_alarm():
    drift = ShiftDrift(NOON, "brightness", "line 3", (make_pixels(90), make_pixels(91)))
    shift = Shift(
        "line 3", NOON, NOON + timedelta(hours=8), {"normal": 88, "defective": 9, "uncertain": 2, "failed": 1},
        [part("defective", n) for n in range(9)], [part("uncertain", n) for n in range(20, 22)],
        [("broken.png", "it is damaged")], [drift],
    )  # fmt: skip
    data = shift_pdf(shift, "Letter")
    pdf, text = read(data)
    assert "100 parts" in text
    assert "88.0 %" in text
    assert all(f"part_{n}.png" in text for n in (*range(9), 20, 21))
    assert data.count(b"/Subtype /Image") == 11 + 2
    assert "line 3: brightness; nobody has looked at it yet" in text
    assert "broken.png: it is damaged" in text
    assert f"1 / {len(pdf.pages)}" in text


def test_a_shift_is_read_out_of_the_record(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "files")
    for number, (verdict, who) in enumerate([("defective", "line 3"), ("normal", "line 3"), ("defective", "line 4")]):
        identifier = store.accept(InspectionRequest(b"no picture", name=f"{number}.png"), who=who)
        store.finish(identifier, make_report(verdict=verdict, image=f"{number}.png"), {})
    store.add_feedback(identifier, "false_alarm", "ann", "wipes off")
    store.refuse("broken.png", "0" * 64, "it is damaged", who="line 3")
    now = datetime.now(UTC)
    shift = read_shift(store, BoardFilter(who="line 3"), now - timedelta(hours=1), now + timedelta(hours=1))
    assert shift.counts == {"defective": 1, "normal": 1, "failed": 1}
    assert [one.report.image for one in shift.stopped] == ["0.png"]
    both = read_shift(store, BoardFilter(), now - timedelta(hours=1), now + timedelta(hours=1))
    assert [one.feedback for one in both.stopped] == ["", "False alarm by ann wipes off"]
    assert read_shift(store, BoardFilter(), now + timedelta(hours=1), now + timedelta(hours=2)).counts == {}
    with pytest.raises(InputError, match="expected a later end"):
        read_shift(store, BoardFilter(), now, now)
    store.close()


def test_without_a_font_a_report_says_what_to_install_and_a_picture_is_in_english(monkeypatch):
    monkeypatch.setattr(fonts, "font_of", lambda code: None)
    monkeypatch.setattr("reason_iad.reporting.pdf.font_of", lambda code: None)
    from reason_iad.reporting.figures import draw_figure

    with speaking("ja"), pytest.raises(InputError, match=r"no font for 日本語 that is known; .* apt-get install"):
        report_pdf(make_report(), make_pixels())
    with speaking("de"):
        assert "Fehlerhaft" in read(report_pdf(make_report(image="中.png"), make_pixels()))[1]
    with speaking("ja"):
        shown = draw_figure(make_report(), make_pixels())
    assert np.array_equal(shown, draw_figure(make_report(), make_pixels()))


def test_the_command_writes_a_report_and_a_shift(tmp_path, capsys):
    from reason_iad.cli.app import main
    from reason_iad.images import encode_png

    store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "evidence")
    identifier = store.accept(InspectionRequest(encode_png(make_pixels()), name="a.png"), who="line 3")
    store.finish(identifier, make_report(), {})
    store.close()
    where = ["--data", str(tmp_path), "--out", str(tmp_path / "out.pdf")]
    assert main(["records", "pdf", identifier, *where, "--paper", "Letter"]) == 0
    assert "Defective" in read((tmp_path / "out.pdf").read_bytes())[1]
    assert main(["--language", "de", "records", "shift", *where, "--hours", "1"]) == 0
    assert "Schichtbericht" in read((tmp_path / "out.pdf").read_bytes())[1]
    assert main(["records", "shift", *where, "--until", "tomorrow"]) == 2
    assert main(["records", "pdf", "f" * 32, *where]) == 2
    assert "no finished inspection" in capsys.readouterr().err
