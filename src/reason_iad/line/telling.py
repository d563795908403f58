"""What a line tells: messages into the outbox, in the transaction of what they are about, and the line's own tally."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from reason_iad.errors import InputError
from reason_iad.line.clock import Clock
from reason_iad.line.delivery import Delivery
from reason_iad.line.frames import Frame
from reason_iad.line.message import Drift, LineMessage, Notice, NoticeKind, Part, not_inspected
from reason_iad.line.settings import LineName
from reason_iad.line.triggers import Fired
from reason_iad.store.lines import new_id
from reason_iad.store.outbox import Draft

if TYPE_CHECKING:
    from reason_iad.store.store import Store

SAID: dict[NoticeKind, str] = {
    "started": "line started", "stopped": "line stopped", "camera_lost": "camera lost", "camera_back": "camera back",
    "drift_cleared": "drift cleared",
}  # fmt: skip  # `locale/sentences.py` has them with what follows
RECORD_WAITS = (0.2, 1.0, 5.0)
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture that is to be inspected."""

    frame: Frame
    fired: Fired
    at: float  # on the steady clock, when it was chosen


@dataclass
class Tally:
    """What a line has done since it was started."""

    started_at: datetime
    parts: Counter[str] = field(default_factory=Counter)  # by verdict, and not_inspected
    last: dict[str, Any] | None = None
    record_errors: int = 0
    delays: list[float] = field(default_factory=list)  # seconds from choice to record, of the last parts


class Telling:
    """Writes the messages of one line, and wakes those who deliver them."""

    def __init__(
        self, line: LineName, store: Store, deliveries: Sequence[Delivery], clock: Clock, say: Callable[[str], None]
    ) -> None:
        """Begin with nothing told; `say` prints for people."""
        self._line, self._store, self._deliveries, self._clock, self.say = line, store, deliveries, clock, say
        self.tally = Tally(clock.now())

    def notice(self, event: NoticeKind, detail: str) -> None:
        """Tell of something about the line itself."""
        draft = self.draft("notice", None, notice=Notice(event=event, detail=detail[:500]))
        self.keep(lambda: self._store.outbox.put(draft))
        self.wake()
        self.say(f"{SAID[event]}: {detail}" if detail else SAID[event])

    def not_inspected(self, part: str | None, why: str, chosen: Chosen | None = None) -> None:
        """Tell of a part about which nothing is known."""
        found = not_inspected(self._line.category, part, why)
        draft = self.draft("part", chosen, part=found)
        self.keep(lambda: self._store.outbox.put(draft))
        self.count(found, chosen)
        self.say(f"a part was not inspected: {why}")

    def count(self, part: Part, chosen: Chosen | None) -> None:
        """Note a part whose message is in the outbox."""
        self.tally.parts[part.verdict or "not_inspected"] += 1
        self.tally.last = {
            "verdict": part.verdict, "inspection_id": part.inspection_id, "part": part.part,
            "at": None if chosen is None else chosen.frame.taken_at.isoformat(), "defect_type": part.defect_type,
            "anomaly_score": part.anomaly_score, "error": part.error,
        }  # fmt: skip
        if chosen is not None:
            self.tally.delays = [*self.tally.delays[-199:], self._clock.seconds() - chosen.at]
        self.wake()

    def draft(
        self, kind: str, chosen: Chosen | None, at: datetime | None = None, part: Part | None = None,
        drift: Drift | None = None, notice: Notice | None = None,
    ) -> Draft:  # fmt: skip
        """A message that has no number yet."""
        identifier, line = new_id(), self._line
        moment = at or (self._clock.now() if chosen is None else chosen.frame.taken_at)
        rest = None if chosen is None else chosen.fired.rest_at

        def compose(sequence: int) -> str:
            return LineMessage(
                id=identifier, line=line.name, group=line.group, sequence=sequence,
                kind=kind, at=moment, rest_at=rest, part=part, drift=drift, notice=notice,  # type: ignore[arg-type]
            ).to_json()  # fmt: skip

        return Draft(identifier, line.name, kind, tuple(one.sink.name for one in self._deliveries), compose)

    def wake(self) -> None:
        """Let those who deliver look into the outbox."""
        for delivery in self._deliveries:
            delivery.wake()

    def keep(self, write: Callable[[], Result]) -> Result:
        """Write into the record, again and again while it is out of reach: nothing may be lost."""
        from sqlalchemy.exc import OperationalError

        for attempt in range(10_000):
            try:
                return write()
            except (OperationalError, OSError, InputError) as error:
                if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):  # not for want of room
                    raise
                self.tally.record_errors += 1
                if not attempt:
                    self.say(f"the record cannot be written ({str(error).splitlines()[0]}); it is tried again")
                time.sleep(RECORD_WAITS[min(attempt, len(RECORD_WAITS) - 1)])
        raise InputError("the record could not be written for hours; expected room and a database that runs")
