"""The record of inspections over a database and a folder of evidence files.

    store = Store.open("sqlite:///record.db", "evidence")
    id = store.accept(InspectionRequest(data, category="screw", name="part.png"), who="line 3")
    store.start(id); store.finish(id, report, {"map": png})

Every change is one transaction, and files are on disk before the row that names them, so that a kill at any moment
leaves nothing half done: at worst a file that nobody names, which `prune` removes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError, LeaseLostError
from reason_iad.files import sha256
from reason_iad.store.chain import AuditLog
from reason_iad.store.facts import Facts
from reason_iad.store.files import EVIDENCE_VARIABLE, EvidenceFiles, open_files
from reason_iad.store.leases import Leases
from reason_iad.store.lines import Lines
from reason_iad.store.notices import Listener
from reason_iad.store.outbox import Outbox
from reason_iad.store.rates import Rates
from reason_iad.store.reading import RecordReader, feedback_of
from reason_iad.store.record import (
    FEEDBACK_KINDS,
    AuditEntry,
    Feedback,
    FeedbackKind,
    Origin,
    Pruned,
    State,
)
from reason_iad.store.shelf import Shelf
from reason_iad.store.tokens import Tokens
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from reason_iad.types import InspectionReport

MAX_NAME = 255
MAX_COMMENT = 2000
_OPEN: tuple[State, ...] = ("queued", "running")
INTERRUPTED = "The program stopped during this inspection; inspect the image again."


class Store(RecordReader):
    """Inspections, evidence, feedback and audit; safe to share between threads."""

    def __init__(self, engine: Engine, files: EvidenceFiles) -> None:
        """Use a database whose tables are there; `open` makes them."""
        from sqlalchemy.orm import sessionmaker

        super().__init__(sessionmaker(engine.execution_options(read_only=True)), files)
        self._engine, self._sessions = engine, sessionmaker(engine, expire_on_commit=False)
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

    @property
    def shared(self) -> bool:
        """Whether several servers may work on it: on PostgreSQL; a file of SQLite is one machine's."""
        return self._engine.dialect.name == "postgresql"

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

    def accept(
        self,
        request: InspectionRequest,
        who: str = "local",
        origin: Origin = "server",
        media_type: str = "application/octet-stream",
        priority: str = "person",
        trace: str | None = None,
    ) -> str:
        """Record an image that waits for inspection; returns the inspection's id. On return it survives a kill.

        Args:
            request: with image and references as the bytes of their files.
            who: asked for it.
            origin: where it came from.
            media_type: of the image's file.
            priority: person, or lot.
            trace: where the request is in a trace, for whichever server does it.
        """
        from reason_iad.store.leases import add_event
        from reason_iad.store.queries import moment
        from reason_iad.store.tables import InspectionRow

        identifier = secrets.token_hex(16)
        image = _file(request.image)
        kept = [("image", media_type, image)]
        files = [_file(reference) for reference in request.references]
        kept += [(f"reference-{n}", "application/octet-stream", data) for n, data in enumerate(files, 1)]
        digests = {role: self.files.put(data) for role, _, data in kept}
        with self._sessions.begin() as session:
            session.add(
                InspectionRow(
                    id=identifier, state="queued", origin=origin, who=who[:100], name=_display_name(request.name or ""),
                    image_sha256=sha256(image), request=_asked(request) | ({"trace": trace} if trace else {}),
                    created_at=moment(session), priority=priority,
                )
            )  # fmt: skip
            session.flush()
            for role, kind, data in kept:
                _attach(session, identifier, role, digests[role], kind, len(data))
            if self.shared and origin == "server":
                add_event(session, identifier, "queued", {})
        return identifier

    def refuse(
        self, name: str, image_sha256: str, error: str, request: InspectionRequest | None = None, who: str = "local",
        origin: Origin = "server",
    ) -> str:  # fmt: skip
        """Record an image that came and cannot be inspected, and why, without its bytes; returns the id."""
        from reason_iad.store.queries import now_of
        from reason_iad.store.tables import InspectionRow

        identifier = secrets.token_hex(16)
        with self._sessions.begin() as session:
            now = now_of(session)
            session.add(
                InspectionRow(
                    id=identifier, state="failed", origin=origin, who=who[:100], name=_display_name(name),
                    image_sha256=image_sha256, request=_asked(request), created_at=now,
                    finished_at=now, error=error[:2000],
                )
            )  # fmt: skip
        return identifier

    def start(self, identifier: str) -> None:
        """Note that the model has begun with an inspection."""
        from reason_iad.store.queries import moment

        with self._sessions.begin() as session:
            self._update(session, identifier, ("queued",), {"state": "running", "started_at": moment(session)})

    def finish(
        self,
        identifier: str,
        report: InspectionReport,
        files: Mapping[str, tuple[str, bytes]],
        also: Callable[[Session], None] | None = None,
        by: str | None = None,
    ) -> None:
        """Keep the report of an inspection with its files, as (media type, bytes) by role.

        Args:
            identifier: of the inspection.
            report: of it.
            files: pictures of it.
            also: done in the same transaction, such as writing the message about it.
            by: id of the server that leases it, where several share the record.

        Raises:
            LeaseLostError: it is no longer that server's; nothing was written.
        """
        import json

        from reason_iad.store.queries import moment

        digests = {role: self.files.put(data) for role, (_, data) in files.items()}
        changes = {
            "state": "done", "verdict": report.verdict, "probability": report.probability,
            "category": report.category[:100], "defect_type": report.defect_type and report.defect_type[:100],
            "report": json.loads(report.to_json(indent=None)), "error": None,
        }  # fmt: skip
        with self._sessions.begin() as session:
            if not self._update(session, identifier, _OPEN, changes | {"finished_at": moment(session)}, by):
                return
            for role, (kind, data) in files.items():
                _attach(session, identifier, role, digests[role], kind, len(data))
            if also is not None:
                also(session)

    def attach(self, identifier: str, files: Mapping[str, tuple[str, bytes]]) -> None:
        """Keep further files of an inspection, as (media type, bytes) by role, where its report was kept before."""
        digests = {role: self.files.put(data) for role, (_, data) in files.items()}
        with self._sessions.begin() as session:
            for role, (kind, data) in files.items():
                _attach(session, identifier, role, digests[role], kind, len(data))

    def fail(
        self, identifier: str, error: str, also: Callable[[Session], None] | None = None, by: str | None = None
    ) -> None:
        """Note that an inspection ended without a report, and why; the rest is as with `finish`."""
        from reason_iad.store.queries import moment

        with self._sessions.begin() as session:
            changes = {"state": "failed", "finished_at": moment(session), "error": error[:2000]}
            if self._update(session, identifier, _OPEN, changes, by) and also is not None:
                also(session)

    def recover(self) -> tuple[str, ...]:
        """After a start: mark what was interrupted as failed; returns the ids that still wait, oldest first.

        An interrupted inspection is not tried again by itself: it may be the one that brought the program down.
        """
        from sqlalchemy import select, update

        from reason_iad.store.queries import moment
        from reason_iad.store.tables import InspectionRow

        with self._sessions.begin() as session:
            session.execute(
                update(InspectionRow)
                .where(InspectionRow.state == "running", InspectionRow.origin == "server")
                .values(state="failed", finished_at=moment(session), error=INTERRUPTED)
            )
            rows = session.scalars(
                select(InspectionRow.id)
                .where(InspectionRow.state == "queued", InspectionRow.origin == "server")
                .order_by(InspectionRow.created_at, InspectionRow.id)
            )
            return tuple(rows)

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

    def _update(
        self,
        session: Session,
        identifier: str,
        allowed: tuple[State, ...],
        changes: Mapping[str, Any],
        by: str | None = None,
    ) -> bool:
        """Change an inspection; False where this very server did so before, and did not hear that it was done."""
        from sqlalchemy import update

        from reason_iad.store.tables import InspectionRow

        wanted = update(InspectionRow).where(InspectionRow.id == identifier, InspectionRow.state.in_(allowed))
        if by is not None:
            wanted = wanted.where(InspectionRow.leased_by == by)
        if session.execute(wanted.values(**changes).returning(InspectionRow.id)).first() is not None:
            return True
        found = None if by is None else session.get(InspectionRow, identifier)
        if found is not None and (found.leased_by, found.state) == (by, changes["state"]):
            return False
        if by is not None:
            raise LeaseLostError(f"the inspection {identifier} is at another server now, or has ended")
        raise InputError(
            f"the inspection {identifier} is not {' or '.join(allowed)}; another process may have changed it"
        )


def _attach(session: Session, identifier: str, role: str, digest: str, media_type: str, num_bytes: int) -> None:
    """Name a kept file in an inspection; two threads may bring the same file at the same moment."""
    from reason_iad.store.queries import insert_if_new, moment
    from reason_iad.store.tables import FileRow, InspectionFileRow

    facts = {"sha256": digest, "media_type": media_type, "num_bytes": num_bytes, "created_at": moment(session)}
    insert_if_new(session, FileRow, facts)
    session.add(InspectionFileRow(inspection_id=identifier, role=role, sha256=digest))


def _asked(request: InspectionRequest | None) -> dict[str, Any]:
    """What was asked, as the record keeps it beside the files."""
    if request is None:
        return {"category": None, "question": None, "choices": []}
    return {"category": request.category, "question": request.question, "choices": list(request.choices)}


def _file(source: object) -> bytes:
    """The bytes of an image file, which is the one form that the record keeps."""
    if not isinstance(source, bytes):
        raise InputError(f"the record was given an image as {type(source).__name__}; expected the bytes of its file")
    return source


def _display_name(name: str) -> str:
    """The last part of a name from outside, for people alone: it never becomes a path."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c if c.isprintable() else "�" for c in last).strip()
    return clean[:MAX_NAME] or "image"


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
