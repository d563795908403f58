"""`reason-iad inspect` with a scripted inspector: batches, bad images, JSON, report folders, checks before loading."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from made_report import make_pixels
from PIL import Image
from scripted_inspector import ScriptedInspector

from reason_iad.cli import app, inspect
from reason_iad.errors import EvidenceError, ImageError, InputError, ModelError, ReasonIADError, WeightsError
from reason_iad.images import Scale, reading
from reason_iad.types import InspectionReport


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with two images, a text named .png, and a file that is no image."""
    folder = tmp_path / "parts"
    folder.mkdir()
    Image.fromarray(make_pixels()).save(folder / "a.png")
    Image.fromarray(make_pixels()[:, ::-1]).save(folder / "b.png")
    (folder / "broken.png").write_text("no image")
    (folder / "readme.txt").write_text("ignore me")
    return folder


def run(inspector: ScriptedInspector, *arguments: object) -> int:
    args = parse(*arguments)
    return app.guarded(lambda: inspect.run(args, load_inspector=inspector.load))


def parse(*arguments: object) -> argparse.Namespace:
    return app.build_parser().parse_args(["inspect", *map(str, arguments)])


def test_one_image_gives_a_readable_answer(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspector = ScriptedInspector({"a.png": "defective"})
    assert run(inspector, parts / "a.png") == 0
    said = capsys.readouterr()
    assert said.out.startswith("a.png: DEFECTIVE, almost certainly defective (p = 0.97)\n")
    assert "\x1b" not in said.out


def test_everything_asked_for_reaches_the_inspector(parts: Path) -> None:
    inspector = ScriptedInspector()
    arguments = [
        "--category",
        "tablet",
        "--reference",
        parts / "b.png",
        "--question",
        "Which?",
        "--choices",
        "A x",
        "B",
    ]
    assert run(inspector, parts / "a.png", *arguments) == 0
    call = inspector.calls[0]
    assert (call["category"], call["question"], call["choices"]) == ("tablet", "Which?", ("A x", "B"))
    assert len(call["references"]) == 1
    assert (call["references"][0].pixels == make_pixels()[:, ::-1]).all()


def test_a_bad_image_never_stops_the_others(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspector = ScriptedInspector()
    assert run(inspector, parts / "broken.png", parts / "a.png", parts / "nowhere.png", parts / "b.png") == 2
    said = capsys.readouterr()
    assert said.out.count("Normal  ") == 2
    assert said.err.count("reason-iad: error: ") == 2
    assert "broken.png" in said.err
    assert "nowhere.png" in said.err


def test_an_image_that_fails_in_the_inspector_never_stops_the_others(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspector = ScriptedInspector(failures={"a.png": ImageError("a.png went away")})
    assert run(inspector, parts / "a.png", parts / "b.png") == 2
    said = capsys.readouterr()
    assert "b.png" in said.out
    assert "reason-iad: error: a.png went away\n" in said.err


def test_a_folder_is_inspected_image_by_image_with_one_load(parts: Path) -> None:
    inspector = ScriptedInspector()
    assert run(inspector, parts, "--reference", parts / "a.png", parts / "b.png") == 2
    assert [call["image"].name for call in inspector.calls] == ["a.png", "b.png"]
    assert inspector.loads == 1
    assert inspector.calls[0]["references"] is inspector.calls[1]["references"]


def test_an_image_named_twice_is_inspected_once(parts: Path) -> None:
    inspector = ScriptedInspector()
    assert run(inspector, parts / "a.png", parts / "a.png") == 0
    assert len(inspector.calls) == 1


def test_json_of_one_image_is_one_object(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedInspector(), parts / "a.png", "--json") == 0
    assert InspectionReport.from_json(capsys.readouterr().out).image == "a.png"


def test_json_of_several_images_is_one_object_a_line(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedInspector(), parts, "--json") == 2
    lines = capsys.readouterr().out.splitlines()
    assert [InspectionReport.from_json(line).image for line in lines] == ["a.png", "b.png"]


def test_out_gets_reports_and_an_index_that_names_what_failed(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(ScriptedInspector({"a.png": "defective"}), parts, "--out", out) == 2
    names = {p.name for p in out.iterdir() if not p.name.startswith(".reason-iad")}
    assert names == {f"{n}.{s}" for n in "ab" for s in ("html", "json", "png")} | {"index.csv", "index.html"}
    assert "broken.png" in (out / "index.html").read_text("utf-8")
    assert f"report: {out / 'index.html'}\n" in capsys.readouterr().out


def test_with_json_the_place_of_the_report_does_not_spoil_the_output(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ScriptedInspector(), parts / "a.png", "--json", "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["image"] == "a.png"
    assert "index.html" in said.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.png"], "does not exist"),
        (["broken.png"], "not an image"),
        (["empty"], "holds no image"),
        (["a.png", "--choices", "A", "B"], "--question"),
        (["a.png", "--question", "Which?", "--choices", "A"], "2 to 26 different"),
        (["a.png", "--question", "Which?", "--choices", "A", "A"], "different"),
        (["a.png", "--question", "  "], "empty"),
        (["a.png", "--reference", "nowhere.png"], "reference"),
        (["a.png", "--reference", "b.png", "broken.png"], "reference broken.png"),
        (["a.png", "--reference", "b.png", "--evidence", "off"], "--evidence off"),
        (["a.png", "--reason", "never"], "nothing to compare"),
        (["a.png", "b.png", "--reason", "never"], "nothing to compare"),
        (["a.png", "--lot", "--reason", "never", "--evidence", "off"], "nothing to compare"),
        (["a.png", "--category", "flying saucer"], "flying saucer"),
        (["a.png", "--model", "gpt-99"], "gpt-99"),
        (["a.png", "--out", "broken.png"], "--out"),
    ],
)
def test_nothing_is_loaded_for_what_cannot_be_done(
    parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    (parts / "empty").mkdir()
    monkeypatch.chdir(parts)
    inspector = ScriptedInspector()
    assert run(inspector, *arguments) == 2
    said = capsys.readouterr()
    assert inspector.loads == 0
    assert word in said.err
    assert said.err.startswith("reason-iad: error: ")
    assert said.err.count("\n") == 1


def test_nothing_is_loaded_where_every_image_is_bad(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspector = ScriptedInspector()
    assert run(inspector, parts / "broken.png", parts / "nowhere.png") == 2
    assert inspector.loads == 0
    assert capsys.readouterr().err.count("error: ") == 2


def test_an_image_that_is_its_own_reference_is_warned_about(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedInspector(), parts / "a.png", "--reference", parts / "a.png") == 0
    assert "its own reference" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("fault"), 1)])
def test_what_is_done_before_an_interruption_stays_findable(
    parts: Path, tmp_path: Path, error: BaseException, code: int
) -> None:
    out = tmp_path / "out"
    inspector = ScriptedInspector(failures={"b.png": error})
    assert run(inspector, parts / "a.png", parts / "b.png", "--out", out) == code
    assert 'href="./a.html"' in (out / "index.html").read_text("utf-8")
    assert not list(out.glob("*.part"))


def test_a_disk_that_fills_up_ends_the_run_with_2(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise InputError("out/a.json could not be written (No space left on device)")

    monkeypatch.setattr("reason_iad.reporting.folder.ReportFolder._write", fail)
    assert run(ScriptedInspector(), parts / "a.png", parts / "b.png", "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "No space left" in said.err
    assert "b.png" not in said.out


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    """Two folders with an image of the same name, and what else lies about."""
    folder = tmp_path / "lot"
    for place in ("ok/001.png", "ng/001.png", "ng/002.jfif", "ng/003.jp2"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        kind = {"png": "PNG", "jfif": "JPEG", "jp2": "JPEG2000"}[place.split(".")[1]]
        Image.fromarray(make_pixels()).save(folder / place, kind)
    (folder / "notes.txt").write_text("x")
    (folder / "phone.heic").write_text("x")
    (folder / "ng" / "._001.png").write_text("x")
    return folder


def test_every_file_of_a_lot_is_accounted_for(lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(ScriptedInspector(), lot, "--out", out) == 0
    said = capsys.readouterr()
    left = "1 .heic (cannot be read here), 1 .txt, 1 hidden file"
    assert said.err.startswith(f"reason-iad: 4 images; left out: {left}\n")
    assert f"left out: {left}\n" in said.out
    assert f"Left out: {left}" in (out / "index.html").read_text("utf-8")
    with (out / "index.csv").open(newline="", encoding="utf-8-sig") as file:
        images = [row["image"] for row in csv.DictReader(file)]
    assert images == ["ng/001.png", "ng/002.jfif", "ng/003.jp2", "ok/001.png"]


def test_images_of_equal_names_are_told_apart_everywhere(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(ScriptedInspector(), lot, "--out", out, "--json") == 0
    said = capsys.readouterr()
    places = [json.loads(line)["image"] for line in said.out.splitlines()]
    assert places == ["ng/001.png", "ng/002.jfif", "ng/003.jp2", "ok/001.png"]
    assert "left out" in said.err
    assert json.loads((out / "ok_001.json").read_text("utf-8"))["image"] == "ok/001.png"


def test_a_lot_takes_a_line_an_image_and_says_the_rest_once(lot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ScriptedInspector({"001.png": "defective"}), lot) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["Normal"] * 4
    assert all(place in line for place, line in zip(("ng/001.png", "ng/002", "ng/003", "ok/001"), lines, strict=False))
    assert "4 images in" in lines[4]
    assert len(lines) < 12
    assert run(ScriptedInspector(), lot, "-v") == 0
    assert capsys.readouterr().out.count("NORMAL") == 4


def test_no_file_is_decoded_twice(lot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = reading._decode
    monkeypatch.setattr(reading, "_decode", lambda job: decoded.append(job.label) or decode(job))
    assert run(ScriptedInspector(), lot) == 0
    assert sorted(decoded) == ["ng/001.png", "ng/002.jfif", "ng/003.jp2", "ok/001.png"]


@pytest.mark.parametrize("error", [ModelError("it answers nothing"), EvidenceError("no"), WeightsError("no")])
def test_an_error_about_one_image_never_ends_a_lot(
    lot: Path, error: ReasonIADError, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ScriptedInspector(failures={"ng/002.jfif": error}), lot) == 2
    said = capsys.readouterr()
    assert f"error: {error}" in said.err
    assert "3 normal; 1 not inspected" in said.out


def test_the_image_and_its_references_are_read_by_one_scale(tmp_path: Path) -> None:
    for name, most in (("good1", 4000), ("good2", 900), ("dark", 200)):
        values = np.linspace(0, most, 64 * 64).reshape(64, 64).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    inspector = ScriptedInspector()
    references = ["--reference", tmp_path / "good1.tif", tmp_path / "good2.tif"]
    assert run(inspector, tmp_path / "dark.tif", *references) == 0
    (call,) = inspector.calls
    assert {image.scale for image in (call["image"], *call["references"])} == {Scale(0, 4095)}


def test_reports_below_the_lot_are_not_inspected_by_the_next_run(lot: Path) -> None:
    inspector = ScriptedInspector()
    assert run(inspector, lot, "--out", lot / "report") == 0
    assert run(inspector, lot, "--out", lot / "report") == 0
    assert run(inspector, lot) == 0
    assert len(inspector.calls) == 12


def test_a_lot_is_compared_with_itself_only(tmp_path, capsys):
    for other in (["--reference", "x.png"], ["--watch"], ["--jobs", "2"]):
        assert run(ScriptedInspector(), tmp_path, "--lot", *other) == 2
        assert f"found --lot with {other[0]}" in capsys.readouterr().err


def test_the_images_of_a_lot_are_compared_before_each_is_inspected(parts):
    class Comparing(ScriptedInspector):
        def compare_lot(self, images, progress):
            assert not self.calls
            self.compared = [image.name for image in images]
            progress(2, 2)

    inspector = Comparing()
    assert run(inspector, parts, "--lot") == 2  # one of them is broken, and told at its turn
    assert inspector.compared == ["a.png", "b.png"]
    assert len(inspector.calls) == 2
