"""Production lines as the record knows them: their state, drift alarms with both pictures, and who has seen them."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from reason_iad.errors import InputError
from reason_iad.server.access import AppState, Inspector, Server, Viewer, audit, errors
from reason_iad.server.idempotency import Once
from reason_iad.server.problems import HttpProblem
from reason_iad.server.schemas import AlarmBody, LineBody
from reason_iad.server.security import Principal
from reason_iad.store.lines import DriftAlarm, LineState

router = APIRouter()
Line = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$", description="name of a line")]
AlarmId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="id of an alarm")]


@router.get("/v1/lines", tags=["lines"], response_model=list[LineBody], responses=errors())
async def lines(who: Viewer, server: Server) -> Any:
    """Every line that writes into this record, as it last told of itself."""
    found = await asyncio.to_thread(server.store.lines.states)
    alarms = await asyncio.to_thread(lambda: server.store.lines.alarms(open_only=True, limit=1000))
    return [_line(state, [alarm for alarm in alarms if alarm.line == state.name]) for state in found]


@router.get("/v1/lines/{line}/alarms", tags=["lines"], response_model=list[AlarmBody], responses=errors(404))
async def alarms(line: Line, who: Viewer, server: Server, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Any:
    """Drift alarms of a line, newest first."""
    states = await asyncio.to_thread(server.store.lines.states)
    if line not in {state.name for state in states}:
        raise HttpProblem(404, "no_line", f"there is no line {line!r}")
    found = await asyncio.to_thread(server.store.lines.alarms, line, False, limit)
    return [_alarm(one) for one in found]


@router.get(
    "/v1/alarms/{alarm}/{picture}", tags=["lines"], response_class=Response,
    responses=errors(404, content={"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}),
)  # fmt: skip
async def picture(
    alarm: AlarmId, picture: Annotated[str, Path(pattern="^(before|after)$")], who: Viewer, server: Server
) -> Response:
    """One of the two pictures that show a drift: a good part of the profile, or a part since it began."""
    found = await asyncio.to_thread(server.store.lines.find_alarm, alarm)
    digest = None if found is None else found.before_sha256 if picture == "before" else found.after_sha256
    if digest is None:
        raise HttpProblem(404, "no_picture", f"there is no picture {picture!r} of an alarm {alarm!r}")
    data = await asyncio.to_thread(server.store.files.get, digest)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


@router.post(
    "/v1/alarms/{alarm}/acknowledge", tags=["lines"], response_model=AlarmBody, responses=errors(404, 409)
)  # fmt: skip
async def acknowledge(alarm: AlarmId, request: Request, who: Inspector, server: Server, once: Once) -> Any:
    """Say that you have seen an alarm: its line watches for drift anew."""
    return await once.done(None, lambda: _acknowledge(alarm, request, who, server))


async def _acknowledge(alarm: str, request: Request, who: Principal, server: AppState) -> Any:
    try:
        found = await asyncio.to_thread(server.store.lines.acknowledge, alarm, who.name)
    except InputError as error:
        raise HttpProblem(404, "no_alarm", f"there is no alarm {alarm!r}") from error
    await audit(request, who, "acknowledge drift", alarm)
    return _alarm(found)


def _line(state: LineState, alarms: list[DriftAlarm]) -> dict[str, Any]:
    return {**dataclasses.asdict(state), "open_alarms": [_alarm(one) for one in alarms]}


def _alarm(alarm: DriftAlarm) -> dict[str, Any]:
    values = dataclasses.asdict(alarm)
    for name in ("before", "after"):
        digest = values.pop(f"{name}_sha256")
        values[name] = None if digest is None else f"/v1/alarms/{alarm.id}/{name}"
    return values
