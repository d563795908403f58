"""Folders that servers share through the record: profiles and knowledge, for machines without a common disk.

A folder is kept as a list of its files by their content, whose bytes are files of evidence, and has a version. Whoever
puts a new one says which version it changed, so that nobody overwrites what he has not seen. PostgreSQL only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reason_iad.store.notices import notify

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

EVENT = "shelved"  # what servers are told


@dataclass(frozen=True)
class Shelved:
    """A folder as the record has it."""

    name: str
    version: int
    manifest: dict[str, str]  # SHA-256 by the file's path in the folder


class Shelf:
    """The folders of a record; safe to share between threads and servers."""

    def __init__(self, sessions: sessionmaker[Session], reads: sessionmaker[Session]) -> None:
        self._sessions, self._reads = sessions, reads

    def versions(self) -> dict[str, int]:
        """Which folders there are, and at which version each is."""
        from sqlalchemy import select

        from reason_iad.store.tables import ShelfRow

        with self._reads() as session:
            rows = session.execute(select(ShelfRow.name, ShelfRow.version))
            return {str(name): int(version) for name, version in rows}

    def get(self, name: str) -> Shelved | None:
        """A folder; None where there is none."""
        from reason_iad.store.tables import ShelfRow

        with self._reads() as session:
            row = session.get(ShelfRow, name)
            return None if row is None else Shelved(name, row.version, dict(row.manifest))

    def put(self, name: str, manifest: Mapping[str, str], changed: int) -> int | None:
        """Put a folder whose files are there already; gives its version, None where others came first.

        Args:
            name: of the folder.
            manifest: its files.
            changed: the version that it was made from, 0 for a new folder.
        """
        from sqlalchemy import update

        from reason_iad.store.queries import insert_if_new, moment
        from reason_iad.store.tables import ShelfRow as Row

        with self._sessions.begin() as session:
            new = {"name": name, "version": 0, "manifest": {}, "changed_at": moment(session)}
            if changed == 0:
                insert_if_new(session, Row, new)
            values = {"version": changed + 1, "manifest": dict(manifest), "changed_at": moment(session)}
            wanted = update(Row).where(Row.name == name, Row.version == changed).values(**values)
            if session.scalars(wanted.returning(Row.version)).first() is None:
                return None
            notify(session, name, EVENT)
        return changed + 1
