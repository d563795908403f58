"""The folder of reports: names never collide, nothing is half written, errors tell what to do."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_report import make_map, make_pixels, make_report
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.images.lot import REPORT_MARK
from reason_iad.reporting.folder import ReportFolder, Truth
from reason_iad.types import InspectionReport


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests here are about files, not about what is drawn in them."""
    monkeypatch.setattr("reason_iad.reporting.folder.draw_figure", lambda *_, **__: make_pixels())


files_only = pytest.mark.usefixtures("small_figures")


def add(folder: ReportFolder, image: str, **changes: object) -> str:
    return folder.add(make_report(image=image, **changes), make_pixels(), make_map())


def visible(folder: Path) -> list[str]:
    """Names of what a user sees there; the log of the run is hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(REPORT_MARK))


def test_an_image_gets_three_files_and_a_row(tmp_path: Path) -> None:
    folder = ReportFolder.create(tmp_path / "new" / "out")
    assert add(folder, "plate.png") == "plate"
    index = folder.finish()
    assert visible(index.parent) == [
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
    assert len(visible(out)) == 5
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
    assert visible(tmp_path) == []


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
    assert not list(tmp_path.glob("*.part"))
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


@files_only
def test_images_of_equal_names_in_two_folders_keep_their_places(tmp_path: Path) -> None:
    folder = ReportFolder.create(tmp_path)
    assert [add(folder, name) for name in ("a/001.png", "b/001.png", "../001.png")] == ["a_001", "b_001", "001"]
    folder.finish()
    assert [row["image"] for row in table(tmp_path)] == ["a/001.png", "b/001.png", "../001.png"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@files_only
def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    with ReportFolder.create(tmp_path), pytest.raises(InputError, match=rf"written by process {os.getpid()} .*--out"):
        ReportFolder.create(tmp_path)
    ReportFolder.create(tmp_path).close()


@files_only
def test_a_killed_run_does_not_hold_its_folder(tmp_path: Path) -> None:
    code = f"from reason_iad.reporting.folder import ReportFolder as F; f = F.create({str(tmp_path)!r}); import os; "
    subprocess.run([sys.executable, "-c", code + "os.kill(os.getpid(), 9)"], check=False)
    ReportFolder.create(tmp_path).close()


SETTINGS = {"model": "nano", "question": None, "references": ["ab"]}


def resumed(path: Path, **changes: object) -> ReportFolder:
    return ReportFolder.create(path, made_by={**SETTINGS, **changes}, resume=True)


@files_only
def test_reports_of_the_same_settings_are_taken_over_and_join_the_index(tmp_path: Path) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png", image_sha256="1" * 64)
        add(folder, "gone.png", image_sha256="3" * 64)
    with resumed(tmp_path) as folder:
        taken = folder.take_earlier("1" * 64, "a.png")
        assert taken is not None
        assert taken.name == "a.png"
        assert folder.take_earlier("2" * 64, "b.png") is None
        add(folder, "b.png", image_sha256="2" * 64)
        folder.finish()
    assert [row["image"] for row in table(tmp_path)] == ["a.png", "b.png"]
    with resumed(tmp_path) as folder:
        assert folder.take_earlier("1" * 64, "a.png") is not None
        assert folder.take_earlier("2" * 64, "b.png") is not None


@files_only
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": "Where?"}, "question: none, now Where"),
        ({"references": []}, "references: "),
        ({"model": "x"}, "model"),
    ],
)
def test_reports_of_other_settings_are_never_mixed_in(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png")
    with pytest.raises(InputError, match=said):
        resumed(tmp_path, **changes)
    with ReportFolder.create(tmp_path, made_by={**SETTINGS, **changes}) as folder:  # all again
        add(folder, "b.png")
    with resumed(tmp_path, **changes) as folder:
        assert folder.take_earlier(make_report().image_sha256, "b.png") is not None


@files_only
def test_reports_of_unknown_settings_are_never_mixed_in(tmp_path: Path) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png")
    (tmp_path / REPORT_MARK).unlink()
    with pytest.raises(InputError, match="not what they were made by"):
        resumed(tmp_path)


@files_only
def test_a_run_that_replaces_another_and_is_killed_leaves_nothing_to_mix(tmp_path: Path) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png")
    with ReportFolder.create(tmp_path, made_by={**SETTINGS, "model": "x"}) as folder:
        folder.log.begin()
        folder._write("a.json", b"another model's report")  # and then it is killed
    with pytest.raises(InputError, match="model: x, now nano"):
        resumed(tmp_path)


@files_only
def test_half_a_line_of_a_killed_run_spoils_nothing(tmp_path: Path) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png", image_sha256="1" * 64)
        add(folder, "b.png", image_sha256="2" * 64)
    log = tmp_path / REPORT_MARK
    log.write_bytes(log.read_bytes()[:-30])
    with resumed(tmp_path) as folder:
        assert folder.take_earlier("1" * 64, "a.png") is not None
        assert folder.take_earlier("2" * 64, "b.png") is None
        add(folder, "b.png", image_sha256="2" * 64)
        folder.finish()
    assert len(table(tmp_path)) == 2


@files_only
def test_a_report_whose_page_is_gone_is_made_again(tmp_path: Path) -> None:
    with resumed(tmp_path) as folder:
        add(folder, "a.png", image_sha256="1" * 64)
    (tmp_path / "a.html").unlink()
    with resumed(tmp_path) as folder:
        assert folder.take_earlier("1" * 64, "a.png") is None


@files_only
def test_what_was_left_out_stands_on_the_index(tmp_path: Path) -> None:
    with ReportFolder.create(tmp_path) as folder:
        folder.left_out = "3 .txt, 2 .heic (cannot be read here)"
        folder.add_failure("a.png", "a.png is damaged")
        page = folder.finish().read_text("utf-8")
    assert "Left out: 3 .txt, 2 .heic (cannot be read here)" in page
    assert "a.png is damaged" in page
