"""What leaves the record, and when a file may go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from reason_iad.store.tables import DriftAlarmRow, FeedbackRow, FileRow, InspectionFileRow, InspectionRow, ShelfRow


def outdated(session: Session, before: datetime, keep_feedback: bool, line: str | None = None) -> Sequence[str]:
    """Ids of inspections that ended and were created before a moment; only those of a production line where given."""
    found = select(InspectionRow.id).where(
        InspectionRow.created_at < before, InspectionRow.state.in_(("done", "failed"))
    )
    if line is not None:
        found = found.where(InspectionRow.origin == "line", InspectionRow.who == line)
    if keep_feedback:
        found = found.where(~exists().where(FeedbackRow.inspection_id == InspectionRow.id))
    return list(session.scalars(found))


def delete_inspections(session: Session, identifiers: Sequence[str]) -> tuple[int, int]:
    """Delete inspections, their feedback and their claims on files: how many of the first two went."""
    inspections = said = 0
    for start in range(0, len(identifiers), 500):  # databases limit the number of parameters
        part = identifiers[start : start + 500]
        session.execute(delete(InspectionFileRow).where(InspectionFileRow.inspection_id.in_(part)))
        gone = delete(FeedbackRow).where(FeedbackRow.inspection_id.in_(part)).returning(FeedbackRow.id)
        said += len(list(session.scalars(gone)))
        rows = delete(InspectionRow).where(InspectionRow.id.in_(part)).returning(InspectionRow.id)
        inspections += len(list(session.scalars(rows)))
    return inspections, said


def forget_orphans(session: Session) -> None:
    """Delete the rows of files that neither an inspection nor an alarm names."""
    shown = or_(DriftAlarmRow.before_sha256 == FileRow.sha256, DriftAlarmRow.after_sha256 == FileRow.sha256)
    free = ~exists().where(InspectionFileRow.sha256 == FileRow.sha256) & ~exists().where(shown)
    session.execute(delete(FileRow).where(free), execution_options={"synchronize_session": False})


def named_files(session: Session) -> set[str]:
    """Digests of all files that inspections, alarms and shared folders name."""
    shelved = {digest for manifest in session.scalars(select(ShelfRow.manifest)) for digest in manifest.values()}
    return {*session.scalars(select(FileRow.sha256)), *shelved}
