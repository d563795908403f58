"""What is said on stderr while the user waits: what is being done, how far it is, and how long it will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from reason_iad.reporting.text import duration, printable


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line of its own, every few seconds at most."""

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        interval: float = 5.0,
    ) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._interval = interval
        self._live = self._stream.isatty()
        self._began: float | None = None
        self._said = -interval

    def say(self, message: str) -> None:
        """Tell what is being done now, such as loading a model; a message that ends its line stays."""
        self._show(message, force=True)

    def begin(self, done: int, name: str) -> None:
        """Tell that image number `done` (from 0) begins, with the time the rest should take."""
        now = self._clock()
        if self._began is None:
            self._began = now
        left = ""
        if done:
            each = (now - self._began) / done
            left = f", about {duration(1000 * each * (self._total - done))} left"
        counter = f"{done + 1} of {self._total}: " if self._total > 1 else ""
        self._show(f"inspecting {counter}{printable(name)}{left}", force=False)

    def clear(self) -> None:
        """Take the line away, so that an answer can be printed."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _show(self, message: str, force: bool) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{message if message.endswith(chr(10)) else message[:width]}")
        elif force or self._clock() - self._said >= self._interval:
            self._stream.write(f"reason-iad: {message.rstrip()}\n")
            self._said = self._clock()
        self._stream.flush()
