"""What goes over the wire, for OpenAPI and validation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reason_iad.knowledge.translations import told
from reason_iad.languages import language
from reason_iad.store.record import FeedbackKind, Record, State
from reason_iad.types import Answer, InspectionReport

TINY_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAIAAABvFaqvAAAAKklEQVR42mNkYGBgoAZgYqASGDVo1KBRg0YNGjVo1KBRg0YNGjVo1KBRgwAA"
    "ZQ0BMWGQ0pYAAAAASUVORK5CYII="
)
Identifier = str
ChoiceText = Annotated[str, Field(max_length=200)]
VERDICTS = Literal["normal", "defective", "uncertain"]


class Strict(BaseModel):
    """Refuses fields that it does not know: a misspelled one would be silently ignored."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    code: str = Field(examples=["queue_full"], description="stable, for programs")
    message: str = Field(examples=["16 inspections wait already and there is room for 16; try again in 9 s"])
    request_id: str = Field(examples=["5f0c9a4be1d2"])


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


class InspectionRequest(Strict):
    """An image in base64, and what to inspect it with."""

    image: str = Field(min_length=1, description="the image file's bytes in base64", examples=[TINY_PNG])
    name: str = Field("image", max_length=255, description="for people; never opened", examples=["plate_017.png"])
    category: str | None = Field(None, max_length=100, description="recognized where none is given", examples=["screw"])
    references: list[str] = Field([], max_length=8, description="images of good parts, in base64")
    question: str | None = Field(None, max_length=500, examples=["What is wrong?"])
    choices: list[ChoiceText] = Field([], max_length=26, examples=[["A scratch.", "A dent."]])


class QuestionRequest(Strict):
    """A question about an image that was inspected."""

    question: str = Field(min_length=1, max_length=500, examples=["Is the thread damaged?"])
    choices: list[ChoiceText] = Field(
        [], max_length=26, description="answers to choose from; free words where empty", examples=[["Yes.", "No."]]
    )


class QuestionAnswer(BaseModel):
    """An answer, and whether the image was still before the model."""

    answer: Answer
    prepared: bool = Field(description="whether the stored prompt of the image was used again")
    milliseconds: float


class FeedbackRequest(Strict):
    """What a person says about a verdict."""

    kind: FeedbackKind = Field(examples=["false_alarm"])
    comment: str = Field("", max_length=2000, examples=["The mark wipes off."])


class FeedbackBody(BaseModel):
    """Feedback as it was kept."""

    kind: FeedbackKind
    comment: str
    who: str
    created_at: datetime
    effect: str = Field(description="what it changed", examples=["The profile of screw is now version 4."])
    understood: str | None = Field(
        None, description="type of defect that the comment names, now an example", examples=["scratch"]
    )


class InspectionBody(BaseModel):
    """One inspection."""

    id: str = Field(examples=["9f2b6c0d4a5e4f6c8d7e1b3a5c7d9e0f"])
    state: State
    position: int | None = Field(None, description="place in the queue, from 1")
    name: str
    who: str
    category: str | None
    verdict: VERDICTS | None
    probability: float | None = Field(description="calibrated probability of a defect, 0 to 1")
    defect_type: str | None
    question: str | None = None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None = Field(description="why it failed")
    pictures: dict[str, str] = Field(description="addresses by name: preview, thumbnail, map, shown-1 ...")
    feedback: list[FeedbackBody]
    why_uncertain: list[str] = Field([], description="why the verdict is open, and what would settle it")
    check_next: str | None = Field(None, description="what to examine on the part")
    report: InspectionReport | None = None
    translations: dict[str, str] = Field(
        {}, description="texts of the report in the language of Accept-Language; the report itself is English"
    )


class InspectionList(BaseModel):
    """A page of inspections, newest first."""

    inspections: list[InspectionBody]
    next: str | None = Field(description="give it as `cursor` for the next page")


class CategoryBody(BaseModel):
    """A kind of product."""

    category: str
    name: str
    defects: list[str]
    profile: bool = Field(description="whether a profile of it was learned")


class ProfileBody(BaseModel):
    """What is known about a category from images."""

    category: str
    version: int
    normals: int
    defectives: int
    history: list[str]
    warnings: list[str]


class LessonBody(BaseModel):
    """A profile that was learned."""

    category: str
    version: int
    normals: int
    warnings: list[str]


class KnowledgeHit(BaseModel):
    """An entry that matches a search."""

    id: str
    category: str
    kind: str
    text: str
    translation: str | None = Field(description="of the text in the language of Accept-Language, where it has one")
    source: str
    defect_type: str | None
    score: float


class AuditBody(BaseModel):
    """Who did what."""

    at: datetime
    who: str
    role: str
    action: str
    target: str
    outcome: str
    client: str


class AlarmBody(BaseModel):
    """Parts of a line are no longer like the good parts of its profile."""

    id: str
    line: str
    category: str
    quantity: str = Field(description="that tells most clearly")
    raised_at: datetime
    facts: dict[str, Any] = Field(description="shifts of all quantities, since when, and what is proposed")
    before: str | None = Field(description="address of a picture of a good part")
    after: str | None = Field(description="address of a picture of a part since the drift began")
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class LineBody(BaseModel):
    """A production line, as it last told of itself."""

    name: str
    sequence: int = Field(description="number of its last message")
    updated_at: datetime
    state: dict[str, Any]
    open_alarms: list[AlarmBody]


class HealthBody(BaseModel):
    """A sign of life."""

    status: str = Field(examples=["ok"])
    detail: str = ""


def inspection_body(record: Record, position: int | None = None, full: bool = False) -> dict[str, Any]:
    """The wire form of a record."""
    pictures = {}
    if full:
        shown = [role for role in record.files if role in ("preview", "thumbnail", "map") or role.startswith("shown-")]
        pictures = {role: f"/v1/inspections/{record.id}/pictures/{role}" for role in sorted(shown)}
    elif record.state == "done":
        pictures = {"thumbnail": f"/v1/inspections/{record.id}/pictures/thumbnail"}
    reasons, following = _guidance(record) if full else ((), None)
    return {
        "id": record.id, "state": record.state, "position": position, "name": record.name, "who": record.who,
        "category": record.category or record.category_given, "verdict": record.verdict,
        "probability": record.probability, "defect_type": record.defect_type, "question": record.question,
        "created_at": record.created_at, "started_at": record.started_at, "finished_at": record.finished_at,
        "error": record.error and told(record.error), "pictures": pictures,
        "feedback": [
            {"kind": f.kind, "comment": f.comment, "who": f.who, "created_at": f.created_at, "effect": told(f.effect)}
            for f in record.feedback
        ],
        "why_uncertain": list(reasons), "check_next": following, "report": record.report if full else None,
        "translations": translations(record.report) if full and record.report else {},
    }  # fmt: skip


def translations(report: dict[str, Any]) -> dict[str, str]:
    """The texts of a report that have one, in the language spoken."""
    from reason_iad.knowledge.translations import text_of

    if language() == "en":
        return {}
    found = {one["text"]: text_of(one["entry_id"], one["text"]) for one in report.get("citations", ())}
    texts = [
        report.get(name) for name in ("defect_type", "description", "consequence", "probability_note", "check_next")
    ]
    texts += [*report.get("notes", ()), *(region["place"] for region in report.get("regions", ()))]
    texts += [(report.get("evidence") or {}).get("text")]
    for answer in report.get("answers", ()):
        texts += [answer["question"], answer["text"], *answer["grounds"], *(one["text"] for one in answer["options"])]
    texts += [one["source"] for one in report.get("citations", ())]
    found |= {text: told(text) for text in texts if text}
    return {text: translated for text, translated in found.items() if translated != text}


def _guidance(record: Record) -> tuple[tuple[str, ...], str | None]:
    """The same words as on the report: why it is uncertain, and what to check next."""
    from reason_iad.reporting.text import check_next, uncertain_reasons

    if record.report is None:
        return (), None
    report = InspectionReport.from_json(json.dumps(record.report))
    return uncertain_reasons(report), check_next(report)
