"""How inspections enter the record and what becomes of them; `store` adds all else that is written.

Every change is one transaction, and files are on disk before the row that names them, so that a kill at any moment
leaves nothing half done: at worst a file that nobody names, which `prune` removes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError, LeaseLostError
from reason_iad.files import sha256
from reason_iad.store.files import EvidenceFiles
from reason_iad.store.idempotency import Claim, IdempotencyKeys, settle_with
from reason_iad.store.reading import RecordReader
from reason_iad.store.record import Origin, State
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from reason_iad.types import InspectionReport

MAX_NAME = 255
_OPEN: tuple[State, ...] = ("queued", "running")
INTERRUPTED = "The program stopped during this inspection; inspect the image again."


class RecordWriter(RecordReader):
    """Takes inspections into the record and notes how they go on; safe to share between threads."""

    def __init__(self, engine: Engine, files: EvidenceFiles) -> None:
        """Use a database whose tables are there, and keep files by their content."""
        from sqlalchemy.orm import sessionmaker

        super().__init__(sessionmaker(engine.execution_options(read_only=True)), files)
        self._engine, self._sessions = engine, sessionmaker(engine, expire_on_commit=False)
        self.idempotency = IdempotencyKeys(self._sessions)

    @property
    def shared(self) -> bool:
        """Whether several servers may work on it: on PostgreSQL; a file of SQLite is one machine's."""
        return self._engine.dialect.name == "postgresql"

    def accept(
        self,
        request: InspectionRequest,
        who: str = "local",
        origin: Origin = "server",
        media_type: str = "application/octet-stream",
        priority: str = "person",
        trace: str | None = None,
        claim: Claim | None = None,
    ) -> str:
        """Record an image that waits for inspection; returns the inspection's id. On return it survives a kill.

        Args:
            request: with image and references as the bytes of their files.
            who: asked for it.
            origin: where it came from.
            media_type: of the image's file.
            priority: person, or lot.
            trace: where the request is in a trace, for whichever server does it.
            claim: on the key that the request came with; the inspection is what came of it.

        Raises:
            KeyInUseError: the claim has lapsed and another has it; nothing was recorded.
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
            if claim is not None:
                settle_with(session, claim, identifier)
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
            waiting = tuple(rows)
        self.idempotency.forget_open()
        return waiting

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
