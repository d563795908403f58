"""What a line tells its sinks: one message, typed and with a published schema (`docs/line.schema.json`)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from reason_iad.types import InspectionReport, Verdict

Kind = Literal["part", "drift", "notice"]
NoticeKind = Literal["started", "stopped", "camera_lost", "camera_back", "drift_cleared"]


class _Typed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Place(_Typed):
    """An area that differs from good parts."""

    box_xyxy: tuple[int, int, int, int] = Field(description="pixels of the inspected picture, x1 and y1 exclusive")
    place: str
    strength: float = Field(ge=0, le=1)


class Part(_Typed):
    """One part that was inspected, or should have been."""

    inspection_id: str | None = Field(description="in the record; null where the part was not inspected")
    part: str | None = Field(description="what the trigger called the part")
    verdict: Verdict | None = Field(description="null where the part was not inspected: treat it as not passed")
    probability: float | None = Field(ge=0, le=1, description="that the part is defective")
    anomaly_score: float | None = Field(ge=0, le=1)
    category: str
    defect_type: str | None
    regions: tuple[Place, ...]
    image_sha256: str | None
    error: str | None = Field(description="why the part was not inspected")
    waited_ms: float | None = Field(description="from the choice of the picture to its inspection")
    inspected_ms: float | None


class QuantityShift(_Typed):
    """What one quantity was for the profile's good parts, and is now."""

    quantity: str
    before: float = Field(description="median of the profile's good parts")
    after: float = Field(description="median of the parts since the drift began")
    shift: float = Field(description="difference in spreads of the good parts")


class Drift(_Typed):
    """The parts of the line are no longer like the good parts of its profile."""

    alarm_id: str
    category: str
    quantity: str = Field(description="the one that tells most clearly")
    shifts: tuple[QuantityShift, ...] = Field(description="of all quantities")
    since_parts: int = Field(description="parts since the drift is thought to have begun")
    parts_per_false_alarm: int = Field(description="that the test keeps on stable parts, on average at least")
    profile_version: int
    proposal: str = Field(description="what a person may do; nothing was changed")
    proposed_from: tuple[str, ...] = Field(description="inspections that a new profile version could learn from")
    before_jpeg: str | None = Field(description="a good part of the profile; JPEG in base64")
    after_jpeg: str | None = Field(description="a part that shows the drift; JPEG in base64")


class Notice(_Typed):
    """Something about the line itself."""

    event: NoticeKind
    detail: str


class LineMessage(_Typed):
    """A message of a line; exactly one of part, drift and notice is there, and `kind` says which."""

    schema_version: Literal["1"] = "1"
    id: str = Field(description="delivery is at least once: a message that comes again has the same id")
    line: str
    group: str
    sequence: int = Field(ge=1, description="grows by one with each message of the line; gives their order")
    kind: Kind
    at: datetime = Field(description="of the picture, or of the event, in UTC")
    rest_at: datetime | None = Field(default=None, description="when the part came to rest, where that was the trigger")
    part: Part | None = None
    drift: Drift | None = None
    notice: Notice | None = None

    def to_json(self) -> str:
        """On one line; `LineMessage.model_validate_json` reads it."""
        return self.model_dump_json()


def part_of(report: InspectionReport, inspection: str, part: str | None, waited: float, took: float) -> Part:
    """What a report says, for a controller.

    Args:
        report: of the part.
        inspection: its id in the record.
        part: what the trigger called it.
        waited: milliseconds until its inspection began.
        took: milliseconds of the inspection.
    """
    regions = tuple(
        Place(box_xyxy=region.box_xyxy, place=region.place, strength=min(max(region.strength, 0.0), 1.0))
        for region in report.regions
        if report.verdict != "normal"
    )
    return Part(
        inspection_id=inspection, part=part, verdict=report.verdict, probability=report.probability,
        anomaly_score=report.anomaly_score, category=report.category, defect_type=report.defect_type, regions=regions,
        image_sha256=report.image_sha256, error=None, waited_ms=round(waited, 1), inspected_ms=round(took, 1),
    )  # fmt: skip


def not_inspected(category: str, part: str | None, error: str, inspection: str | None = None) -> Part:
    """A part about which nothing is known, and why."""
    return Part(
        inspection_id=inspection, part=part, verdict=None, probability=None, anomaly_score=None, category=category,
        defect_type=None, regions=(), image_sha256=None, error=error[:500], waited_ms=None, inspected_ms=None,
    )  # fmt: skip


def schema_text() -> str:
    """The JSON Schema (2020-12) of a message, as it is published."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:reason-iad:line:1",
        **LineMessage.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2) + "\n"
