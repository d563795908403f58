"""What is true of a whole record, such as which files of evidence are its own."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from reason_iad.errors import InputError
from reason_iad.store.files import EvidenceFiles

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PATIENCE = 3.0  # seconds for another server to note whose files they are


class Facts:
    """The facts of a record, by name."""

    def __init__(self, engine: Engine) -> None:
        from sqlalchemy.orm import sessionmaker

        self._engine, self._sessions = engine, sessionmaker(engine)

    def get(self, name: str) -> str | None:
        """A fact; None where it is not known."""
        from reason_iad.store.tables import FactRow

        with self._sessions() as session:
            row = session.get(FactRow, name)
            return None if row is None else row.value

    def note(self, name: str, value: str) -> None:
        """Keep a fact."""
        from reason_iad.store.tables import FactRow

        with self._sessions.begin() as session:
            session.merge(FactRow(name=name, value=value))

    def claim(self, files: EvidenceFiles) -> None:
        """Let a record that several machines share know its files of evidence, so that others are noticed.

        Raises:
            InputError: they are another record's.
            RecordUnavailableError: they cannot be reached.
        """
        from reason_iad.store.queries import insert_if_new
        from reason_iad.store.tables import FactRow

        if self._engine.dialect.name != "postgresql":
            return
        proposed = files.identity() or secrets.token_hex(16)
        with self._sessions.begin() as session:
            insert_if_new(session, FactRow, {"name": "identity", "value": proposed})
        if self.get("identity") == proposed and files.identity() is None:
            files.identify(proposed)
        self.check(files)

    def check(self, files: EvidenceFiles) -> None:
        """Refuse files that are not those of a record that several machines share.

        Raises:
            InputError: they are another record's, or nobody's.
        """
        if self._engine.dialect.name != "postgresql" or (own := self.get("identity")) is None:
            return
        limit = time.monotonic() + _PATIENCE
        while (found := files.identity()) != own:
            if found is not None or time.monotonic() > limit:
                raise InputError(
                    f"the evidence at {files.place} is not that of this record's other servers; expected the folder "
                    "that they use, mounted here, or the address of a store (--files, REASON_IAD_EVIDENCE)"
                )
            time.sleep(0.2)
