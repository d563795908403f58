"""What the servers of one PostgreSQL tell each other, by LISTEN and NOTIFY.

A notice is "ID EVENT" and is sent with the transaction that made it true. Notices only wake: what happened is read from
the record, so that one which got lost costs a moment and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

CHANNEL = "reason_iad"
_LOOK_SECONDS = 0.5  # how often a listener looks whether it shall end
_AGAIN_SECONDS = 2.0  # after which a connection that broke is made anew
_log = logging.getLogger(__name__)


def notify(session: Session, identifier: str, event: str) -> None:
    """Tell all servers, once the transaction of `session` is there."""
    from sqlalchemy import func, select

    session.execute(select(func.pg_notify(CHANNEL, f"{identifier} {event}")))


class Listener(threading.Thread):
    """Hears every notice, on a connection of its own."""

    def __init__(self, engine: Engine, on_notice: Callable[[str, str], None]) -> None:
        """Prepare to call `on_notice(id, event)` in this thread; both are empty where some may have been missed."""
        super().__init__(name="notices", daemon=True)
        self._engine, self._on_notice, self._ended = engine, on_notice, threading.Event()

    def run(self) -> None:
        """Listen until told to stop, through every loss of the connection."""
        while not self._ended.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises: the record is read without notices
                _log.warning("notices of the record are lost for now (%s)", type(error).__name__)
                self._ended.wait(_AGAIN_SECONDS)

    def stop(self) -> None:
        """End soon."""
        self._ended.set()

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        pooled.detach()  # never handed to anybody else
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            self._on_notice("", "")
            while not self._ended.is_set():
                for notice in connection.notifies(timeout=_LOOK_SECONDS):
                    identifier, _, event = notice.payload.partition(" ")
                    self._on_notice(identifier, event)
        finally:
            connection.close()
