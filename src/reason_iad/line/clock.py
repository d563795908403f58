"""The two clocks of a line: what time it is, for people, and how long things take, whatever happens to the first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """Where a line takes its time from; simulations bring their own.

    Attributes:
        now: the moment, in UTC; may be set back and forth by whoever keeps the machine's time.
        seconds: a steady count; durations are differences of it.
        sleep: waits.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
