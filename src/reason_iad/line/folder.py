"""Pictures that a camera drops into a folder: the hot folder of `inspect --watch`, as a source of a line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reason_iad.errors import InputError
from reason_iad.images.hot_folder import Arrival, HotFolder
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, SourceLostError
from reason_iad.line.settings_sources import FolderSource


class Folder:
    """Gives each picture once; implements `Source`."""

    live = False  # a picture in a folder waits until it is taken

    def __init__(self, settings: FolderSource, clock: Clock) -> None:
        self._path, self._clock = settings.path, clock
        self._hot = HotFolder(settings.path, settings.settle, clock=clock.seconds)
        self._arrivals: Iterator[Arrival] = iter(())

    def open(self) -> None:
        """Look whether the folder is there; see `Source`."""
        if self._path.exists() and not self._path.is_dir():
            raise InputError(f"{self._path} is no folder; expected one that pictures are dropped into")
        if not self._path.is_dir():
            raise SourceLostError(f"{self._path} is not there; expected a folder: it is waited for")

    def read(self) -> Frame | None:
        """The next picture that is complete; see `Source`."""
        while True:
            for arrival in self._arrivals:
                return self._frame(arrival)
            if not self._path.is_dir():
                raise SourceLostError(f"{self._path} is gone; it is waited for")
            if not self._hot.more:
                self._clock.sleep(self._hot.pause)
            self._arrivals = self._hot.arrivals()

    def close(self) -> None:
        """Nothing is held; see `Source`."""

    def _frame(self, arrival: Arrival) -> Frame:
        now, seconds, name = self._clock.now(), self._clock.seconds(), arrival.image.place
        if arrival.loaded is None:
            empty = np.zeros((16, 16, 3), np.uint8)
            return Frame(empty, now, seconds, name, problem=arrival.problem or f"{name} cannot be read")
        try:
            data: bytes | None = arrival.image.path.read_bytes()
        except OSError:  # sorted away meanwhile; its pixels are here
            data = None
        return Frame(arrival.loaded.pixels, now, seconds, name, data)
