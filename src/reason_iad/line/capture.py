"""The thread that reads a source: it reconnects, and counts the pictures that nobody took."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from reason_iad.errors import InputError
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, Source, SourceLostError, View
from reason_iad.line.message import NoticeKind

WAITS = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before a lost source is tried again; the last one repeats


@dataclass
class Slot:
    """Room for one picture between two threads."""

    dropped: int = 0
    _frame: Frame | None = None
    _closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, frame: Frame, live: bool) -> None:
        """Leave a picture: in the place of one that nobody took where the source is live, after it elsewhere."""
        with self._changed:
            if live and self._frame is not None:
                self.dropped += 1
            while not live and self._frame is not None and not self._closed:
                self._changed.wait()
            self._frame = frame
            self._changed.notify_all()

    def take(self, seconds: float) -> Frame | None:
        """The picture, or None when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, seconds)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Capture(threading.Thread):
    """Reads a source into a slot until it ends or is stopped."""

    def __init__(self, source: Source, view: View, clock: Clock, tell: Callable[[NoticeKind, str], None]) -> None:
        """Describe it.

        Args:
            source: what is read.
            view: what of its pictures is looked at.
            clock: of the line.
            tell: called with camera_lost or camera_back and what happened.
        """
        super().__init__(name="capture", daemon=True)
        self.source, self.view, self.slot = source, view, Slot()
        self.frames = self.losses = 0
        self.up = False
        self.ended = threading.Event()  # by itself, or by an error
        self.error: Exception | None = None
        self._clock, self._tell, self._halt = clock, tell, threading.Event()

    def run(self) -> None:
        """Read until it is over."""
        try:
            self._read_all()
        except Exception as error:  # noqa: BLE001 - the line's own thread raises it
            self.error = error
        finally:
            self.source.close()
            self.up = False
            self.ended.set()

    def stop(self) -> None:
        """End reading; the thread ends with the next picture."""
        self._halt.set()
        self.slot.close()

    def _read_all(self) -> None:
        failures, lost = 0, False
        while not self._halt.is_set():
            try:
                self.source.open()
                while not self._halt.is_set():
                    frame = self.source.read()
                    if frame is None:
                        return
                    if not self.up:
                        self.up = True
                        if lost:
                            self._tell("camera_back", f"after {failures} attempts" if failures > 1 else "")
                        failures, lost = 0, False
                    self.frames += 1
                    self.slot.put(self.view.of(frame), self.source.live)
            except SourceLostError as error:
                self.source.close()
                if not lost:
                    self.losses += 1
                    self._tell("camera_lost", str(error))
                self.up, lost = False, True
                self._halt.wait(WAITS[min(failures, len(WAITS) - 1)])
                failures += 1

    def raise_error(self) -> None:
        """Raise what ended the thread, if it was an error."""
        if self.error is not None:
            if isinstance(self.error, InputError):
                raise InputError(str(self.error)) from self.error
            raise self.error
