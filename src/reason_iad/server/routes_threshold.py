"""The threshold of a profile: what other rates would have meant over the record, set one, take it back."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from reason_iad.evidence.profile_store import find_profile, same_category
from reason_iad.evidence.threshold import Threshold, read_threshold, set_threshold, take_back
from reason_iad.inspection.options import USUAL_OVERKILL
from reason_iad.inspection.what_if import Outcome, Share, what_if
from reason_iad.server.access import Admin, AppState, Server, Viewer, audit, errors
from reason_iad.server.idempotency import Once
from reason_iad.server.intake import check_text
from reason_iad.server.problems import HttpProblem
from reason_iad.server.schemas import Strict
from reason_iad.server.security import Principal

router = APIRouter(prefix="/v1/profiles/{category}", tags=["profiles"])
Name = Annotated[str, Path(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _\-]*$", description="of a category")]
MAX_CHANGED = 12  # parts that a rate would judge otherwise, named for looking at them


class ChoiceBody(BaseModel):
    """One change of the rate."""

    max_overkill: float | None = Field(description="null where a choice was taken back")
    who: str
    at: datetime
    why: str


class ThresholdBody(BaseModel):
    """The rate that holds, and how it came to be."""

    category: str
    max_overkill: float = Field(description="share of good parts that may be called defective", examples=[0.02])
    source: str = Field(
        description="profile: set for it; server: --max-overkill of this server, which goes before; usual: neither",
        examples=["profile"],
    )
    history: list[ChoiceBody]


class ThresholdRequest(Strict):
    """A rate to set from now on."""

    max_overkill: float = Field(gt=0, lt=1, examples=[0.03])
    why: str = Field("", max_length=500, examples=["too many good parts were stopped in week 47"])


class TakeBackRequest(Strict):
    """Why the last rate is taken back."""

    why: str = Field("", max_length=500)


class ShareBody(BaseModel):
    """How many of how many, with the exact 95 % interval of the share."""

    count: int
    of: int
    low: float
    high: float


class OutcomeBody(BaseModel):
    """What a rate does with some parts; missed and false_alarms are of those that people gave feedback on."""

    parts: int
    stopped: ShareBody
    uncertain: ShareBody
    missed: ShareBody
    false_alarms: ShareBody


class WeekBody(BaseModel):
    """One week."""

    week: date = Field(description="its Monday")
    outcome: OutcomeBody


class RateBody(BaseModel):
    """One rate over the record."""

    max_overkill: float
    total: OutcomeBody
    weeks: list[WeekBody]
    changes: int = Field(description="parts that it would judge otherwise than the rate which holds")
    changed: list[str] = Field(description=f"ids of the newest of them, at most {MAX_CHANGED}")


class WhatIfBody(BaseModel):
    """Other rates over the parts of the record."""

    category: str
    now: float
    parts: int
    without_comparison: int = Field(description="parts that no good part was compared with: no rate moves them")
    rates: list[RateBody]


@router.get("/threshold", response_model=ThresholdBody, responses=errors(404))
async def threshold(category: Name, who: Viewer, server: Server) -> Any:
    """The false-alarm rate of a profile, who set it and when."""
    return await asyncio.to_thread(_threshold, server, category)


@router.put("/threshold", response_model=ThresholdBody, responses=errors(404, 408, 413))
async def choose(category: Name, asked: ThresholdRequest, request: Request, who: Admin, server: Server) -> Any:
    """Set the false-alarm rate of a profile from now on."""
    check_text(asked.why)
    _folder(category)
    await asyncio.to_thread(set_threshold, category, asked.max_overkill, who.name, asked.why)
    await audit(request, who, "set threshold", category, f"{asked.max_overkill:g}")
    return await asyncio.to_thread(_threshold, server, category)


@router.post("/threshold/back", response_model=ThresholdBody, responses=errors(404, 408, 409, 413))
async def go_back(
    category: Name, asked: TakeBackRequest, request: Request, who: Admin, server: Server, once: Once
) -> Any:
    """Go back to the rate before the one that holds."""
    check_text(asked.why)
    return await once.done(asked, lambda: _go_back(category, asked, request, who, server))


async def _go_back(category: str, asked: TakeBackRequest, request: Request, who: Principal, server: AppState) -> Any:
    if read_threshold(_folder(category)).current is None:
        raise HttpProblem(409, "nothing_set", f"no rate was set for {category!r}, so there is none to take back")
    await asyncio.to_thread(take_back, category, who.name, asked.why)
    await audit(request, who, "take back threshold", category)
    return await asyncio.to_thread(_threshold, server, category)


@router.get("/what-if", response_model=WhatIfBody, responses=errors(404))
async def try_rates(
    category: Name,
    who: Viewer,
    server: Server,
    days: Annotated[int | None, Query(ge=1, le=3660, description="of the record; all where left out")] = None,
) -> Any:
    """What other rates would have stopped, missed and left open, over the parts of the record, by week."""
    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    return await asyncio.to_thread(_what_if, server, category, since)


def _what_if(server: AppState, category: str, since: datetime | None) -> dict[str, Any]:
    now = _threshold(server, category)["max_overkill"]
    names = [name for name in server.store.categories() if same_category(name, category)]
    parts = server.store.past_parts(names, since)
    rates = [
        {
            "max_overkill": row.max_overkill, "total": _outcome(row.total),
            "weeks": [{"week": week, "outcome": _outcome(one)} for week, one in row.weeks],
            "changes": len(row.changed), "changed": row.changed[:MAX_CHANGED],
        }
        for row in what_if(parts, now)
    ]  # fmt: skip
    alone = sum(part.evidence is None for part in parts)
    return {"category": category, "now": now, "parts": len(parts), "without_comparison": alone, "rates": rates}


def _threshold(server: AppState, category: str) -> dict[str, Any]:
    found, asked = read_threshold(_folder(category)), server.settings.method.max_overkill
    rate, source = _rate(found, asked)
    return {"category": category, "max_overkill": rate, "source": source, "history": [vars(c) for c in found.history]}


def _rate(found: Threshold, asked: float | None) -> tuple[float, str]:
    """The rate that inspections of this server use, and where it comes from."""
    if asked is not None:
        return asked, "server"
    return (USUAL_OVERKILL, "usual") if found.current is None else (found.current.max_overkill, "profile")


def _folder(category: str) -> Any:
    folder = find_profile(category)
    if folder is None:
        raise HttpProblem(404, "no_profile", f"there is no profile of {category!r}")
    return folder


def _outcome(outcome: Outcome) -> dict[str, Any]:
    shares = ("stopped", "uncertain", "missed", "false_alarms")
    return {"parts": outcome.parts, **{name: _share(getattr(outcome, name)) for name in shares}}


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"count": share.count, "of": share.of, "low": low, "high": high}
