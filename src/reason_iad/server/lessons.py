"""Lessons of several servers: one at a time changes profiles, and each begins with what the last one left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from reason_iad.errors import RecordUnavailableError
from reason_iad.server.mirror import Mirror, sync_quietly
from reason_iad.store.store import Store

SYNC_SECONDS = 5.0  # after which profiles and knowledge are compared with the record's
TURN_SECONDS = 0.2  # between two looks whether another server has ended its lesson


class SharedLessons:
    """Profiles and knowledge that servers change in turn, and share through the record where `mirrored`."""

    def __init__(self, store: Store, mirrored: bool) -> None:
        self._store, self._mirror = store, Mirror(store) if mirrored else None
        self._look_soon = asyncio.Event()

    def changed(self) -> None:
        """Look soon: another server has changed something."""
        self._look_soon.set()

    async def keep_alike(self) -> None:
        """Compare profiles and knowledge with the record's, again and again; ends at once where they are no mirror."""
        while self._mirror is not None:
            await self._sync()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_soon.wait(), SYNC_SECONDS)
            self._look_soon.clear()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other server changes profiles, and let none while the block lasts."""
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    taken = await asyncio.to_thread(stack.enter_context, self._store.turn("profiles"))
                except RecordUnavailableError:
                    taken = False
                if taken:
                    await self._sync()  # the lesson goes on where the last one ended, at whichever server
                    yield
                    await self._sync()
                    return
            await asyncio.sleep(TURN_SECONDS)

    async def _sync(self) -> None:
        if self._mirror is not None:
            await asyncio.to_thread(sync_quietly, self._mirror)
