"""What can be read of the record: inspections one by one, in pages and counted; `store` adds what writes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

from reason_iad.store.files import EvidenceFiles
from reason_iad.store.record import (
    BoardFilter,
    BoardState,
    Feedback,
    FeedbackKind,
    Filter,
    Origin,
    Record,
    State,
)
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from reason_iad.inspection.what_if import PastPart
    from reason_iad.store.tables import FeedbackRow, InspectionRow


class RecordReader:
    """Reads the record; safe to share between threads."""

    def __init__(self, reads: sessionmaker[Session], files: EvidenceFiles) -> None:
        """Read with sessions that write nothing, and files by their content."""
        self._reads, self.files = reads, files

    def now(self) -> datetime:
        """This moment by the record's clock: the database's where several machines share it."""
        from reason_iad.store.queries import now_of

        with self._reads() as session:
            return now_of(session)

    def ping(self) -> None:
        """Check that the database answers; raises what the driver raises."""
        from sqlalchemy import text

        with self._reads() as session:
            session.execute(text("SELECT 1"))

    def request_of(self, record: Record) -> InspectionRequest:
        """What was asked, with image and references as the bytes of their files.

        Raises:
            InputError: a file is missing or damaged.
        """
        given = sorted((role for role in record.files if role.startswith("reference-")), key=lambda r: int(r[10:]))
        return InspectionRequest(
            self.files.get(record.files["image"]),
            record.category_given,
            tuple(self.files.get(record.files[role]) for role in given),
            record.question,
            record.choices,
            record.name,
        )

    def get(self, identifier: str) -> Record | None:
        """One inspection with its files and feedback; None where there is none."""
        from sqlalchemy import select

        from reason_iad.store.tables import FeedbackRow, InspectionFileRow, InspectionRow

        with self._reads() as session:
            row = session.get(InspectionRow, identifier)
            if row is None:
                return None
            links = session.scalars(select(InspectionFileRow).where(InspectionFileRow.inspection_id == identifier))
            said = session.scalars(
                select(FeedbackRow).where(FeedbackRow.inspection_id == identifier).order_by(FeedbackRow.id)
            )
            files = {link.role: link.sha256 for link in links}
            return record_of(row, files, tuple(feedback_of(one) for one in said))

    def find(self, wanted: Filter | None = None) -> tuple[Record, ...]:
        """Inspections that match, newest first, without reports and files: a page of them stays small."""
        from reason_iad.store.queries import matching

        with self._reads() as session:
            rows = list(session.scalars(matching(wanted or Filter())))
            said = self._feedback_of(session, [row.id for row in rows])
            return tuple(record_of(row, {}, tuple(said.get(row.id, ())), with_report=False) for row in rows)

    def board(self, wanted: BoardFilter, since: datetime, now: datetime | None = None) -> BoardState:
        """What a screen over the line shows: the last parts, and counts since a moment."""
        from reason_iad.store.board import board_state
        from reason_iad.store.queries import now_of

        with self._reads() as session:
            return board_state(session, wanted, since, now or now_of(session))

    def past_parts(self, categories: Sequence[str], since: datetime | None = None) -> list[PastPart]:
        """What a threshold would be tried on: finished inspections of a category, with what people said last.

        Args:
            categories: names of the category as reports write them.
            since: no earlier ones.
        """
        from reason_iad.store.past import past_parts

        with self._reads() as session:
            return past_parts(session, categories, since)

    def categories(self) -> tuple[str, ...]:
        """Names of all categories that inspections had."""
        from sqlalchemy import select

        from reason_iad.store.tables import InspectionRow

        with self._reads() as session:
            found = session.scalars(
                select(InspectionRow.category).where(InspectionRow.category.is_not(None)).distinct()
            )
            return tuple(sorted(str(name) for name in found))

    def counts(self) -> dict[str, int]:
        """How many inspections there are by verdict, and by state where there is no verdict."""
        from sqlalchemy import func, select

        from reason_iad.store.tables import InspectionRow

        key = func.coalesce(InspectionRow.verdict, InspectionRow.state)
        with self._reads() as session:
            return {str(name): int(n) for name, n in session.execute(select(key, func.count()).group_by(key))}

    def records(self, wanted: Filter | None = None) -> Iterator[Record]:
        """All inspections that match, in pages, with files and feedback: for exports."""
        wanted = dataclasses.replace(wanted or Filter(), limit=200)
        while page := self.find(wanted):
            for record in page:
                if (whole := self.get(record.id)) is not None:
                    yield whole
            wanted = dataclasses.replace(wanted, before=(page[-1].created_at, page[-1].id))

    def named_files(self) -> tuple[str, ...]:
        """Digests of all files that the record names, in order."""
        from reason_iad.store.retention import named_files

        with self._reads() as session:
            return tuple(sorted(named_files(session)))

    def _feedback_of(self, session: Session, identifiers: list[str]) -> dict[str, list[Feedback]]:
        from sqlalchemy import select

        from reason_iad.store.tables import FeedbackRow

        said: dict[str, list[Feedback]] = {}
        for row in session.scalars(
            select(FeedbackRow).where(FeedbackRow.inspection_id.in_(identifiers)).order_by(FeedbackRow.id)
        ):
            said.setdefault(row.inspection_id, []).append(feedback_of(row))
        return said


def record_of(
    row: InspectionRow, files: dict[str, str], feedback: tuple[Feedback, ...], with_report: bool = True
) -> Record:
    """An inspection as plain data, from its row and what belongs to it."""
    request = row.request
    return Record(
        id=row.id, state=cast(State, row.state), origin=cast(Origin, row.origin), who=row.who, name=row.name,
        image_sha256=row.image_sha256,
        category_given=request.get("category"), question=request.get("question"), trace=request.get("trace"),
        choices=tuple(request.get("choices", ())),
        created_at=row.created_at, started_at=row.started_at, finished_at=row.finished_at, verdict=row.verdict,
        probability=row.probability, category=row.category, defect_type=row.defect_type, error=row.error,
        report=row.report if with_report else None, files=files, feedback=feedback,
    )  # fmt: skip


def feedback_of(row: FeedbackRow) -> Feedback:
    """A feedback as plain data."""
    kind = cast(FeedbackKind, row.kind)
    return Feedback(row.id, row.inspection_id, kind, row.comment, row.who, row.created_at, row.effect)
