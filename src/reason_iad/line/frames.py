"""One picture of a camera, the form of a source, and what is cut out of its pictures.

Axes: H x W pixels; a region is x, y, width, height in pixels of the camera's picture, before it is turned.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.images import Pixels


class SourceLostError(ReasonIADError):
    """A camera that cannot be reached, or that stopped sending; it is tried again."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        taken_at: moment it was taken, in UTC.
        seconds: the same on the steady clock.
        name: of the picture, where it has one.
        data: bytes of its file, where it came as one and was not cut or turned.
        problem: why there is no picture; the pixels are then a black one.
    """

    pixels: Pixels
    taken_at: datetime
    seconds: float
    name: str = ""
    data: bytes | None = None
    problem: str | None = None


class Source(Protocol):
    """Where pictures come from."""

    @property
    def live(self) -> bool:
        """Whether pictures come whether or not they are taken, so that the newest counts."""

    def open(self) -> None:
        """Connect.

        Raises:
            SourceLostError: it cannot be reached now.
            InputError: it never will.
        """

    def read(self) -> Frame | None:
        """The next picture; None at the end of what has an end.

        Raises:
            SourceLostError: nothing comes any more.
        """

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class View:
    """Which part of a camera's picture is looked at, and how it is turned.

    Attributes:
        region: x, y, width, height; all of the picture where None.
        rotate: degrees clockwise, in steps of 90.
    """

    region: tuple[int, int, int, int] | None = None
    rotate: int = 0

    def of(self, frame: Frame) -> Frame:
        """The frame as it is looked at.

        Raises:
            InputError: the region lies outside the picture.
        """
        if (self.region is None and not self.rotate) or frame.problem is not None:
            return frame
        pixels = frame.pixels
        if self.region is not None:
            x, y, width, height = self.region
            if x + width > pixels.shape[1] or y + height > pixels.shape[0]:
                raise InputError(
                    f"the region ends at {x + width}, {y + height} and the picture at {pixels.shape[1]}, "
                    f"{pixels.shape[0]}; expected a region inside the picture: change source.region"
                )
            pixels = pixels[y : y + height, x : x + width]
        turned = np.ascontiguousarray(np.rot90(pixels, -self.rotate // 90))
        return dataclasses.replace(frame, pixels=turned, data=None)
