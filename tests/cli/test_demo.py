"""`reason-iad demo`: the images are what they are said to be, and truth stands beside each verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_report import make_pixels
from PIL import Image
from scripted_inspector import ScriptedInspector

from reason_iad.cli import app, demo
from reason_iad.errors import InputError
from reason_iad.images import read_image

ENTRIES = json.loads((demo.IMAGES / "demo.json").read_text("utf-8"))["images"]


def run(inspector: ScriptedInspector, *arguments: object) -> int:
    args = app.build_parser().parse_args(["demo", *map(str, arguments)])
    return app.guarded(lambda: demo.run(args, load_inspector=inspector.load))


def test_the_images_are_small_and_documented() -> None:
    files = [path for path in demo.IMAGES.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000
    named = {name for entry in ENTRIES for name in (entry["image"], *entry["references"])}
    assert named | {"demo.json", "README.md", "LICENSES.txt"} == {path.name for path in files}
    readme = (demo.IMAGES / "README.md").read_text("utf-8")
    for entry in ENTRIES:
        assert entry["image"] in readme
        with Image.open(demo.IMAGES / entry["image"]) as image:
            assert max(image.size) <= 256


def test_each_image_has_references_that_are_not_itself() -> None:
    for entry in ENTRIES:
        assert 2 <= len(entry["references"]) <= 4
        shas = {read_image(demo.IMAGES / name).sha256 for name in entry["references"]}
        assert len(shas) == len(entry["references"])
        assert read_image(demo.IMAGES / entry["image"]).sha256 not in shas


def test_truth_and_box_belong_together() -> None:
    assert {entry["verdict"] for entry in ENTRIES} == {"normal", "defective"}
    for entry in ENTRIES:
        defective = entry["verdict"] == "defective"
        assert defective == (entry["box_xyxy"] is not None) == (entry["defect_type"] is not None)
        if defective:
            x0, y0, x1, y1 = entry["box_xyxy"]
            assert 0 <= x0 < x1 <= 256
            assert 0 <= y0 < y1 <= 256
            assert entry["defect_type"] in entry["truth"]


def test_the_scratch_differs_from_the_normal_crop_in_its_box_alone() -> None:
    normal, scratched = (
        read_image(demo.IMAGES / f"brick_{n}.jpg").pixels.astype(int)[..., 0] for n in ("normal", "scratch")
    )
    x0, y0, x1, y1 = next(e["box_xyxy"] for e in ENTRIES if e["image"] == "brick_scratch.jpg")
    difference = np.abs(normal - scratched)
    assert difference[y0:y1, x0:x1].max() > 60
    outside = difference.copy()
    outside[max(y0 - 8, 0) : y1 + 8, max(x0 - 8, 0) : x1 + 8] = 0  # JPEG works in blocks of 8 pixels
    assert outside.max() < 20


def test_the_demo_shows_truth_beside_each_verdict_and_where_the_report_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "reason_iad.reporting.folder.draw_figure", lambda *_, **__: make_pixels()
    )  # slow, not asked here
    out = tmp_path / "out"
    inspector = ScriptedInspector({"brick_scratch.jpg": "defective", "grass_normal.jpg": "uncertain"})
    assert run(inspector, "--out", out) == 0
    said = capsys.readouterr().out
    for entry in ENTRIES:
        line = next(line for line in said.splitlines() if line.startswith(entry["image"]))
        assert entry["truth"] in line
    assert str(out / "index.html") in said
    index = (out / "index.html").read_text("utf-8")
    assert index.count(">right<") + index.count(">wrong<") == len(ENTRIES) - 1
    assert "scratch blended in" in index
    assert inspector.loads == 1


def test_the_references_of_one_product_are_read_once() -> None:
    jobs = {job.path.name: job for job in demo.read_jobs()}
    assert jobs["brick_normal.jpg"].request.references is jobs["brick_scratch.jpg"].request.references


def test_without_evidence_no_reference_is_given() -> None:
    assert all(job.request.references == () for job in demo.read_jobs(evidence=False))


def test_a_demo_that_cannot_write_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inspector = ScriptedInspector()
    assert run(inspector, "--out", tmp_path / "file") == 2
    assert inspector.loads == 0


def test_an_incomplete_installation_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="install the program again"):
        demo.read_jobs(tmp_path)
