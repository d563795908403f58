"""Industrial cameras (GigE Vision, USB3 Vision) through harvesters and the GenTL producer of their maker.

Written from the documentation of harvesters 1.4; no such camera was at hand to try it on (docs/line.md says so).
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from reason_iad.errors import InputError
from reason_iad.images import Pixels
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, SourceLostError
from reason_iad.line.settings_sources import GenicamSource


class Genicam:
    """The first camera that a producer finds, or the one with a serial number; implements `Source`."""

    live = True

    def __init__(self, settings: GenicamSource, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._harvester: Any = None
        self._camera: Any = None

    def open(self) -> None:
        """Connect; see `Source`."""
        try:
            from harvesters.core import Harvester
        except ImportError as error:
            raise InputError("harvesters is not installed; expected it: pip install 'reason-iad[genicam]'") from error
        wanted = self._settings
        if not wanted.producer.is_file():
            raise InputError(f"{wanted.producer} does not exist; expected the .cti file of the camera's maker")
        try:
            self._harvester = Harvester()
            self._harvester.add_file(str(wanted.producer))
            self._harvester.update()
            search = {} if wanted.serial is None else {"serial_number": wanted.serial}
            self._camera = self._harvester.create(search)
            self._camera.start()
        except Exception as error:
            self.close()
            raise SourceLostError(f"no camera of {wanted.producer.name} opens ({type(error).__name__})") from error

    def read(self) -> Frame | None:
        """The next picture; see `Source`."""
        try:
            with self._camera.fetch(timeout=self._settings.timeout) as buffer:
                part = buffer.payload.components[0]
                pixels = to_rgb(np.array(part.data), part.height, part.width, str(part.data_format))
        except InputError:
            raise
        except Exception as error:
            raise SourceLostError(f"the camera stopped sending ({type(error).__name__})") from error
        return Frame(pixels, self._clock.now(), self._clock.seconds())

    def close(self) -> None:
        """Let go; see `Source`."""
        for held, end in ((self._camera, "destroy"), (self._harvester, "reset")):
            if held is not None:
                with contextlib.suppress(Exception):
                    getattr(held, end)()
        self._camera = self._harvester = None


def to_rgb(values: np.ndarray, height: int, width: int, form: str) -> Pixels:
    """Pixels (H, W, 3) from a camera's values in one of the forms Mono8, RGB8 and BGR8.

    Raises:
        InputError: another form; the camera can be set to one of these.
    """
    if form == "Mono8":
        return np.repeat(values.reshape(height, width, 1), 3, axis=2)
    if form in ("RGB8", "BGR8"):
        pixels = values.reshape(height, width, 3)
        return np.ascontiguousarray(pixels if form == "RGB8" else pixels[:, :, ::-1])
    raise InputError(f"the camera sends {form}; expected Mono8, RGB8 or BGR8: set its PixelFormat")
