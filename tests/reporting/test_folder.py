"""The folder of reports: names never collide, nothing is half written, errors tell what to do."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from made_report import make_map, make_pixels, make_report
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.reporting.folder import ReportFolder, Truth
from reason_iad.types import InspectionReport


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests here are about files, not about what is drawn in them."""
    monkeypatch.setattr("reason_iad.reporting.folder.draw_figure", lambda *_, **__: make_pixels())


files_only = pytest.mark.usefixtures("small_figures")


def add(folder: ReportFolder, image: str, **changes: object) -> str:
    return folder.add(make_report(image=image, **changes), make_pixels(), make_map())


def test_an_image_gets_three_files_and_a_row(tmp_path: Path) -> None:
    folder = ReportFolder.create(tmp_path / "new" / "out")
    assert add(folder, "plate.png") == "plate"
    index = folder.finish()
    assert sorted(p.name for p in index.parent.iterdir()) == [
        "index.csv",
        "index.html",
        "plate.html",
        "plate.json",
        "plate.png",
    ]
    with Image.open(index.parent / "plate.png") as figure:
        assert figure.width > 800
    assert 'href="./plate.html"' in index.read_text("utf-8")
    assert 'href="./index.html"' in (index.parent / "plate.html").read_text("utf-8")


@files_only
def test_the_json_reads_back_to_the_report(tmp_path: Path) -> None:
    add(ReportFolder.create(tmp_path), "plate_017.png")
    assert InspectionReport.from_json((tmp_path / "plate_017.json").read_text("utf-8")) == make_report()


@files_only
def test_equal_names_get_files_of_their_own(tmp_path: Path) -> None:
    folder = ReportFolder.create(tmp_path)
    names = [add(folder, n) for n in ("a.png", "a.jpg", "A.png", "index.png", "a-2.png", "", "...png")]
    assert len({n.casefold() for n in names}) == len(names)
    folder.finish()
    assert len(list(tmp_path.glob("*.json"))) == len(names)
    assert len(list(tmp_path.glob("*.html"))) == len(names) + 1
    assert "index" not in names


@files_only
@pytest.mark.parametrize(
    "image", ["../../evil.png", "/etc/passwd", "a\nb\x1b.png", "CON|<>:*?.png", "x" * 300, "sur\udc80.png"]
)
def test_a_hostile_name_stays_in_the_folder(tmp_path: Path, image: str) -> None:
    out = tmp_path / "deep" / "out"
    folder = ReportFolder.create(out)
    name = add(folder, image)
    folder.finish()
    assert {p.parent for p in tmp_path.rglob("*.*")} <= {out}
    assert json.loads((out / f"{name}.json").read_text("utf-8"))["image"] == image


@files_only
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--out"):
        ReportFolder.create(tmp_path / "file")
    with pytest.raises(InputError, match="--out"):
        ReportFolder.create(tmp_path / "file" / "below")


@files_only
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    folder = ReportFolder.create(tmp_path)

    def fail(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match=os.strerror(code)):
        add(folder, "plate.png")
    assert list(tmp_path.iterdir()) == []


@files_only
def test_an_old_report_is_replaced_whole_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ReportFolder.create(tmp_path), "plate.png")
    before = (tmp_path / "plate.json").read_text("utf-8")

    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            add(ReportFolder.create(tmp_path), "plate.png", verdict="normal")
    assert (tmp_path / "plate.json").read_text("utf-8") == before
    assert not list(tmp_path.glob(".*"))
    add(ReportFolder.create(tmp_path), "plate.png", verdict="normal")
    assert json.loads((tmp_path / "plate.json").read_text("utf-8"))["verdict"] == "normal"


@files_only
def test_reports_can_be_read_by_others_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        add(ReportFolder.create(tmp_path), "plate.png")
    finally:
        os.umask(before)
    assert (tmp_path / "plate.html").stat().st_mode & 0o777 == 0o640


@files_only
def test_truth_stands_beside_the_verdict(tmp_path: Path) -> None:
    folder = ReportFolder.create(tmp_path)
    folder.add(make_report(), make_pixels(), truth=Truth("normal crop", "normal"))
    page = folder.finish().read_text("utf-8")
    assert "normal crop" in page
    assert ">wrong<" in page
    assert "normal crop" in (tmp_path / "plate_017.html").read_text("utf-8")
