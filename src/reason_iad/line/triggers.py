"""Which pictures are inspected: each, one now and then, a part at rest, or when someone says so."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reason_iad.images import read_image
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, View
from reason_iad.line.motion import RestDetector, change, grid_of
from reason_iad.line.settings_sources import (
    AnySource,
    AnyTrigger,
    EachTrigger,
    HttpTrigger,
    IntervalTrigger,
    MqttTrigger,
    RestTrigger,
)

MOST_CALLS = 1000  # that may wait for a picture
MAX_PART = 100  # characters of a part's name


@dataclass(frozen=True)
class Fired:
    """A picture is to be inspected.

    Attributes:
        part: what the trigger called it.
        rest_at: when the part came to rest, where that was the trigger.
    """

    part: str | None = None
    rest_at: datetime | None = None


class Trigger(Protocol):
    """Decides on each picture."""

    def see(self, frame: Frame) -> Fired | None:
        """Whether this picture is to be inspected."""

    def missed(self) -> list[str | None]:
        """Parts that were called and for which no picture came in time."""


class Each:
    """Every picture."""

    def see(self, frame: Frame) -> Fired | None:
        """Yes."""
        return Fired()

    def missed(self) -> list[str | None]:
        """None."""
        return []


@dataclass
class Interval:
    """One picture every so many seconds, by the steady clock."""

    seconds: float
    _next: float | None = None

    def see(self, frame: Frame) -> Fired | None:
        """Whether it is time."""
        if self._next is not None and frame.seconds < self._next:
            return None
        due = frame.seconds if self._next is None else self._next
        behind = max(0, int((frame.seconds - due) / self.seconds))
        self._next = due + (behind + 1) * self.seconds
        return Fired()

    def missed(self) -> list[str | None]:
        """None."""
        return []


class Rest:
    """A part that has come to rest."""

    def __init__(self, settings: RestTrigger, view: View) -> None:
        self.detector = RestDetector(settings.settle, settings.moved, settings.still)
        self._present, self._empty = settings.present, None
        if settings.empty is not None:
            empty = Frame(read_image(settings.empty).pixels, datetime.min, 0.0)
            self._empty = grid_of(view.of(empty).pixels)

    def see(self, frame: Frame) -> Fired | None:
        """Whether a part has just come to rest."""
        if frame.problem is not None:
            return None
        grid = grid_of(frame.pixels)
        since = self.detector.see(grid, frame.seconds)
        if since is None:
            return None
        if self._empty is not None and change(self._empty, grid) < self._present:
            return None
        return Fired(rest_at=frame.taken_at - timedelta(seconds=frame.seconds - since))

    def missed(self) -> list[str | None]:
        """None."""
        return []


class Called:
    """When someone says so, by MQTT or HTTP: each call takes the first picture after it."""

    def __init__(self, wait: float, clock: Clock) -> None:
        self._wait, self._clock = wait, clock
        self._calls: deque[tuple[float, str | None]] = deque()
        self._lock = threading.Lock()
        self._too_many: list[str | None] = []

    def call(self, part: str | None = None) -> bool:
        """Ask for the next picture; False where too many wait, and the part is told as missed."""
        name = None if part is None else part.strip()[:MAX_PART] or None
        with self._lock:
            if len(self._calls) >= MOST_CALLS:
                self._too_many.append(name)
                return False
            self._calls.append((self._clock.seconds(), name))
            return True

    def see(self, frame: Frame) -> Fired | None:
        """Whether someone asked before it was taken."""
        with self._lock:
            if not self._calls or frame.seconds < self._calls[0][0]:
                return None
            return Fired(self._calls.popleft()[1])

    def missed(self) -> list[str | None]:
        """Parts whose picture did not come in time."""
        with self._lock:
            gone, self._too_many = self._too_many, []
            while self._calls and self._clock.seconds() - self._calls[0][0] > self._wait:
                gone.append(self._calls.popleft()[1])
            return gone


def make_trigger(settings: AnyTrigger, source: AnySource, clock: Clock) -> Trigger:
    """The trigger that settings describe.

    Raises:
        ImageError: the picture of the empty place cannot be read.
    """
    if isinstance(settings, EachTrigger):
        return Each()
    if isinstance(settings, IntervalTrigger):
        return Interval(settings.seconds)
    if isinstance(settings, RestTrigger):
        return Rest(settings, View(source.region, source.rotate))
    assert isinstance(settings, MqttTrigger | HttpTrigger)
    return Called(settings.wait, clock)
