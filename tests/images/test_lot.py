"""Every file of a lot is an image or is counted, whatever cameras, phones and colleagues put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reason_iad.errors import ImageError
from reason_iad.images import find_images, find_lot
from reason_iad.images.lot import REPORT_MARK


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def places(*given: Path, outputs: tuple[Path, ...] = ()) -> list[str]:
    return [image.place for image in find_lot(given, outputs).images]


def test_images_of_equal_names_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/001.png", "b/001.png", "b/c/001.png")
    assert places(tmp_path) == ["a/001.png", "b/001.png", "b/c/001.png"]
    assert places(tmp_path / "a", tmp_path / "b") == ["a/001.png", "b/001.png", "b/c/001.png"]
    one, two = places(tmp_path / "a" / "001.png", tmp_path / "b" / "001.png")
    assert one != two


def test_every_file_is_an_image_or_counted(tmp_path: Path) -> None:
    touch(
        tmp_path, "1.jpg", "2.jfif", "3.jp2", "4.JPE", "5.mpo", "6.pnm", "7.heic", "8.heic", "x.txt", "x.csv", "x.TXT"
    )
    touch(tmp_path, ".hidden.png", "._1.jpg", ".thumbs/1.png", "README", "deep/down/9.PNG", "Thumbs.db")
    lot = find_lot([tmp_path])
    assert [image.place for image in lot.images] == [
        "1.jpg", "2.jfif", "3.jp2", "4.JPE", "5.mpo", "6.pnm", "deep/down/9.PNG",
    ]  # fmt: skip
    assert lot.left_out == {
        ".heic (cannot be read here)": 2, ".txt": 2, ".csv": 1, ".db": 1, "hidden file": 2, "hidden folder": 1,
        "file without an ending": 1,
    }  # fmt: skip
    assert lot.phrase().startswith("7 images; left out: 2 .heic (cannot be read here), 2 .txt, 2 hidden files")


def test_a_named_file_is_inspected_whatever_its_ending(tmp_path: Path) -> None:
    touch(tmp_path, "IMG001", "._odd.jpg")
    assert places(tmp_path / "IMG001", tmp_path / "._odd.jpg") == ["IMG001", "._odd.jpg"]


def test_linked_folders_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "lot/z/1.png", "elsewhere/2.png")
    (tmp_path / "lot" / "a").symlink_to(tmp_path / "lot" / "z")
    (tmp_path / "lot" / "z" / "up").symlink_to(tmp_path / "lot")
    (tmp_path / "lot" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "lot" / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "lot" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "lot" / "link.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    lot = find_lot([tmp_path / "lot"])
    assert [image.place for image in lot.images] == ["link.png", "z/1.png", "other/2.png"]
    assert lot.left_out == {"link to a folder that was looked through already": 2, "broken link": 2}


def test_pipes_are_counted_and_never_opened(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    os.mkfifo(tmp_path / "2.png")
    lot = find_lot([tmp_path])
    assert [image.place for image in lot.images] == ["1.png"]
    assert lot.phrase() == "1 image; left out: 1 no regular file"


def test_reports_below_the_lot_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "out/1.png", f"earlier/{REPORT_MARK}", "earlier/1.png")
    lot = find_lot([tmp_path], outputs=[tmp_path / "out", tmp_path / "not-there-yet"])
    assert [image.place for image in lot.images] == ["1.png"]
    assert lot.left_out == {"report folder": 2}


def test_what_is_named_twice_in_any_way_is_inspected_once(tmp_path: Path) -> None:
    touch(tmp_path, "lot/1.png", "lot/sub/2.png")
    lot, sub = tmp_path / "lot", tmp_path / "lot" / "sub"
    one, two = lot / "1.png", sub / "2.png"
    for given in ([lot, f"{lot}/"], [lot, sub], [sub, lot], [one, lot], [lot, two]):
        found = find_lot(given)
        assert sorted(image.path.name for image in found.images) == ["1.png", "2.png"], given
        assert found.problems == []
        assert "report" not in found.left_out_phrase()
    assert find_lot([lot, sub]).left_out_phrase() == "1 folder that was looked through already"
    assert find_lot([one, lot]).left_out_phrase() == "1 image that was named twice"


def test_a_name_in_a_foreign_encoding_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"m\xe4rz.png"), "a\nb.png")
    assert len(places(tmp_path)) == 2


def test_what_is_not_there_is_a_problem_and_stops_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    lot = find_lot([tmp_path / "nothing", tmp_path, "null\0byte"])
    assert [image.path.name for image in lot.images] == ["1.png"]
    assert [place for place, _ in lot.problems] == ["nothing", "null\0byte"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_locked_folder_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "locked/1.png")
    (tmp_path / "locked").chmod(0)
    try:
        assert "permissions" in find_lot([tmp_path]).problems[0][1]
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_a_folder_of_texts_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b.heic")
    with pytest.raises(ImageError, match=r"holds no image; found 1 \.heic \(cannot be read here\), 1 \.txt"):
        find_images(tmp_path)
