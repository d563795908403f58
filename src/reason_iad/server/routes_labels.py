"""Labels: which odd areas wait for a name, naming one, taking a name back; and the named defects of a category."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from reason_iad.errors import InputError
from reason_iad.languages import told
from reason_iad.server.access import AppState, Inspector, Server, Viewer, audit, errors
from reason_iad.server.idempotency import Once
from reason_iad.server.problems import HttpProblem
from reason_iad.server.schemas import Strict
from reason_iad.server.security import Principal

router = APIRouter(tags=["labels"])
Category = Annotated[str, Query(min_length=1, max_length=100, description="of the inspections")]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of an inspection")]


class TypeShare(BaseModel):
    """One type of defect and its probability."""

    name: str
    probability: float


class WaitingBody(BaseModel):
    """An odd area that waits for a name, and why its name would help."""

    inspection: str
    image: str
    area: int = Field(description="which of the inspection's odd areas, from 0")
    box_xyxy: tuple[int, int, int, int]
    verdict: str
    reasons: list[str]
    types: list[TypeShare] = Field(description="what it is called by the examples so far, likeliest first")
    picture: str = Field(description="address of a picture of the area")


class QueueBody(BaseModel):
    """What waits, what teaches most first, and the types that have examples."""

    category: str
    types: dict[str, int]
    waiting: list[WaitingBody]


class LabelRequest(Strict):
    """The name of one area."""

    inspection: str = Field(pattern="^[0-9a-f]{32}$")
    area: int = Field(0, ge=0, le=1000)
    defect_type: str = Field(min_length=1, max_length=200, examples=["scratch"])


class LabelBody(BaseModel):
    """What a name did."""

    example: str = Field(description="id of the example, by which it is taken back")
    defect_type: str
    examples: int = Field(description="how many the category has now")
    version: int
    notes: list[str]


class UndoRequest(Strict):
    """A name to take back."""

    inspection: str = Field(pattern="^[0-9a-f]{32}$")
    example: str = Field(pattern="^[0-9a-f]{16}$")


@router.get("/v1/labels", response_model=QueueBody, responses=errors(404))
async def waiting(
    category: Category, who: Viewer, server: Server, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Any:
    """The odd areas of a category whose names would teach most, first."""
    return await asyncio.to_thread(_queue, server, category, limit)


@router.get(
    "/v1/labels/{id}/areas/{area}.jpg", response_class=Response, responses=errors(404, content={"image/jpeg": {}})
)
async def picture(id: Id, area: Annotated[int, Path(ge=0, le=1000)], who: Viewer, server: Server) -> Response:
    """An odd area of an inspection with what surrounds it; encoded by the server."""
    async with server.decoding:
        data = await asyncio.to_thread(_picture, server, id, area)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=31536000, immutable"})


@router.post("/v1/labels", response_model=LabelBody, status_code=201, responses=errors(404, 409))
async def name(said: LabelRequest, request: Request, who: Inspector, server: Server, once: Once) -> Any:
    """Name an area; the category's examples have it at once, and inspections that follow use it."""
    return await once.done(said, lambda: _name(said, request, who, server))


async def _name(said: LabelRequest, request: Request, who: Principal, server: AppState) -> Any:
    from reason_iad.store.labels import label

    async with server.decoding:
        found = await asyncio.to_thread(label, server.store, said.inspection, said.area, said.defect_type, who.name)
    await audit(request, who, "label", said.inspection, found.defect_type)
    return {**found.__dict__, "notes": [told(one) for one in found.notes]}


@router.post("/v1/labels/undo", response_model=QueueBody, responses=errors(404, 409))
async def undo(said: UndoRequest, request: Request, who: Inspector, server: Server, once: Once) -> Any:
    """Take a name back."""
    return await once.done(said, lambda: _undo(said, request, who, server))


async def _undo(said: UndoRequest, request: Request, who: Principal, server: AppState) -> Any:
    from reason_iad.store.labels import unlabel

    examples = await asyncio.to_thread(unlabel, server.store, said.inspection, said.example, who.name)
    await audit(request, who, "label taken back", said.inspection)
    return await asyncio.to_thread(_queue, server, examples.category, 20)


def _queue(server: AppState, category: str, limit: int) -> dict[str, Any]:
    from reason_iad.naming.store import load_examples
    from reason_iad.store.labels import queue_of

    found = queue_of(server.store, category, limit)
    return {
        "category": category,
        "types": load_examples(category).counts,
        "waiting": [
            {
                "inspection": one.area.inspection,
                "image": one.area.name,
                "area": one.area.index,
                "box_xyxy": one.area.box_xyxy,
                "verdict": one.area.verdict,
                "reasons": list(map(told, one.reasons)),
                "types": [t.__dict__ for t in one.naming.types[:5]] if one.naming is not None else [],
                "picture": f"/v1/labels/{one.area.inspection}/areas/{one.area.index}.jpg",
            }
            for one in found
        ],
    }


def _picture(server: AppState, identifier: str, index: int) -> bytes:
    from reason_iad.images import read_image
    from reason_iad.naming.describe import picture_of
    from reason_iad.naming.kept import read_areas
    from reason_iad.store.labels import AREAS

    record = server.store.get(identifier)
    if record is None or AREAS not in record.files:
        raise HttpProblem(404, "no_area", f"the inspection {identifier} has no odd area that was kept")
    areas = read_areas(server.store.files.get(record.files[AREAS]))
    if index >= len(areas):
        raise HttpProblem(404, "no_area", f"the inspection {identifier} has {len(areas)} odd areas, from 0")
    try:
        pixels = read_image(server.store.files.get(record.files["image"])).pixels
    except InputError as error:
        raise HttpProblem(404, "no_image", str(error)) from error
    return picture_of(pixels, areas[index][0])
