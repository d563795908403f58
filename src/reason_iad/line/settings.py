"""What `line.toml` may say, checked strictly: a field that is not known, or a password in the file, is refused.

Credentials are named, never written: `password = {file = "secret.txt"}` or `{env = "LINE_PASSWORD"}`. They are read
when they are used and appear in no message.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reason_iad.errors import InputError
from reason_iad.inspection.options import InspectorOptions

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$")]


class Strict(BaseModel):
    """Nothing unknown, nothing changed afterwards, and no value in a message."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Secret(Strict):
    """Where a credential lies; `read` gives it."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('credentials are not written into the file: use {file = "PATH"} or {env = "NAME"}')
        return value

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("expected exactly one of file and env")
        return self

    def read(self) -> str:
        """The credential.

        Raises:
            InputError: its file or variable is missing or empty.
        """
        try:
            text = self.file.read_text("utf-8").strip() if self.file is not None else os.environ.get(self.env or "", "")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise InputError(f"the credential file {self.file} cannot be read ({why}); write it there") from error
        if not text:
            where = f"the file {self.file}" if self.file is not None else f"the environment variable {self.env}"
            raise InputError(f"{where} holds no credential; expected it there")
        return text


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError('an address holds no credentials: give user and password = {file = "PATH"} beside it')
    if not parts.hostname:
        raise ValueError("expected an address with a host, such as http://host/path")
    return url


Url = Annotated[str, AfterValidator(_plain_url)]


class _View(Strict):
    region: tuple[int, int, int, int] | None = None
    rotate: Literal[0, 90, 180, 270] = 0

    @field_validator("region")
    @classmethod
    def _inside(cls, region: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if region is not None and (min(region[:2]) < 0 or min(region[2:]) < 16):
            raise ValueError("expected x, y from 0 on and width, height from 16 on")
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
            raise ValueError("still must be below moved")
        return self


class _Broker(Strict):
    host: str
    port: Port = 1883
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str | None = None
    password: Secret | None = None
    timeout: Seconds = 5.0

    @model_validator(mode="after")
    def _both(self) -> _Broker:
        if (self.ca_file or self.cert_file) and not self.tls:
            raise ValueError("found certificates and no tls; add tls = true")
        if (self.password is None) != (self.user is None):
            raise ValueError("expected user and password together")
        return self


class MqttTrigger(_Broker):
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


class MqttSink(_Broker):
    """Topics below `prefix`, as Sparkplug orders them."""

    kind: Literal["mqtt"]
    name: Name = "mqtt"
    prefix: Annotated[str, Field(pattern=r"^[^+#\s]{1,100}$")] = "reason-iad/v1"


class WebhookSink(Strict):
    """One signed request for each message."""

    kind: Literal["webhook"]
    name: Name = "webhook"
    url: Url
    secret: Secret
    timeout: Seconds = 5.0
    ca_file: Path | None = None


class OpcUaSink(Strict):
    """Nodes of an OPC UA server that this program runs."""

    kind: Literal["opcua"]
    name: Name = "opcua"
    host: str = "127.0.0.1"
    port: Port = 4840
    user: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _guarded(self) -> OpcUaSink:
        if (self.password is None) != (self.user is None):
            raise ValueError("expected user and password together")
        if self.user is None and not is_loopback(self.host):
            raise ValueError("an address that others reach needs user and password")
        return self


class JsonlSink(Strict):
    """Lines of a file; the name may hold %Y, %m and %d of the day in UTC."""

    kind: Literal["jsonl"]
    name: Name = "jsonl"
    path: Path


AnySink = Annotated[MqttSink | WebhookSink | OpcUaSink | JsonlSink, Field(discriminator="kind")]


class DriftSettings(Strict):
    """When parts are said to drift.

    Attributes:
        on: whether it is watched.
        parts_per_false_alarm: stable parts between two false alarms, on average at least.
        tolerance: shift that is none, in spreads of the profile's good parts.
    """

    on: bool = True
    parts_per_false_alarm: Annotated[int, Field(ge=100, le=100_000_000)] = 10_000
    tolerance: Annotated[float, Field(ge=0, le=10)] = 0.5


class RecordSettings(Strict):
    """Where inspections and messages are kept, and for how long."""

    folder: Path = Path("reason-iad-data")
    database: Secret | None = None  # URL; SQLite inside the folder where None
    keep_days: Annotated[float, Field(gt=0)] = 30.0


class HttpSettings(Strict):
    """State, metrics and triggers over HTTP."""

    host: str = "127.0.0.1"
    port: Port = 8322
    token: Secret | None = None

    @model_validator(mode="after")
    def _guarded(self) -> HttpSettings:
        if self.token is None and not is_loopback(self.host):
            raise ValueError("an address that others reach needs a token")
        return self


class LineName(Strict):
    """What the line is called, and what it makes.

    Attributes:
        name: of the line.
        group: of lines, such as a plant; a level of the topics.
        category: of the parts; it has a profile.
        waiting: parts that may wait for their inspection; those beyond are told as not inspected.
    """

    name: Name
    group: Name = "plant"
    category: Annotated[str, Field(min_length=1, max_length=100)]
    waiting: Annotated[int, Field(ge=1, le=1000)] = 8


class LineSettings(Strict):
    """A whole line."""

    line: LineName
    source: AnySource
    trigger: AnyTrigger
    sink: tuple[AnySink, ...] = ()
    inspect: dict[str, Any] = Field(default_factory=dict)
    drift: DriftSettings = DriftSettings()
    record: RecordSettings = RecordSettings()
    http: HttpSettings | None = None

    @model_validator(mode="after")
    def _fits(self) -> LineSettings:
        names = [sink.name for sink in self.sink]
        if len(set(names)) < len(names):
            raise ValueError("two sinks have one name: give each a name of its own")
        if self.trigger.kind == "http" and self.http is None:
            raise ValueError("a trigger by HTTP needs [http]")
        if self.source.kind == "folder" and self.trigger.kind != "each":
            raise ValueError('pictures of a folder are each inspected: trigger.kind = "each"')
        return self

    @property
    def method(self) -> InspectorOptions:
        """How parts are inspected: `reason` is auto unless the file says otherwise.

        Raises:
            InputError: a setting of [inspect] is not known, or has no meaning.
        """
        return InspectorOptions.from_mapping({"reason": "auto"} | self.inspect)

    @property
    def database_url(self) -> str:
        """Where the record is."""
        if self.record.database is not None:
            return self.record.database.read()
        return f"sqlite:///{self.record.folder.absolute() / 'record.db'}"


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine alone.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_line(path: Path) -> LineSettings:
    """Read a line file; paths in it are relative to where the program runs.

    Raises:
        InputError: it is missing, no TOML, or says something that is not understood; names the first such place.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected a line file: docs/line.md shows one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8'})") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML ({error}); expected a line file: docs/line.md shows one") from error
    try:
        settings = LineSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error
    try:
        _ = settings.method
    except InputError as error:
        raise InputError(f"{path}: inspect: {error}") from error
    return settings


def _first_problem(error: ValidationError) -> str:
    """The first problem in one line: where, what is wrong, what was expected; never the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    kinds = {"file", "usb", "rtsp", "stream", "snapshot", "folder", "genicam", "each", "interval", "rest", "mqtt",
             "http", "webhook", "opcua", "jsonl"}  # fmt: skip
    place = [str(part) for part in first["loc"]]
    where = ".".join(part for at, part in enumerate(place) if not (at and part in kinds)) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{where} is not known; expected one of the fields of docs/line.md: check its spelling"
    if first["type"] == "missing":
        return f"{where} is missing; expected it there"
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said[0].lower()}{said[1:]}"
