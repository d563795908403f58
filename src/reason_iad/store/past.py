"""Recorded parts as the threshold page needs them: a few fields out of each report, cut out by the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from reason_iad.inspection.what_if import PastPart
from reason_iad.store.tables import FeedbackRow, InspectionRow
from reason_iad.types import EvidenceSummary, Verdict

_FIELDS = {field.name for field in dataclasses.fields(EvidenceSummary)}


def past_parts(session: Session, categories: Sequence[str], since: datetime | None) -> list[PastPart]:
    """Finished inspections of a category; see `Store.past_parts`."""
    chosen = [InspectionRow.state == "done", InspectionRow.category.in_(categories)]
    if since is not None:
        chosen.append(InspectionRow.created_at >= since)
    feedback = session.execute(
        select(FeedbackRow.inspection_id, FeedbackRow.kind)
        .join(InspectionRow, InspectionRow.id == FeedbackRow.inspection_id)
        .where(*chosen)
        .order_by(FeedbackRow.id)
    )
    said: dict[str, str] = {row[0]: row[1] for row in feedback}  # the last one counts
    rows = session.execute(
        select(
            InspectionRow.id, InspectionRow.created_at, InspectionRow.verdict, InspectionRow.probability,
            InspectionRow.report["evidence"], InspectionRow.report["notes"],
        ).where(*chosen)
    )  # fmt: skip
    return [
        PastPart.of(
            identifier, at, cast(Verdict, verdict), float(probability or 0.0), _evidence(evidence), notes or (),
            said.get(identifier),
        )
        for identifier, at, verdict, probability, evidence, notes in rows
    ]  # fmt: skip


def _evidence(stored: dict[str, Any] | None) -> EvidenceSummary | None:
    """The comparison as a report keeps it; fields that this version does not know are left out."""
    if stored is None:
        return None
    known = {name: value for name, value in stored.items() if name in _FIELDS}
    return EvidenceSummary(**{**known, "streams": tuple(known.get("streams", ()))})
