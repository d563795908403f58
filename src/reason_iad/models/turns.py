"""Several threads, one of which computes at a time: whoever waits for a server lets the others.

A batch over a model on a server waits most of its time. Its threads share one inspector, which is not made for several;
so each takes its turn, and gives it up for exactly as long as a request is under way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_held = threading.local()


@contextlib.contextmanager
def taking_turns(turn: threading.Lock) -> Iterator[None]:
    """Compute while no other thread of the same `turn` does."""
    with turn:
        _held.turn = turn
        try:
            yield
        finally:
            _held.turn = None


@contextlib.contextmanager
def letting_others() -> Iterator[None]:
    """Wait for something: the other threads may compute meanwhile."""
    turn: threading.Lock | None = getattr(_held, "turn", None)
    if turn is None:
        yield
        return
    turn.release()
    try:
        yield
    finally:
        turn.acquire()


class Gate:
    """How many requests may be under way: up to a limit that halves when a server is overloaded and then grows again.

    Args:
        most: requests at a time, where the server keeps up.
    """

    def __init__(self, most: int = 1) -> None:
        self.most, self.limit = most, most
        self._under_way = self._well = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def through(self) -> Iterator[None]:
        """Have one request under way."""
        with self._changed:
            while self._under_way >= self.limit:
                self._changed.wait()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def overloaded(self) -> None:
        """The server could not take so many."""
        with self._changed:
            self.limit, self._well = max(1, self.limit // 2), 0

    def well(self) -> None:
        """A request went well; after twice as many as are allowed, one more is."""
        with self._changed:
            self._well += 1
            if self._well >= 2 * self.limit and self.limit < self.most:
                self.limit, self._well = self.limit + 1, 0
                self._changed.notify_all()
