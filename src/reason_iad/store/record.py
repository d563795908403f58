"""What the record gives back: plain frozen data, without a database behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed"]
Origin = Literal["server", "batch", "watch", "line"]
FeedbackKind = Literal["false_alarm", "missed", "confirmed"]

STATES: tuple[State, ...] = ("queued", "running", "done", "failed")
FEEDBACK_KINDS: tuple[FeedbackKind, ...] = ("false_alarm", "missed", "confirmed")


@dataclass(frozen=True)
class Feedback:
    """What a person said about an inspection, and what it changed."""

    id: int
    inspection_id: str
    kind: FeedbackKind
    comment: str
    who: str
    created_at: datetime
    effect: str


@dataclass(frozen=True)
class Record:
    """One inspection as the record knows it; `Store.request_of` gives the request with its images."""

    id: str
    state: State
    origin: Origin
    who: str
    name: str
    image_sha256: str
    created_at: datetime
    category_given: str | None = None
    question: str | None = None
    trace: str | None = None  # where the request is in a trace: a `traceparent`
    choices: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    verdict: str | None = None
    probability: float | None = None
    category: str | None = None
    defect_type: str | None = None
    report: dict[str, Any] | None = None
    error: str | None = None
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 by role
    feedback: tuple[Feedback, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Which inspections to list, newest first."""

    state: State | None = None
    verdict: str | None = None
    category: str | None = None
    text: str | None = None  # part of the image's name
    image_sha256: str | None = None
    feedback: FeedbackKind | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, str] | None = None  # continue after this (created_at, id)
    limit: int = 50


@dataclass(frozen=True)
class BoardFilter:
    """Which parts a board shows: of one category, or of one line by the name it acts under."""

    category: str | None = None
    who: str | None = None


@dataclass(frozen=True)
class LastPart:
    """A part as a board shows it; `verdict` is failed where there is none."""

    id: str
    name: str
    verdict: str
    probability: float | None
    category: str | None
    defect_type: str | None
    at: datetime
    error: str | None = None


@dataclass(frozen=True)
class BoardState:
    """What a screen over the line shows.

    Attributes:
        since: where counting began.
        last: the newest parts, newest first.
        counts: of verdicts and of failed ones, since then.
        per_minute: parts, over the last ten minutes.
    """

    since: datetime
    last: tuple[LastPart, ...]
    counts: dict[str, int]
    per_minute: float


@dataclass(frozen=True)
class AuditEntry:
    """Who did what, when, and how it ended."""

    at: datetime
    who: str
    role: str
    action: str
    target: str
    outcome: str
    client: str


@dataclass(frozen=True)
class Pruned:
    """What retention removed."""

    inspections: int
    files: int
    num_bytes: int
