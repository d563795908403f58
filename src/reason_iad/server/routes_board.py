"""The watchboard: what a screen over the line shows, once as JSON and live as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from reason_iad.reporting.pdf import Paper, shift_pdf
from reason_iad.reporting.shift import read_shift
from reason_iad.server.access import AppState, Server, Viewer, errors
from reason_iad.server.problems import HttpProblem
from reason_iad.store.record import BoardFilter, BoardState, LastPart

router = APIRouter(prefix="/v1/board", tags=["board"])
LOOK_SECONDS = 1.0  # between looks into the record, for parts that other processes inspect
BEAT_SECONDS = 15.0  # after which a sign of life is sent where nothing changed


class LastPartBody(BaseModel):
    """One of the last parts."""

    id: str
    name: str
    verdict: str = Field(description="normal, defective, uncertain or failed")
    probability: float | None
    category: str | None
    defect_type: str | None
    at: datetime
    error: str | None
    picture: str | None = Field(description="address of its thumbnail")


class DriftBody(BaseModel):
    """A change of camera or product that a line raised an alarm for, and nobody acknowledged yet."""

    line: str
    quantity: str = Field(examples=["brightness"])
    raised_at: datetime


class BoardBody(BaseModel):
    """What a screen over the line shows."""

    now: datetime = Field(description="of the server's clock")
    since: datetime = Field(description="where counting began")
    last: list[LastPartBody] = Field(description="newest first")
    counts: dict[str, int] = Field(description="of verdicts and of failed ones, since then")
    per_minute: float = Field(description="parts, over the last ten minutes")
    drift: list[DriftBody] | None = Field(description="open alarms; null where no line measures drift")


class Asked:
    """Which parts a board shows, and since when it counts."""

    def __init__(
        self,
        category: Annotated[str | None, Query(max_length=100)] = None,
        line: Annotated[str | None, Query(max_length=100, description="who inspects, as in the record")] = None,
        hours: Annotated[float | None, Query(gt=0, le=8760, description="back; midnight where left out")] = None,
        shifts: Annotated[
            str | None, Query(max_length=40, description="hours of the day at which counting begins: 6,14,22")
        ] = None,
    ) -> None:
        """Check them.

        Raises:
            HttpProblem: 422, both ways to count, or hours that no day has.
        """
        for text in (category, line):
            if text is not None and "\x00" in text:
                raise HttpProblem(422, "null_character", "a text holds a null character; expected plain text")
        if hours is not None and shifts is not None:
            raise HttpProblem(422, "two_starts", "found hours and shifts; expected one of them")
        self.filter, self.hours = BoardFilter(category, line), hours
        self.starts = _hours_of(shifts or "0")

    def since(self, now: datetime) -> datetime:
        """Where counting begins, for a moment with a zone: the last start of a shift by this machine's clock."""
        if self.hours is not None:
            return now - timedelta(hours=self.hours)
        return last_start(self.starts, now)


def last_start(starts: tuple[int, ...], now: datetime) -> datetime:
    """The latest moment before `now`, by the clock of its zone, at which one of these hours began.

    >>> last_start((6, 14, 22), datetime(2026, 11, 3, 5, 59, tzinfo=UTC)).isoformat()
    '2026-11-02T22:00:00+00:00'
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (midnight - timedelta(days=1), midnight)
    return max(start for day in days for hour in starts if (start := day.replace(hour=hour)) <= now)


def _hours_of(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 24 for part in parts):
        raise HttpProblem(422, "bad_shifts", f"the shifts are {text!r}; expected hours of the day, such as 6,14,22")
    return tuple(int(part) for part in parts)


@router.get("", response_model=BoardBody, responses=errors())
async def board(who: Viewer, server: Server, asked: Annotated[Asked, Depends()]) -> Any:
    """The last parts with their verdicts, counters and rate."""
    return await _look(server, asked)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=errors(content={"text/event-stream": {}}),
)
async def follow(request: Request, who: Viewer, server: Server, asked: Annotated[Asked, Depends()]) -> Any:
    """The same as server-sent events, `board` whenever something changed; for hours, until the server stops."""

    async def events() -> AsyncIterator[str]:
        before, quiet = None, 0.0
        while not server.queue.draining:
            ended = server.queue.ended
            try:
                found = await _look(server, asked)
            except Exception as error:  # noqa: BLE001 - the record is out of reach for a while: say so and go on
                found = {"fault": type(error).__name__}
            shown = {name: value for name, value in found.items() if name != "now"}
            if shown != before or quiet >= BEAT_SECONDS:
                before, quiet = shown, 0.0
                yield f"event: board\ndata: {json.dumps(found)}\n\n"
            try:
                await asyncio.wait_for(ended.wait(), LOOK_SECONDS)
            except TimeoutError:
                quiet += LOOK_SECONDS

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/shift.pdf", response_class=Response, responses=errors(content={"application/pdf": {}}))
async def shift(
    who: Viewer, server: Server, asked: Annotated[Asked, Depends()], paper: Annotated[Paper, Query()] = "A4"
) -> Response:
    """The shift so far on paper: counts, drift, and the picture of every part that was stopped."""

    def make() -> bytes:
        now = server.store.now().astimezone()
        return shift_pdf(read_shift(server.store, asked.filter, asked.since(now), now), paper)

    async with server.decoding:
        return Response(await asyncio.to_thread(make), media_type="application/pdf")


async def _look(server: AppState, asked: Asked) -> dict[str, Any]:
    now = (await asyncio.to_thread(server.store.now)).astimezone()
    state: BoardState = await asyncio.to_thread(server.store.board, asked.filter, asked.since(now), now)
    drift = await asyncio.to_thread(_drift, server, asked.filter.who)
    return {
        "now": now.astimezone(UTC).isoformat(), "since": state.since.isoformat(),
        "last": [_part(part) for part in state.last], "counts": state.counts, "per_minute": state.per_minute,
        "drift": drift,
    }  # fmt: skip


def _drift(server: AppState, line: str | None) -> list[dict[str, Any]] | None:
    """Open alarms of a line, or of all; None where there is no line that would raise one."""
    alarms = server.store.lines.alarms(line, open_only=True, limit=6)
    if not alarms and all(line not in (None, known.name) for known in server.store.lines.states()):
        return None
    return [{"line": a.line, "quantity": a.quantity, "raised_at": a.raised_at.isoformat()} for a in alarms]


def _part(part: LastPart) -> dict[str, Any]:
    picture = None if part.verdict == "failed" else f"/v1/inspections/{part.id}/pictures/preview"
    return {**vars(part), "at": part.at.isoformat(), "picture": picture}
