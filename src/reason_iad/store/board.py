"""What a screen over the line shows, read from the record: the last parts, and what came since a moment."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from reason_iad.store.record import BoardFilter, BoardState, LastPart
from reason_iad.store.tables import InspectionRow

SHOWN = 24  # last parts


def board_state(session: Session, wanted: BoardFilter, since: datetime, now: datetime) -> BoardState:
    """The board at a moment; see `Store.board`."""
    ended: list[ColumnElement[bool]] = [InspectionRow.state.in_(("done", "failed"))]
    if wanted.category is not None:
        ended.append(InspectionRow.category == wanted.category)
    if wanted.who is not None:
        ended.append(InspectionRow.who == wanted.who)
    row = InspectionRow
    rows = session.execute(
        select(
            row.id, row.name, row.verdict, row.probability, row.category, row.defect_type, row.created_at,
            row.finished_at, row.error,
        ).where(*ended).order_by(row.created_at.desc(), row.id.desc()).limit(SHOWN)
    )  # fmt: skip
    last = tuple(
        LastPart(one[0], one[1], one[2] or "failed", one[3], one[4], one[5], one[7] or one[6], one[8]) for one in rows
    )
    key = func.coalesce(row.verdict, "failed")
    counts = session.execute(select(key, func.count()).where(*ended, row.created_at >= since).group_by(key))
    minutes = 10
    recent = _count(session, [*ended, row.created_at >= now - timedelta(minutes=minutes)])
    return BoardState(since, last, {str(name): int(n) for name, n in counts}, recent / minutes)


def _count(session: Session, chosen: list[ColumnElement[bool]]) -> int:
    return session.scalar(select(func.count()).select_from(InspectionRow).where(*chosen)) or 0
