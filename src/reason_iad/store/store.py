"""The record of inspections over a database and a folder of evidence files.

    store = Store.open("sqlite:///record.db", "evidence")
    id = store.accept(InspectionRequest(data, category="screw", name="part.png"), who="line 3")
    store.start(id); store.finish(id, report, {"map": png})

Inspections are written by `writing` and read by `reading`; here is what else a record holds, and what leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import InputError
from reason_iad.store.chain import AuditLog
from reason_iad.store.facts import Facts
from reason_iad.store.files import EVIDENCE_VARIABLE, EvidenceFiles, open_files
from reason_iad.store.leases import Leases
from reason_iad.store.lines import Lines
from reason_iad.store.notices import Listener
from reason_iad.store.outbox import Outbox
from reason_iad.store.rates import Rates
from reason_iad.store.reading import feedback_of
from reason_iad.store.record import FEEDBACK_KINDS, AuditEntry, Feedback, FeedbackKind, Pruned
from reason_iad.store.shelf import Shelf
from reason_iad.store.tokens import Tokens
from reason_iad.store.writing import RecordWriter

if TYPE_CHECKING:
    from sqlalchemy import Engine

MAX_COMMENT = 2000


class Store(RecordWriter):
    """Inspections, evidence, feedback and audit; safe to share between threads."""

    def __init__(self, engine: Engine, files: EvidenceFiles) -> None:
        """Use a database whose tables are there; `open` makes them."""
        super().__init__(engine, files)
        self.outbox, self.lines = Outbox(self._sessions, self._reads), Lines(self._sessions, self._reads, files)
        self.trail, self.rates = AuditLog(self._sessions, self._reads), Rates(self._sessions)
        self.facts, self.tokens = Facts(engine), Tokens(self._sessions, self._reads)
        self.shelf = Shelf(self._sessions, self._reads)

    @classmethod
    def open(cls, url: str, folder: str | Path, evidence: str | None = None) -> Store:
        """Connect, bring the tables to this version, and keep evidence under `folder`.

        Args:
            url: as SQLAlchemy takes it, such as sqlite:///record.db or postgresql+psycopg://user@host/name; or @FILE.
            folder: for files of evidence, where nothing else says where they are.
            evidence: where they are: a folder or an address (`files.open_files`); else $REASON_IAD_EVIDENCE says it, or
                what a server noted in the record.

        Raises:
            InputError: the URL cannot be used, the database not be reached, or the files are another record's.
        """
        from sqlalchemy.exc import SQLAlchemyError

        from reason_iad.store.engine import create, explain_losses
        from reason_iad.store.migrate import upgrade

        engine = create(url)
        try:
            upgrade(engine)
        except BaseException as error:
            engine.dispose()  # a database that is refused keeps no connection either
            if not isinstance(error, SQLAlchemyError | OSError):
                raise
            raise InputError(
                f"the database {engine.url.render_as_string()} cannot be used ({_first_line(error)}); expected "
                "sqlite:///file.db or postgresql+psycopg://user@host/name: check that it runs and may be written"
            ) from error
        explain_losses(engine)
        try:
            facts = Facts(engine)
            place = evidence or os.environ.get(EVIDENCE_VARIABLE) or facts.get("evidence") or folder
            store = cls(engine, open_files(place))
            facts.check(store.files)
        except BaseException:
            engine.dispose()
            raise
        return store

    def leases(self, server: str, seconds: float) -> Leases:
        """The inspections that the server with the id `server` takes of a shared record, for `seconds` at a time."""
        return Leases(self._sessions, self._reads, server, seconds)

    def listen(self, on_notice: Callable[[str, str], None]) -> Listener:
        """What hears of everything that happens in a shared record; to be started and stopped."""
        return Listener(self._engine, on_notice)

    def turn(self, name: str) -> AbstractContextManager[bool]:
        """Whether this server alone may now do what `name` stands for, for as long as the block lasts."""
        from reason_iad.store.turn import turn

        return turn(self._engine, name)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def kind(self) -> str:
        """The kind of database: sqlite or postgresql."""
        return self._engine.dialect.name

    def revision(self) -> str | None:
        """The revision that the tables are at; raises what the driver raises."""
        from reason_iad.store.migrate import current

        return current(self._engine)

    def add_feedback(
        self, identifier: str, kind: FeedbackKind, who: str, comment: str = "", effect: str = ""
    ) -> Feedback:
        """Keep what a person said.

        Raises:
            InputError: no such inspection, it has no report yet, or the kind is not known.
        """
        from reason_iad.store.queries import now_of
        from reason_iad.store.tables import FeedbackRow, InspectionRow

        if kind not in FEEDBACK_KINDS:
            raise InputError(f"the feedback is {kind!r}; expected one of {', '.join(FEEDBACK_KINDS)}")
        with self._sessions.begin() as session:
            row = session.get(InspectionRow, identifier)
            if row is None:
                raise InputError(f"there is no inspection {identifier!r}; list them with `reason-iad records list`")
            if row.state != "done":
                raise InputError(f"the inspection {identifier} is {row.state}; feedback needs a finished one")
            said = FeedbackRow(
                inspection_id=identifier, kind=kind, comment=comment[:MAX_COMMENT], who=who[:100],
                created_at=now_of(session), effect=effect,
            )  # fmt: skip
            session.add(said)
            session.flush()
            return feedback_of(said)

    def note_effect(self, feedback_id: int, effect: str) -> None:
        """Keep what a feedback changed, once that is known."""
        from sqlalchemy import update

        from reason_iad.store.tables import FeedbackRow

        with self._sessions.begin() as session:
            session.execute(update(FeedbackRow).where(FeedbackRow.id == feedback_id).values(effect=effect))

    def audit(self, who: str, role: str, action: str, target: str, outcome: str, client: str = "") -> None:
        """Add a line to the audit log."""
        self.trail.add(who, role, action, target, outcome, client)

    def audit_log(self, limit: int = 200) -> tuple[AuditEntry, ...]:
        """The newest lines of the audit log, newest first."""
        return self.trail.newest(limit)

    def remove(self, identifier: str) -> bool:
        """Delete one inspection with its feedback and the files nobody else has; False where there was none."""
        from reason_iad.store.retention import delete_inspections

        with self._sessions.begin() as session:
            count, _ = delete_inspections(session, [identifier])
        self.prune_files()
        return count > 0

    def prune(self, before: datetime, keep_feedback: bool = True, line: str | None = None) -> Pruned:
        """Delete finished inspections from before a moment, and every file that nobody names any more.

        Args:
            before: inspections created earlier go.
            keep_feedback: inspections a person said something about stay; they are what a profile learned from.
            line: only inspections of this production line go.
        """
        from reason_iad.store.retention import delete_inspections, outdated

        with self._sessions.begin() as session:
            count, _ = delete_inspections(session, outdated(session, before, keep_feedback, line))
        files, num_bytes = self.prune_files()
        return Pruned(count, files, num_bytes)

    def prune_files(self, grace: float = 60.0) -> tuple[int, int]:
        """Remove files that no inspection names; returns how many, and their bytes.

        Args:
            grace: seconds for which a new file is left alone: its inspection may be about to name it.
        """
        from reason_iad.store.retention import forget_orphans, named_files

        with self._sessions.begin() as session:
            forget_orphans(session)
            named = named_files(session)
        before = self.files.now() - grace if grace else float("inf")
        gone = [self.files.remove(digest, before) for digest in self.files.digests() if digest not in named]
        return sum(size > 0 for size in gone), sum(gone)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
