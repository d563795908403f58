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
    assert "inspecting 4 of 10: d.png, about 14.0 s left" in stream.getvalue()


def test_a_terminal_line_is_rewritten_and_taken_away() -> None:
    stream = Terminal()
    progress = Progress(2, stream)
    progress.begin(0, "a.png")
    progress.clear()
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_log_gets_a_line_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(100, stream, clock, interval=5)
    for done in range(100):
        progress.begin(done, f"{done}.png")
        clock.now += 0.5
    progress.clear()
    assert len(stream.getvalue().splitlines()) == 10
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_a_file_name_cannot_steer_the_terminal() -> None:
    stream = Terminal()
    Progress(1, stream).begin(0, "a\x1b[2Jb.png")
    assert "\x1b[2J" not in stream.getvalue()
