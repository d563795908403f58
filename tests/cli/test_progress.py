"""Progress: rewritten on a terminal, sparse elsewhere, with the time that is left."""

from __future__ import annotations

import io

from reason_iad.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_follows_from_the_images_done() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(10, stream, clock)
    progress.begin(0, "a.png")
    assert "left" not in stream.getvalue()
    clock.now += 6
    progress.begin(3, "d.png")
    shown = stream.getvalue()
    assert "inspecting d.png" in shown
    assert "3 of 10" in shown
    assert "2.0 s an image, about 14.0 s left" in shown
    progress.close()


def test_a_terminal_line_is_rewritten_and_taken_away() -> None:
    stream = Terminal()
    progress = Progress(2, stream)
    progress.begin(0, "a.png")
    progress.clear()
    assert stream.getvalue().rstrip(" ").endswith("\r")
    progress.close()
    assert "\n" not in stream.getvalue()


def test_a_log_gets_a_line_a_minute() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1200, stream, clock)
    for done in range(1200):
        progress.begin(done, f"{done}.png")
        clock.now += 0.25
    progress.clear()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[-1] == "reason-iad: inspecting 961 of 1,200: 960.png, 4.0 images a second, about 1 min 0 s left"
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_a_file_name_cannot_steer_the_terminal() -> None:
    stream = Terminal()
    Progress(1, stream).begin(0, "a\x1b[2Jb.png")
    assert "\x1b[2J" not in stream.getvalue()
