"""What a line file may say of sources and triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from reason_iad.languages import translatable
from reason_iad.line.fields import Broker, Seconds, Secret, Strict, Url


class _View(Strict):
    region: tuple[int, int, int, int] | None = None
    rotate: Literal[0, 90, 180, 270] = 0

    @field_validator("region")
    @classmethod
    def _inside(cls, region: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if region is not None and (min(region[:2]) < 0 or min(region[2:]) < 16):
            raise ValueError(translatable("expected x, y from 0 on and width, height from 16 on"))
        return region


class FileSource(_View):
    """A video file, as fast as it was taken or as it can be read."""

    kind: Literal["file"]
    path: Path
    pace: Literal["real", "fast"] = "real"


class UsbSource(_View):
    """A camera of the machine."""

    kind: Literal["usb"]
    device: str = "/dev/video0"
    size: Annotated[str, Field(pattern=r"^\d{2,5}x\d{2,5}$")] | None = None
    rate: Annotated[float, Field(gt=0, le=1000)] | None = None
    timeout: Seconds = 5.0


class StreamSource(_View):
    """A camera on the network that sends a stream: RTSP, or over HTTP."""

    kind: Literal["rtsp", "stream"]
    url: Url
    user: str | None = None
    password: Secret | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    timeout: Seconds = 5.0


class SnapshotSource(_View):
    """A camera that gives one picture for each request over HTTP."""

    kind: Literal["snapshot"]
    url: Url
    user: str | None = None
    password: Secret | None = None
    every: Seconds = 0.2
    timeout: Seconds = 5.0
    ca_file: Path | None = None


class FolderSource(_View):
    """A folder that pictures are dropped into."""

    kind: Literal["folder"]
    path: Path
    settle: Annotated[float, Field(ge=0, le=60)] = 0.5


class GenicamSource(_View):
    """An industrial camera through a GenTL producer (extra `genicam`)."""

    kind: Literal["genicam"]
    producer: Path
    serial: str | None = None
    timeout: Seconds = 5.0


AnySource = Annotated[
    FileSource | UsbSource | StreamSource | SnapshotSource | FolderSource | GenicamSource, Field(discriminator="kind")
]


class EachTrigger(Strict):
    """Every picture is inspected."""

    kind: Literal["each"]


class IntervalTrigger(Strict):
    """One picture every so many seconds."""

    kind: Literal["interval"]
    seconds: Seconds


class RestTrigger(Strict):
    """A part that has come to rest.

    Attributes:
        settle: seconds for which nothing may move.
        moved: gray levels by which the parts of the picture that change most change while something moves.
        still: the same below which nothing does.
        empty: picture of the empty place; parts are then told from it.
        present: gray levels by which a picture with a part differs from the empty place.
    """

    kind: Literal["rest"]
    settle: Annotated[float, Field(ge=0, le=60)] = 0.12
    moved: Annotated[float, Field(gt=0, le=255)] = 8.0
    still: Annotated[float, Field(gt=0, le=255)] = 4.0
    empty: Path | None = None
    present: Annotated[float, Field(gt=0, le=255)] = 8.0

    @model_validator(mode="after")
    def _apart(self) -> RestTrigger:
        if self.still >= self.moved:
            raise ValueError(translatable("still must be below moved"))
        return self


class MqttTrigger(Broker):
    """A message on a topic; what it holds names the part."""

    kind: Literal["mqtt"]
    topic: Annotated[str, Field(min_length=1, max_length=200)]
    wait: Seconds = 2.0  # for a picture


class HttpTrigger(Strict):
    """A request to `/trigger` at the address of [http]; what it holds names the part."""

    kind: Literal["http"]
    wait: Seconds = 2.0


AnyTrigger = Annotated[
    EachTrigger | IntervalTrigger | RestTrigger | MqttTrigger | HttpTrigger, Field(discriminator="kind")
]
