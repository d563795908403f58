"""What is said on stderr while the user waits: what is being done, how far it is, at which rate, and how long it takes.

On a terminal a bar (tqdm's) that is redrawn; elsewhere, as in a log, a line a minute.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from reason_iad.languages import _, number, told, translatable
from reason_iad.reporting.text import duration, printable

if TYPE_CHECKING:
    from tqdm import tqdm

MINUTE = 60.0
_BAR = "{desc} {bar} {n_fmt} of {total_fmt}{postfix}"


class Progress:
    """Says how far a task of `total` images is; `say` and `begin` may come in any order."""

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        interval: float = MINUTE,
        verb: str = translatable("inspecting"),
    ) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._interval = interval
        self._verb = told(verb)
        self._live = self._stream.isatty()
        self._began: float | None = None
        self._said = -interval
        self._bar: tqdm[Any] | None = None

    def say(self, message: str) -> None:
        """Tell what is being done now, such as loading a model; a message that ends its line stays."""
        self.clear()
        if not self._live:
            self._line(told(message.rstrip()))
            return
        message = told(message)
        self._stream.write(message if message.endswith("\n") else message[: self._width()])
        self._stream.flush()

    def begin(self, done: int, name: str) -> None:
        """Tell that image number `done` (from 0) begins, with the rate so far and the time the rest should take."""
        now = self._clock()
        if self._began is None:
            self._began = now
        passed = now - self._began
        if self._live and self._total > 1:
            self._draw(done, name, passed)
        elif self._live:
            self.say(f"{self._verb} {printable(name)}")
        elif self._total > 1 and now - self._said >= self._interval:
            counter = _("{count} of {n}", count=number(done + 1), n=number(self._total))
            self._line(f"{self._verb} {counter}: {printable(name)}{self._rate(done, passed)}")

    def clear(self) -> None:
        """Take the line away, so that an answer can be printed."""
        if self._bar is not None:
            self._bar.clear()
        elif self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def close(self) -> None:
        """Take the line away for good."""
        self.clear()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, done: int, name: str, passed: float) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=self._total, file=self._stream, bar_format=_BAR, leave=False, dynamic_ncols=True, mininterval=0.0
            )
        shown = printable(name)
        self._bar.set_description_str(
            f"{self._verb} {shown if len(shown) <= 30 else '...' + shown[-27:]}", refresh=False
        )
        self._bar.set_postfix_str(self._rate(done, passed).removeprefix(", "), refresh=False)
        self._bar.n = done
        self._bar.refresh()

    def _rate(self, done: int, passed: float) -> str:
        """Rate and time left: `, 1.2 s an image, about 3 min 10 s left`; nothing before the first image is done."""
        if not done or passed <= 0:
            return ""
        each = passed / done
        if each >= 0.5:
            rate = _("{time} an image", time=duration(1000 * each))
        else:
            rate = _("{count} images a second", count=number(1 / each, 1))
        left = self._total - done
        return f", {rate}, {_('about {time} left', time=duration(1000 * each * left))}" if left > 0 else f", {rate}"

    def _line(self, message: str) -> None:
        self._stream.write(f"reason-iad: {message}\n")
        self._stream.flush()
        self._said = self._clock()

    @staticmethod
    def _width() -> int:
        return shutil.get_terminal_size().columns - 1
