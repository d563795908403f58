"""The thread that brings one sink its messages, in their order, each until the sink has it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from reason_iad.errors import InputError
from reason_iad.line.sinks import Sink, SinkDownError, SinkRefusedError
from reason_iad.store.outbox import Outbox, Waiting

WAITS = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before a sink that is down is tried again; the last one repeats
REFUSALS = 3  # of one message, after which it is set aside
LOOK = 2.0  # seconds between two looks for messages that nobody announced


class Delivery(threading.Thread):
    """Brings messages from the outbox to a sink."""

    def __init__(self, outbox: Outbox, line: str, sink: Sink, say: Callable[[str], None]) -> None:
        super().__init__(name=f"sink-{sink.name}", daemon=True)
        self.sink = sink
        self.delivered = self.failures = 0
        self.up = True
        self.begun = threading.Event()  # whether the sink was tried once
        self._outbox, self._line, self._say = outbox, line, say
        self._wake, self._halt = threading.Event(), threading.Event()

    def wake(self) -> None:
        """Say that there is a new message."""
        self._wake.set()

    def run(self) -> None:
        """Deliver until stopped."""
        failures = 0
        while not self._halt.is_set():
            self._wake.clear()
            try:
                if not self.begun.is_set():
                    self.sink.begin()
                self._round()
                if failures:
                    self._say(f"sink {self.sink.name}: it takes messages again")
                failures, self.up = 0, True
                self.begun.set()
            except Exception as error:  # noqa: BLE001 - a sink's or the record's fault must not lose what waits
                self.begun.set()
                self.up = False
                self.failures += 1
                if not failures:
                    known = isinstance(error, SinkDownError | SinkRefusedError | InputError)
                    self._say(f"sink {self.sink.name}: {error if known else f'{type(error).__name__}: {error}'}")
                self._halt.wait(WAITS[min(failures, len(WAITS) - 1)])
                failures += 1
                continue
            self._wake.wait(LOOK)
        with contextlib.suppress(Exception):
            self.sink.close()

    def stop(self, seconds: float) -> None:
        """End, after what waits is delivered, or the seconds are over; the rest waits for the next start."""
        limit = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < limit and self._outbox.waiting(self._line, self.sink.name, 1):
            self._wake.set()
            time.sleep(0.05)
        self._halt.set()
        self._wake.set()
        if self.is_alive():
            self.join(max(1.0, seconds))

    def _round(self) -> None:
        while (waiting := self._outbox.waiting(self._line, self.sink.name)) and not self._halt.is_set():
            for message in waiting:
                if self._halt.is_set():
                    return
                self._deliver(message)

    def _deliver(self, message: Waiting) -> None:
        try:
            self.sink.send(message)
        except SinkRefusedError as error:
            if message.attempts + 1 >= REFUSALS:
                self._outbox.refused(message.id, str(error))
                self._say(f"sink {self.sink.name}: message {message.sequence} is set aside: {error}")
                return
            self._outbox.failed(message.id, str(error))
            raise
        except Exception as error:
            self._outbox.failed(message.id, str(error))
            raise
        self._outbox.delivered(message.id)
        self.delivered += 1
