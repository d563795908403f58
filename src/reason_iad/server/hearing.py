"""Who waits for news of which inspection, where any server may have them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Hearing:
    """Wakes whoever waits for an inspection, when a notice of it comes; all methods belong to the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[asyncio.Event, bool]]] = {}  # whom to wake, and whether at the end alone

    @contextlib.contextmanager
    def of(self, identifier: str, at_end: bool = False) -> Iterator[asyncio.Event]:
        """What is set whenever something happens to an inspection, or only when it ends."""
        entry = (asyncio.Event(), at_end)
        self._waiting.setdefault(identifier, []).append(entry)
        try:
            yield entry[0]
        finally:
            self._waiting[identifier].remove(entry)
            if not self._waiting[identifier]:
                del self._waiting[identifier]

    def wake(self, identifier: str, ended: bool) -> None:
        """Wake who waits for an inspection; without an id everyone, since notices may have been missed."""
        found = [self._waiting.get(identifier, [])] if identifier else self._waiting.values()
        for heard, at_end in (entry for entries in found for entry in entries):
            if ended or not at_end or not identifier:
                heard.set()
