"""Drift of a line: parts beside the good parts of the profile; alarms with two pictures and a proposal.

One alarm at a time: after it, the test rests until a person has acknowledged it or a new version of the profile is
there, and then begins anew. Nothing is learned by itself.
"""

from __future__ import annotations

import base64
import statistics
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reason_iad.languages import translatable
from reason_iad.line.drift import Alarm, DriftTest, spread_of
from reason_iad.line.message import Drift, QuantityShift
from reason_iad.line.parts import Known, Looked
from reason_iad.line.quantities import QUANTITIES, RECOGNITION, recognition
from reason_iad.line.settings import DriftSettings
from reason_iad.store.lines import DriftAlarm, new_id
from reason_iad.words import counted

KEPT = 50  # parts whose pictures are at hand
FEWEST = 4  # good parts without which nothing is known of their spread
ENOUGH = 8  # parts that a new version is proposed from, without those that the present one calls defective


@dataclass(frozen=True, eq=False)
class Seen:
    """A part that came by."""

    inspection: str
    good: bool  # not called defective
    values: dict[str, float]
    jpeg: bytes


@dataclass(frozen=True, eq=False)
class Raised:
    """An alarm for the record, what the message says, and its two pictures."""

    alarm: DriftAlarm
    drift: Drift
    before: bytes | None
    after: bytes | None


class DriftWatch:
    """Watches one line beside one version of a profile."""

    def __init__(self, settings: DriftSettings, line: str, category: str, known: Known) -> None:
        """Begin with what the profile knows; see `why_blind` for what it may lack."""
        self._settings, self._line, self._category, self.known = settings, line, category, known
        self._recent: deque[Seen] = deque(maxlen=KEPT)
        self.open_alarm: str | None = None
        self._begin()

    def _begin(self) -> None:
        values = {} if self.why_blind else {one: self.known.values.get(one.name, ()) for one in QUANTITIES}
        self.test = DriftTest(values, self._settings.parts_per_false_alarm, self._settings.tolerance)

    @property
    def why_blind(self) -> str | None:
        """Why no drift can be seen; None where it can."""
        count = len(self.known.jpegs)
        if not self._settings.on:
            return translatable("drift is switched off")
        if count < FEWEST:
            return translatable(
                f"the profile knows {count} good parts; expected at least {FEWEST} to see drift: learn it from more"
            )
        return None

    def renew(self, known: Known) -> None:
        """A new version of the profile is there: begin anew beside it."""
        self.known = known
        self.acknowledge()

    def acknowledge(self) -> None:
        """A person has seen the alarm: begin anew."""
        self.open_alarm = None
        self._begin()

    def see(self, looked: Looked, good: bool, inspection: str, at: datetime) -> Raised | None:
        """Look at one more part, `good` if it is not called defective; gives the alarm with the part that raises it."""
        values = dict(looked.values)
        found = recognition(looked.embedding, self.known.prototype)
        if found is not None:
            values[RECOGNITION.name] = found
        self._recent.append(Seen(inspection, good, values, looked.jpeg))
        if self.open_alarm is not None:
            return None
        alarm = self.test.see(values)
        return None if alarm is None else self._raise(alarm, at)

    def _raise(self, alarm: Alarm, at: datetime) -> Raised:
        since = list(self._recent)[-alarm.since :]
        before, after = self._pictures(alarm, since)
        identifier = new_id()
        self.open_alarm = identifier
        version = self.known.version
        proposed, odd = _proposed(since)
        doubt = f" ({odd} of them are called defective: look at each first)" if odd else ""
        drift = Drift(
            alarm_id=identifier,
            category=self._category,
            quantity=alarm.quantity,
            shifts=self._shifts(since),
            since_parts=alarm.since,
            parts_per_false_alarm=self._settings.parts_per_false_alarm,
            profile_version=version,
            proposal=translatable(
                f"Compare the two pictures. If camera, light and parts are as they should be, version {version + 1} of "
                f"the profile can be learned from the {counted(len(proposed), 'inspection')} named here{doubt}: "
                f"reason-iad line adopt {identifier[:8]} LINE.toml. Nothing was changed."
            ),
            proposed_from=proposed,
            before_jpeg=None if before is None else base64.b64encode(before).decode(),
            after_jpeg=None if after is None else base64.b64encode(after).decode(),
        )
        facts: dict[str, Any] = drift.model_dump(mode="json", exclude={"before_jpeg", "after_jpeg"})
        kept = DriftAlarm(identifier, self._line, self._category, alarm.quantity, at, facts, None, None, None, None)
        return Raised(kept, drift, before, after)

    def _pictures(self, alarm: Alarm, since: list[Seen]) -> tuple[bytes | None, bytes | None]:
        """The good part and the recent part whose values of what drifted are the middle ones."""
        known, name = self.known.values.get(alarm.quantity, ()), alarm.quantity
        before = None
        if known and self.known.jpegs:
            # scores may be of other images besides the good parts; only those with a picture can be shown
            shown = range(min(len(known), len(self.known.jpegs)))
            middle = statistics.median(known)
            before = self.known.jpegs[min(shown, key=lambda index: abs(known[index] - middle))]
        told = [part for part in since if name in part.values]
        if not told:
            return before, None
        middle = statistics.median(part.values[name] for part in told)
        return before, min(told, key=lambda part: abs(part.values[name] - middle)).jpeg

    def _shifts(self, since: list[Seen]) -> tuple[QuantityShift, ...]:
        found = []
        for quantity in QUANTITIES:
            known = self.known.values.get(quantity.name, ())
            now = [part.values[quantity.name] for part in since if quantity.name in part.values]
            if not known or not now:
                continue
            before, after = statistics.median(known), statistics.median(now)
            spread = max(spread_of(known), quantity.least_spread)
            shift = round((after - before) / spread, 2)
            found.append(
                QuantityShift(quantity=quantity.name, before=round(before, 5), after=round(after, 5), shift=shift)
            )
        return tuple(sorted(found, key=lambda one: -abs(one.shift)))


def _proposed(since: list[Seen]) -> tuple[tuple[str, ...], int]:
    """Parts that a new version could learn from, and how many of them are called defective.

    Those that are not called defective where they are enough; else all, since what drifted is called defective.
    """
    good = tuple(part.inspection for part in since if part.good)
    if len(good) >= ENOUGH:
        return good, 0
    return tuple(part.inspection for part in since), len(since) - len(good)
