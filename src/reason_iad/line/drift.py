r"""A sequential test of whether parts are still like the good parts of a profile, with a set rate of false alarms.

Each quantity of a part is ranked among what is known of good parts: its conformal p-value, uniform for a part like
them whatever their distribution. Betting functions \(k(1-p)^{k-1}\) multiply what was staked on small p-values; a new
unit is staked with every part (Shiryaev-Roberts). On parts like the known ones the sum grows by one a part and no
more (`R_t - t` is a martingale), so that the mean time until it reaches a level c is at least c parts: the rate of
false alarms is the one that was set, for any distribution and any number of known parts (Volkhonskiy and others,
Inductive conformal martingales for change-point detection, COPA 2017; Vovk, Testing randomness online, 2021).

Parts of the line join the known ones late, by as many parts as the profile knows and `LAG` at most: at once, as the
theorem wants it, a line that differs from a small profile from its first part on would be its own measure and never be
noticed. What the lag costs is measured, and less than what the tolerance saves (`benchmarks/line_drift.py`).

Cumulative sums with limits from tables need the mean and spread of good parts exactly; estimated from 20 parts their
rate of false alarms is many times the one set (`benchmarks/line_drift.py` measures both).

A shift within a tolerance is none: a value is moved toward the known ones by it before it is ranked, which makes
p-values larger and alarms rarer.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal["high", "low"]
BETS = (2, 5, 15, 50)  # from shifts of half a spread to those that no known part shows
LAG = 30  # parts at most until one of the line is known
BASELINE = 1000  # stable parts of the line that join the good parts of the profile
MOST = 1e15  # a stake beyond this has long raised an alarm


@dataclass(frozen=True)
class Quantity:
    """What is watched.

    Attributes:
        name: of the quantity.
        sides: in which directions a change is drift.
        least_spread: smallest spread that good parts are thought to have, in its unit.
    """

    name: str
    sides: tuple[Side, ...] = ("high", "low")
    least_spread: float = 0.0


class Detector:
    """The test of one quantity."""

    def __init__(self, quantity: Quantity, known: Sequence[float], tolerance: float, rng: np.random.Generator) -> None:
        """Begin from known values of good parts (n,), n at least 1; `tolerance` is in their spreads."""
        self.quantity = quantity
        self.reference = tuple(sorted(known))
        self.spread = max(spread_of(known), quantity.least_spread)
        self._known = list(self.reference)
        self._coming: deque[float] = deque()
        self._slack = tolerance * self.spread
        self._rng = rng
        self._room = BASELINE

    def see(self, value: float) -> list[float]:
        """P-values of one more part, by side; it is known some parts later."""
        found = [self._p_value(value, side) for side in self.quantity.sides]
        if self._room:
            self._coming.append(value)
            if len(self._coming) > min(LAG, len(self.reference)):
                bisect.insort(self._known, self._coming.popleft())
                self._room -= 1
        return found

    def _p_value(self, value: float, side: Side) -> float:
        """Share of known values beyond this one, ties broken at random, in (0, 1]."""
        count = len(self._known)
        moved = value - self._slack if side == "high" else value + self._slack
        below, upto = bisect.bisect_left(self._known, moved), bisect.bisect_right(self._known, moved)
        beyond = count - upto if side == "high" else below
        return float(beyond + (1 - self._rng.random()) * (upto - below + 1)) / (count + 1)


@dataclass(frozen=True)
class Alarm:
    """What tells most clearly that parts have changed.

    Attributes:
        quantity: its name.
        side: where its values went.
        since: parts since then, the last one included.
    """

    quantity: str
    side: Side
    since: int


class DriftTest:
    """All quantities of a line; one alarm, after which it rests until it is made anew.

    Attributes:
        stakes: of each side of each quantity and each bet, (S, B).
        alarm: what was found; None before.
    """

    def __init__(
        self, known: Mapping[Quantity, Sequence[float]], parts_per_false_alarm: int, tolerance: float, seed: int = 0
    ) -> None:
        """Begin anew.

        Args:
            known: values of the profile's good parts, by quantity; those without any are not watched.
            parts_per_false_alarm: mean number of stable parts until a false alarm, at least.
            tolerance: shift that is none, in spreads.
            seed: of the ranks of equal values.
        """
        rng = np.random.default_rng(seed)
        self.detectors = [Detector(one, values, tolerance, rng) for one, values in known.items() if len(values)]
        self._sides = [(one.quantity.name, side) for one in self.detectors for side in one.quantity.sides]
        self._bets = np.array(BETS)
        self.stakes = np.zeros((len(self._sides), len(BETS)))
        self._since = np.zeros(self.stakes.shape, int)  # parts since each began to grow
        self.limit = float(parts_per_false_alarm)
        self.parts = 0
        self.alarm: Alarm | None = None

    @property
    def level(self) -> float:
        """How near an alarm is, from 0 to 1: the mean of all stakes beside the limit."""
        return min(1.0, float(self.stakes.mean()) / self.limit) if len(self._sides) else 0.0

    def see(self, values: Mapping[str, float | None]) -> Alarm | None:
        """Test one more part; gives the alarm with the part that raises it.

        Args:
            values: of the part, by quantity; one that could not be measured is left out.
        """
        if self.alarm is not None:
            return None
        self.parts += 1
        p_values: list[float] = []
        for detector in self.detectors:
            value = values.get(detector.quantity.name)
            p_values += [math.nan] * len(detector.quantity.sides) if value is None else detector.see(value)
        self._bet(np.array(p_values))
        if self.level < 1:
            return None
        best, bet = divmod(int(self.stakes.argmax()), len(BETS))
        name, side = self._sides[best]
        self.alarm = Alarm(name, side, max(1, int(self._since[best, bet])))
        return self.alarm

    def _bet(self, p_values: np.ndarray) -> None:
        """Stake one more unit on each side and bet on its p-value (S,); NaN leaves it as it is."""
        at = p_values[:, None]
        grown = np.minimum((1 + self.stakes) * self._bets * (1 - at) ** (self._bets - 1), MOST)
        self.stakes = np.where(np.isnan(at), self.stakes, grown)
        self._since = np.where(self.stakes > 1, self._since + 1, 0)


def spread_of(values: Sequence[float]) -> float:
    """A robust standard deviation: from the quartiles with eight values or more, the usual one with fewer."""
    if len(values) < 2:
        return 0.0
    if len(values) < 8:
        return statistics.stdev(values)
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low) / 1.349
