"""A turn that one server has at a time, for what would undo itself if two did it at once. PostgreSQL only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reason_iad.files import sha256

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextlib.contextmanager
def turn(engine: Engine, name: str) -> Iterator[bool]:
    """Whether this server has the turn; it ends with the block, or with the server."""
    from sqlalchemy import text

    key = int(sha256(name)[:15], 16)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        taken = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar())
        try:
            yield taken
        finally:
            if taken:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
