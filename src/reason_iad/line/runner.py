"""The whole line: a camera's pictures in, decisions out.

    capture -> trigger -> [waiting parts] -> inspection (a process of its own) -> record and outbox -> sinks

Each arrow is a thread boundary. What the record cannot take is tried until it can; what the sinks cannot take waits in
the outbox; a part that finds no room is told as not inspected. Nothing is passed over in silence.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.images import encode_png
from reason_iad.languages import translatable
from reason_iad.line.capture import Capture
from reason_iad.line.clock import Clock
from reason_iad.line.delivery import Delivery
from reason_iad.line.frames import Frame, Source
from reason_iad.line.message import NoticeKind, not_inspected, part_of
from reason_iad.line.parts import Found, Known, Looked
from reason_iad.line.settings import LineSettings
from reason_iad.line.sinks import Sink
from reason_iad.line.sources import view_of
from reason_iad.line.telling import Chosen, Telling
from reason_iad.line.triggers import Trigger
from reason_iad.line.watch import DriftWatch
from reason_iad.store.outbox import adding
from reason_iad.types import InspectionRequest
from reason_iad.workers import TaskFailedError, WorkerPool

if TYPE_CHECKING:
    from reason_iad.store.store import Store

INTERRUPTED = translatable("the line was stopped during this inspection")
TELL_SECONDS = 2.0  # between two notes of the line's state
PRUNE_SECONDS = 3600.0
BEGIN_SECONDS = 60.0  # for each sink to begin, or to fail, before the first picture is taken


class LineRunner:
    """One line from its source to its sinks."""

    def __init__(
        self,
        settings: LineSettings,
        store: Store,
        pool: WorkerPool,
        source: Source,
        trigger: Trigger,
        sinks: Sequence[Sink],
        clock: Clock | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Put the parts together; `run` starts them."""
        self.settings, self._store, self._pool, self._trigger = settings, store, pool, trigger
        self.clock = clock or Clock()
        self.name = settings.line.name
        self.capture = Capture(source, view_of(settings.source), self.clock, self._on_camera)
        self.deliveries = [Delivery(store.outbox, self.name, sink, say) for sink in sinks]
        self.telling = Telling(settings.line, store, self.deliveries, self.clock, say)
        self.watch: DriftWatch | None = None
        self._waiting: queue.Queue[Chosen | None] = queue.Queue(settings.line.waiting)
        self._halt = threading.Event()
        self._fault: Exception | None = None
        self._profile_changed: int | None = None

    def run(self, stop: threading.Event, drain_seconds: float = 10.0) -> None:
        """Run until told to stop, or the source ends; what waits is inspected and delivered first.

        Raises:
            InputError: the source cannot be used, or there is no profile.
        """
        self._recover()
        self._pool.start()
        self._know_profile()
        inspecting = threading.Thread(target=self._inspect_all, name="inspect", daemon=True)
        keeping = threading.Thread(target=self._keep, name="keep", daemon=True)
        for thread in (inspecting, keeping, *self.deliveries):
            thread.start()
        for delivery in self.deliveries:  # a sink that takes a while to begin must not hold up the first parts
            delivery.begun.wait(BEGIN_SECONDS)
        self.telling.notice("started", f"{self.settings.source.kind}, {self.settings.trigger.kind}")
        self.capture.start()
        try:
            while not stop.is_set() and self._fault is None:
                if self._step():
                    break
        finally:
            self.capture.stop()
            self._hand_on(None)
            inspecting.join(None if self._fault is None else 0.1)
            self.telling.notice("stopped", "")
            self._halt.set()
            for delivery in self.deliveries:
                delivery.stop(drain_seconds)
            keeping.join(5)
            self._store.lines.tell(self.name, self.state(running=False))
        self.capture.raise_error()
        if self._fault is not None:
            raise self._fault

    def _step(self) -> bool:
        """Look at one picture; whether the source has ended."""
        frame = self.capture.slot.take(0.1)
        if frame is not None and (fired := self._trigger.see(frame)) is not None:
            self._choose(Chosen(frame, fired, self.clock.seconds()))
        for part in self._trigger.missed():
            self.telling.not_inspected(part, translatable("no picture came in time"))
        return frame is None and self.capture.ended.is_set()

    def _choose(self, chosen: Chosen) -> None:
        if chosen.frame.problem is not None:
            self.telling.not_inspected(chosen.fired.part, chosen.frame.problem, chosen)
            return
        try:
            if self.capture.source.live:
                self._waiting.put_nowait(chosen)
            else:
                self._hand_on(chosen)
        except queue.Full:
            why = translatable(f"{self._waiting.maxsize} parts were waiting already")
            self.telling.not_inspected(chosen.fired.part, why, chosen)

    def _hand_on(self, chosen: Chosen | None) -> None:
        """Wait for room among the waiting parts, for as long as somebody inspects them; None is the end."""
        while self._fault is None:
            with contextlib.suppress(queue.Full):
                self._waiting.put(chosen, timeout=0.5)
                return

    def _inspect_all(self) -> None:
        try:
            while (chosen := self._waiting.get()) is not None:
                self._inspect(chosen)
        except Exception as error:  # noqa: BLE001 - the line's own thread raises it
            self._fault = error

    def _inspect(self, chosen: Chosen) -> None:
        """Inspect a part and tell of it as soon as there is a verdict; the rest of the record follows."""
        frame, category, telling = chosen.frame, self.settings.line.category, self.telling
        name = frame.name or f"{self.name}-{frame.taken_at:%Y%m%dT%H%M%S%f}.png"
        kind = "application/octet-stream" if frame.data is not None else "image/png"
        request = InspectionRequest(frame.data or encode_png(frame.pixels), category, name=name)
        inspection = telling.keep(lambda: self._store.accept(request, self.name, "line", kind))
        telling.keep(lambda: self._store.start(inspection))
        waited = 1000 * (self.clock.seconds() - chosen.at)
        verdicts: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
        future = self._pool.submit(request, verdicts.put)
        future.add_done_callback(lambda _: verdicts.put(None))
        if (found := verdicts.get()) is not None:
            part = part_of(found.report, inspection, chosen.fired.part, waited, found.milliseconds)
            draft = telling.draft("part", chosen, part=part)
            telling.keep(lambda: self._store.finish(inspection, found.report, {}, adding([draft])))
            telling.count(part, chosen)
        try:
            looked: Looked = future.result()
        except (ReasonIADError, TaskFailedError) as error:
            self._failed(chosen, inspection, error, found is not None)
            return
        if found is not None:
            telling.keep(lambda: self._store.attach(inspection, looked.files))
            self._see_drift(looked, found.report.verdict != "defective", inspection, frame)

    def _failed(self, chosen: Chosen, inspection: str, error: Exception, told: bool) -> None:
        """Tell of a part whose inspection failed; one that has its verdict lacks pictures only."""
        if told or isinstance(error, TaskFailedError):
            self.telling.say(f"{'pictures' if told else 'a verdict'} of {inspection} cannot be made: {error}")
        if told:
            return
        part = not_inspected(self.settings.line.category, chosen.fired.part, str(error), inspection)
        draft = self.telling.draft("part", chosen, part=part)
        self.telling.keep(lambda: self._store.fail(inspection, str(error), adding([draft])))
        self.telling.count(part, chosen)

    def _see_drift(self, looked: Looked, good: bool, inspection: str, frame: Frame) -> None:
        if self.watch is None or (raised := self.watch.see(looked, good, inspection, frame.taken_at)) is None:
            return
        draft = self.telling.draft("drift", None, at=frame.taken_at, drift=raised.drift)
        record = self._store.lines
        self.telling.keep(lambda: record.alarm(raised.alarm, raised.before, raised.after, adding([draft])))
        self.telling.wake()
        self.telling.say(f"drift of {raised.alarm.quantity.replace('_', ' ')}: {raised.drift.proposal}")

    def _on_camera(self, event: NoticeKind, detail: str) -> None:
        if not self._halt.is_set():  # a camera that goes after the line is not its business
            self.telling.notice(event, detail)

    def _recover(self) -> None:
        """Tell of the parts that the last stop interrupted."""
        for inspection in self._store.lines.unfinished(self.name):
            record = self._store.get(inspection)
            part = not_inspected(self.settings.line.category, None, INTERRUPTED, inspection)
            draft = self.telling.draft("part", None, at=record.created_at if record else None, part=part)
            self._store.fail(inspection, INTERRUPTED, adding([draft]))

    def _know_profile(self) -> None:
        """Begin to watch for drift beside the profile as it is now."""
        from reason_iad.evidence.profile_store import find_profile

        category = self.settings.line.category
        folder = find_profile(category)
        if folder is None:
            raise InputError(
                f"there is no profile of {category!r}; a line compares with good parts: learn it with "
                "`reason-iad learn CATEGORY DIR` from pictures of this camera"
            )
        changed = (folder / "profile.json").stat().st_mtime_ns
        if changed == self._profile_changed:
            return
        known = self._pool.submit(category).result()
        assert isinstance(known, Known)
        self._profile_changed = changed
        if self.watch is not None:
            self.watch.renew(known)
            self.telling.notice(
                "drift_cleared", f"version {known.version} of the profile is there; drift is watched anew"
            )
            return
        self.watch = DriftWatch(self.settings.drift, self.name, category, known)
        if self.watch.why_blind is not None:
            self.telling.say(f"no drift is seen: {self.watch.why_blind}")
        for alarm in self._store.lines.alarms(self.name, open_only=True, limit=1):
            if alarm.facts.get("profile_version") == known.version:
                self.watch.open_alarm = alarm.id  # told already, and nobody has answered

    def _keep(self) -> None:
        """Note the line's state, look after alarms and profile, and forget what is old."""
        next_prune, failing = time.monotonic() + PRUNE_SECONDS, False
        while not self._halt.wait(TELL_SECONDS):
            try:
                self._store.lines.tell(self.name, self.state())
                self._look_after_drift()
                if time.monotonic() >= next_prune:
                    next_prune = time.monotonic() + PRUNE_SECONDS
                    self.prune()
                failing = False
            except Exception as error:  # noqa: BLE001 - the line goes on, and this is tried again
                self.telling.tally.record_errors += 1
                if not failing:
                    self.telling.say(f"the state cannot be kept ({error}); it is tried again")
                failing = True

    def _look_after_drift(self) -> None:
        self._know_profile()
        watch = self.watch
        if watch is None or watch.open_alarm is None:
            return
        still_open = {alarm.id for alarm in self._store.lines.alarms(self.name, open_only=True)}
        if watch.open_alarm not in still_open:
            watch.acknowledge()
            self.telling.notice("drift_cleared", "the alarm was acknowledged; drift is watched anew")

    def prune(self) -> None:
        """Forget inspections and delivered messages that are older than the record keeps them."""
        before = self.clock.now() - timedelta(days=self.settings.record.keep_days)
        self._store.outbox.prune(self.name, before)
        self._store.prune(before, line=self.name)

    def state(self, running: bool = True) -> dict[str, Any]:
        """How the line is, for the record, the page and metrics."""
        watch, tally = self.watch, self.telling.tally
        delays = sorted(tally.delays)
        return {
            "running": running, "group": self.settings.line.group, "category": self.settings.line.category,
            "started_at": tally.started_at.isoformat(), "camera": "up" if self.capture.up else "lost",
            "camera_losses": self.capture.losses, "frames": self.capture.frames,
            "frames_dropped": self.capture.slot.dropped, "waiting": self._waiting.qsize(),
            "parts": dict(tally.parts), "last": tally.last, "record_errors": tally.record_errors,
            "delay_p95": round(delays[int(0.95 * (len(delays) - 1))], 3) if delays else None,
            "sinks": {
                one.sink.name: {"up": one.up, "delivered": one.delivered, "failures": one.failures}
                for one in self.deliveries
            },
            "drift": None if watch is None else {
                "level": round(watch.test.level, 6), "alarm": watch.open_alarm, "parts": watch.test.parts,
                "blind": watch.why_blind, "profile_version": watch.known.version,
            },
        }  # fmt: skip


def make_pool(settings: LineSettings, factory: str, say: Callable[[str], None]) -> WorkerPool:
    """The process that inspects; it is started again when it ends by itself."""
    from reason_iad.line import parts

    def on_state(number: int, state: str, content: object) -> None:
        if state in ("loading", "unable", "lost"):
            say(f"model: {content}" if content else "model: the process ended; it is started again")

    load = functools.partial(parts.load, factory, settings.method)
    return WorkerPool(load, restart_seconds=(0.5, 2.0, 10.0), on_state=on_state)
