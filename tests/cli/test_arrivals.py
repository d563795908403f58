"""What comes into a hot folder: each image once, whatever is done to its files meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from reason_iad.images import encode_png
from reason_iad.images.hot_folder import HotFolder


def png(seed: int = 0) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8))


class Line:
    """A hot folder whose clock is set by hand."""

    def __init__(self, path: Path) -> None:
        self.now, self.said, self.path = 0.0, [], path
        self.hot = HotFolder(path, settle=1.0, patience=10.0, clock=lambda: self.now)

    def look(self, at: float) -> list[tuple[str, str]]:
        """Places that are complete, and why others never will be."""
        self.now = at
        return [(one.image.place, one.problem or "") for one in self.hot.arrivals(self.said.append)]

    def put(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


@pytest.fixture
def line(tmp_path: Path) -> Line:
    folder = tmp_path / "camera"
    folder.mkdir()
    return Line(folder)


def test_a_half_written_image_is_waited_for_and_each_comes_once(line: Line) -> None:
    whole = png()
    line.put("a.png", whole[: len(whole) // 2])
    line.put("notes.txt", b"x")
    assert line.look(0) == []
    assert line.look(2) == []  # quiet, but half: it may go on
    line.put("a.png", whole)
    assert line.look(3) == []
    assert line.look(3.5) == []
    assert line.hot.waiting == ["a.png"]
    assert line.look(4.5) == [("a.png", "")]
    assert line.look(9) == []
    assert line.hot.left_out == "1 .txt"


def test_what_stays_damaged_is_given_up_and_said(line: Line) -> None:
    line.put("broken.png", png()[:100])
    assert [line.look(at) for at in (10, 15, 19.9)] == [[], [], []]
    ((place, problem),) = line.look(20.5)
    assert (place, "broken.png" in problem) == ("broken.png", True)
    assert line.look(40) == []


def test_a_name_that_is_written_again_is_another_part(line: Line) -> None:
    line.put("a.png", png())
    line.look(0)
    assert line.look(1) == [("a.png", "")]
    os.utime(line.put("a.png", png(5)), ns=(1, 1))
    assert line.look(2) == []
    assert line.look(3) == [("a.png", "")]


def test_a_file_that_goes_before_it_is_inspected_is_said(line: Line) -> None:
    path = line.put("a.png", png())
    line.look(0)
    path.unlink()
    ((place, problem),) = line.look(2)
    assert (place, problem) == ("a.png", "a.png was removed before it could be inspected")
    assert line.look(3) == []


def test_a_file_that_goes_while_others_are_inspected_stops_nothing(line: Line) -> None:
    for name in "abc":
        line.put(f"{name}.png", png(ord(name)))
    line.look(0)
    line.now = 2
    arrivals = line.hot.arrivals()
    assert next(arrivals).image.place == "a.png"
    (line.path / "b.png").unlink()
    os.utime(line.put("c.png", png(9)), ns=(1, 1))
    assert list(arrivals) == []
    assert sorted(place for place, problem in line.look(3) if problem) == ["b.png", "c.png"]
    assert line.look(5) == [("c.png", "")]


def test_a_picture_that_is_replaced_before_it_is_inspected_is_said(line: Line) -> None:
    os.utime(line.put("a.png", png(1)), ns=(1, 1))
    line.look(0)
    os.utime(line.put("a.png", png(2)[:-40]), ns=(2, 2))
    assert [place for place, problem in line.look(5) if "replaced" in problem] == ["a.png"]


def test_a_file_that_goes_while_the_folder_is_read_is_said(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    from reason_iad.images import hot_folder

    line.put("a.png", png())
    line.put("b.png", png(2))
    stamp = hot_folder._stamp

    def gone_by_then(path: Path) -> object:
        if path.name == "a.png":
            path.unlink(missing_ok=True)
        if path.name == "b.png":
            path.rename(line.path / "c.png")
        return stamp(path)

    monkeypatch.setattr("reason_iad.images.hot_folder._stamp", gone_by_then)
    assert line.look(0) == []
    monkeypatch.setattr("reason_iad.images.hot_folder._stamp", stamp)
    assert [place for place, problem in line.look(1) if "removed" in problem] == ["a.png"]
    assert line.look(3) == [("c.png", "")]


def test_a_quick_look_reads_only_folders_that_changed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    from reason_iad.images import folder_looks

    for name in "abc":
        folder = line.put(f"{name}/1.png", png(ord(name))).parent
        os.utime(folder, ns=(1, 1))
    os.utime(line.path, ns=(1, 1))
    line.look(0)
    assert len(line.look(2)) == 3
    line.hot._whole_due = float("inf")
    read, listed = [], folder_looks.list_folder
    monkeypatch.setattr(folder_looks, "list_folder", lambda path, _: read.append(path.name) or listed(path, _))
    line.put("b/2.png", png(7))
    line.put("c/2.png", png(8)).replace(line.path / "c/1.png")
    assert line.look(3) == []
    assert sorted(line.look(5)) == [("b/2.png", ""), ("c/1.png", "")]
    assert set(read) == {"b", "c"}


def test_a_file_that_is_written_in_place_is_found_by_the_next_whole_look(line: Line) -> None:
    path = line.put("a.png", png())
    line.look(0)
    assert line.look(2) == [("a.png", "")]
    path.write_bytes(png(3))
    line.hot._whole_due = 0.0
    line.look(3)
    line.hot._whole_due = 0.0
    assert line.look(5) == [("a.png", "")]


def test_a_moved_file_comes_once(line: Line) -> None:
    line.put("a.png", png())
    line.look(0)
    line.put("done/x.txt", b"")
    (line.path / "a.png").rename(line.path / "done" / "a.png")  # before
    assert line.look(1) == []
    assert line.look(2) == [("done/a.png", "")]
    (line.path / "done" / "a.png").rename(line.path / "b.png")  # after
    assert line.look(3) == []
    assert line.look(5) == []
    assert line.hot.passed_over == {"moved": 1}
    assert line.look(9) == []


def test_another_picture_with_the_same_number_size_and_time_is_no_moved_file(line: Line) -> None:
    path = line.put("a.png", png(1))
    os.utime(path, ns=(5, 5))
    line.look(0)
    assert line.look(2) == [("a.png", "")]
    other = png(2).ljust(len(png(1)), b"\0")[: len(png(1))]
    with path.open("r+b") as file:  # keeps its number
        file.write(other)
    path = path.rename(line.path / "b.png")
    os.utime(path, ns=(5, 5))
    line.look(3)
    assert line.look(5) == [("b.png", "")]


def test_a_folder_may_go_and_come_back_with_its_files(line: Line, tmp_path: Path) -> None:
    line.put("a.png", png())
    line.look(0)
    assert line.look(2) == [("a.png", "")]
    shutil.copytree(line.path, tmp_path / "server")  # other numbers and times
    shutil.rmtree(line.path)
    assert line.look(3) == []
    assert line.look(4) == []
    (tmp_path / "server").rename(line.path)
    line.put("b.png", png(2))
    assert line.look(5) == []
    assert line.look(7) == [("b.png", "")]
    assert [message.split()[-1] for message in line.said] == ["back", "back"]
    assert line.hot.passed_over.total() == 1


def test_what_an_earlier_run_inspected_does_not_come_again(line: Line) -> None:
    from reason_iad.files import sha256

    line.put("a.png", png())
    line.put("b.png", png())
    line.hot.know("a.png", sha256(png()))
    line.look(0)
    assert line.look(2) == [("b.png", "")]
    assert line.hot.passed_over == {"with the same content": 1}


def test_its_own_reports_are_no_arrivals(line: Line) -> None:
    line.hot.outputs = (line.path / "out",)
    line.put("out/part.png", png())
    line.look(0)
    assert line.look(2) == []


def test_a_look_that_was_held_up_does_not_put_off_the_next_for_hours(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 480.0, 480.0, 480.0])  # the machine slept
    monkeypatch.setattr("reason_iad.images.hot_folder.time.perf_counter", lambda: next(times, 480.0))
    line.look(0)
    assert line.hot.pause <= 2
    assert line.hot._whole_due <= 60


def test_memory_follows_the_folder_and_not_its_history(line: Line) -> None:
    for number in range(300):
        path = line.put(f"{number}.png", png(number))
        line.look(3 * number)
        assert line.look(3 * number + 2) == [(f"{number}.png", "")]
        path.unlink()
    line.look(2000)
    assert (line.hot._done, line.hot._seen) == ({}, {})
