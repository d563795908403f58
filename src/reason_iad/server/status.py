"""The whole of a server at one look, for whoever runs it: processes, queue, versions, database, disk, lines."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from reason_iad.server.access import AppState
from reason_iad.server.model_workers import Worker
from reason_iad.store.store import Store
from reason_iad.versions import versions

LIBRARIES = ("torch", "onnxruntime", "transformers", "fastapi", "sqlalchemy")
RECORD_SECONDS = 5.0  # for the database to answer
_UNKNOWN = {"state": "away", "detail": "", "revision": None, "milliseconds": None, "free_bytes": None}


class WorkerBody(BaseModel):
    """A model process."""

    number: int
    state: str = Field(description="loading, ready, unable, lost or stopped", examples=["ready"])
    pid: int | None
    memory_bytes: int | None = Field(description="resident; null where the system does not tell")
    doing: str | None = Field(description="inspect, ask, feedback or learn; null while it is idle")
    id: str | None = Field(description="of the inspection that it is at")
    seconds: float | None = Field(description="for which it has been at it")
    jobs: int = Field(description="that it ended")
    restarts: int = Field(description="times that it ended by itself and was replaced")


class WaitingBody(BaseModel):
    """What waits."""

    waiting: dict[str, int] = Field(description="jobs by whose turn it is", examples=[{"person": 1, "lot": 12}])
    clients: int = Field(description="whose jobs wait")
    oldest_seconds: float | None = Field(description="for which the first of them has waited")
    draining: bool = Field(description="nothing more is accepted: the server is being stopped")


class RecordBody(BaseModel):
    """The database and the folder of evidence."""

    kind: str = Field(examples=["sqlite"])
    state: Literal["ok", "away"]
    detail: str = Field(description="what the driver said where it is away")
    revision: str | None = Field(description="of the tables")
    milliseconds: float | None = Field(description="for which its answer took")
    free_bytes: int | None = Field(description="on the disk of the evidence")


class LineSummary(BaseModel):
    """A production line, as it last told the record."""

    name: str
    updated_at: datetime
    running: bool
    camera: str | None
    parts: dict[str, int] = Field(description="by verdict")
    waiting: int | None
    drift_level: float | None = Field(description="how near an alarm is, from 0 to 1")
    open_alarms: int


class ServerBody(BaseModel):
    """A server that shares the record, as it last told of itself."""

    id: str
    name: str = Field(description="of its machine, and its port", examples=["plant-3:8321"])
    version: str
    workers: int
    ready: int = Field(description="workers whose model is loaded")
    running: int = Field(description="inspections that it is at")
    started_at: datetime
    seen_at: datetime


class WholeBody(BaseModel):
    """Everything that an admin asks first."""

    started_at: datetime
    seconds: float = Field(description="since then")
    workers: list[WorkerBody]
    queue: WaitingBody
    record: RecordBody
    versions: dict[str, str] = Field(description="of program, Python, libraries and model")
    profiles: dict[str, int] = Field(description="version of each learned category")
    lines: list[LineSummary]
    servers: list[ServerBody] = Field(description="that share the record; none on SQLite")


class StatusBody(BaseModel):
    """What the page needs to know first."""

    version: str
    model: str = Field(description="stopped, loading, ready or unable", examples=["ready"])
    detail: str = Field(examples=["loading knowledge"])
    model_name: str
    waiting: int
    running: int = Field(description="jobs that model processes are at")
    workers: int = Field(description="model processes that this server has")
    workers_ready: int = Field(description="of them, those whose model is loaded")
    room: int
    tokens: bool = Field(description="whether requests need a bearer token")
    who: str | None
    role: str | None
    max_bytes: int
    max_pixels: int
    counts: dict[str, int]
    whole: WholeBody | None = Field(None, description="with `?whole=true`, for an admin")


async def look(server: AppState) -> dict[str, Any]:
    """Look at everything; what cannot be reached is said, and hides nothing else."""
    try:
        record = await asyncio.wait_for(asyncio.to_thread(look_at_record, server), RECORD_SECONDS)
    except TimeoutError:
        record = {**_UNKNOWN, "kind": server.store.kind, "detail": f"no answer within {RECORD_SECONDS:g} s"}
    lines = await asyncio.to_thread(_lines, server.store) if record["state"] == "ok" else []
    return {
        "started_at": server.started_at, "seconds": round((datetime.now(UTC) - server.started_at).total_seconds(), 1),
        "workers": [_worker(one) for one in server.model.workers], "queue": server.queue.summary(),
        "record": record,
        "versions": {**versions(LIBRARIES), **{f"model {k}": v for k, v in server.model.facts.items()}},
        "profiles": await asyncio.to_thread(_profiles), "lines": lines,
        "servers": [vars(one) for one in await server.queue.servers()] if record["state"] == "ok" else [],
    }  # fmt: skip


def look_at_record(server: AppState) -> dict[str, Any]:
    """Whether the database answers, and what is known of it."""
    began, store = time.monotonic(), server.store
    found: dict[str, Any] = {**_UNKNOWN, "kind": store.kind}
    with contextlib.suppress(OSError):
        found["free_bytes"] = shutil.disk_usage(server.settings.data).free
    try:
        store.ping()
        found["milliseconds"] = round(1000 * (time.monotonic() - began), 1)
        return {**found, "state": "ok", "revision": store.revision()}
    except Exception as error:  # noqa: BLE001 - whatever the driver raises, the record is out of reach
        return {**found, "detail": type(error).__name__}  # its text may name an address or a user


def _worker(worker: Worker) -> dict[str, Any]:
    doing = worker.doing
    return {
        "number": worker.number, "state": worker.state, "pid": worker.pid, "memory_bytes": worker.memory_bytes,
        "doing": doing and doing.kind, "id": doing and doing.id,
        "seconds": doing and round(time.monotonic() - doing.since, 1), "jobs": worker.jobs,
        "restarts": worker.restarts,
    }  # fmt: skip


def _lines(store: Store) -> list[dict[str, Any]]:
    alarms = store.lines.open_alarms()
    return [
        {
            "name": one.name, "updated_at": one.updated_at, "running": bool(one.state.get("running")),
            "camera": one.state.get("camera"), "parts": one.state.get("parts") or {},
            "waiting": one.state.get("waiting"), "drift_level": (one.state.get("drift") or {}).get("level"),
            "open_alarms": alarms.get(one.name, 0),
        }
        for one in store.lines.states()
    ]  # fmt: skip


def _profiles() -> dict[str, int]:
    """Version of each learned category; a damaged one is 0."""
    from reason_iad.errors import EvidenceError
    from reason_iad.evidence.profile_store import list_profiles, read_facts

    found = {}
    for name in list_profiles():
        try:
            found[name] = int(read_facts(name).get("version", 0))
        except (EvidenceError, TypeError, ValueError):
            found[name] = 0
    return found
