"""Statements of the record that take more than a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Select, and_, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, defer

from reason_iad.store.record import Filter
from reason_iad.store.tables import Base, FeedbackRow, InspectionRow


def matching(wanted: Filter) -> Select[InspectionRow]:
    """Inspections that match a filter, newest first, without their reports."""
    found = select(InspectionRow).options(defer(InspectionRow.report, raiseload=True))
    for column, value in (
        (InspectionRow.state, wanted.state),
        (InspectionRow.verdict, wanted.verdict),
        (InspectionRow.category, wanted.category),
        (InspectionRow.image_sha256, wanted.image_sha256),
    ):
        if value is not None:
            found = found.where(column == value)
    if wanted.text:
        found = found.where(InspectionRow.name.icontains(wanted.text, autoescape=True))
    if wanted.since is not None:
        found = found.where(InspectionRow.created_at >= wanted.since)
    if wanted.until is not None:
        found = found.where(InspectionRow.created_at < wanted.until)
    if wanted.feedback is not None:
        found = found.where(
            exists().where(FeedbackRow.inspection_id == InspectionRow.id, FeedbackRow.kind == wanted.feedback)
        )
    if wanted.before is not None:
        at, identifier = wanted.before
        earlier = and_(InspectionRow.created_at == at, InspectionRow.id < identifier)
        found = found.where(or_(InspectionRow.created_at < at, earlier))
    return found.order_by(InspectionRow.created_at.desc(), InspectionRow.id.desc()).limit(wanted.limit)


def insert_if_new(session: Session, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row unless its key is there already, without a race between two who bring the same."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(postgresql.insert(table).values(**values).on_conflict_do_nothing())
    else:
        session.execute(sqlite.insert(table).values(**values).on_conflict_do_nothing())


def moment(session: Session) -> Any:
    """This moment, for a column: by the clock of the database where several machines share it."""
    if session.get_bind().dialect.name == "postgresql":
        return func.clock_timestamp(type_=DateTime(timezone=True))
    return datetime.now(UTC)


def now_of(session: Session) -> datetime:
    """This moment by the same clock, as a value."""
    found = moment(session)
    return found if isinstance(found, datetime) else session.scalars(select(found)).one()
