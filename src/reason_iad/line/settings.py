"""What `line.toml` may say, checked strictly: a field that is not known, or a password in the file, is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from reason_iad.errors import InputError
from reason_iad.inspection.options import InspectorOptions
from reason_iad.languages import translatable
from reason_iad.line.fields import Name, Port, Secret, Strict, is_loopback
from reason_iad.line.settings_sinks import AnySink
from reason_iad.line.settings_sources import AnySource, AnyTrigger

_WHOLE, _NUMBER = translatable("expected a whole number"), translatable("expected a number")
_BOOLEAN, _TEXT = translatable("expected true or false"), translatable("expected text")
_TABLE, _LIST = translatable("expected a table with fields"), translatable("expected a list")
PROBLEMS = {  # by pydantic's name of them
    "extra_forbidden": translatable("the field is not known; expected one of docs/line.md: check its spelling"),
    "missing": translatable("the field is missing; expected it there"),
    "union_tag_not_found": translatable("the kind is missing; expected it there"),
    "union_tag_invalid": translatable("the kind is not known; expected one of {expected_tags}"),
    "literal_error": translatable("expected one of {expected}"),
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE,
    "float_type": _NUMBER, "float_parsing": _NUMBER, "finite_number": _NUMBER,
    "bool_type": _BOOLEAN, "bool_parsing": _BOOLEAN,
    "string_type": _TEXT, "path_type": _TEXT, "model_type": _TABLE, "dict_type": _TABLE,
    "tuple_type": _LIST, "list_type": _LIST,
    "too_long": translatable("expected at most {max_length} of them"),
    "greater_than": translatable("expected more than {gt}"),
    "greater_than_equal": translatable("expected at least {ge}"),
    "less_than": translatable("expected less than {lt}"),
    "less_than_equal": translatable("expected at most {le}"),
    "string_too_short": translatable("expected a text that is not empty"),
    "string_too_long": translatable("expected at most {max_length} letters"),
    "string_pattern_mismatch": translatable("expected a text of the form {pattern}"),
}  # fmt: skip


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
            raise ValueError(translatable("an address that others reach needs a token"))
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
            raise ValueError(translatable("two sinks have one name: give each a name of its own"))
        if self.trigger.kind == "http" and self.http is None:
            raise ValueError(translatable("a trigger by HTTP needs [http]"))
        if self.source.kind == "folder" and self.trigger.kind != "each":
            raise ValueError(translatable('pictures of a folder are each inspected: trigger.kind = "each"'))
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
        where, problem = _first_problem(error)
        raise InputError(f"{path} cannot be used as a line file; {where}: {problem}") from error
    try:
        _ = settings.method
    except InputError as error:
        raise InputError(f"{path} cannot be used as a line file; inspect: {error}") from error
    return settings


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """Where the first problem is, and what is wrong or was expected there; never the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    kinds = {"file", "usb", "rtsp", "stream", "snapshot", "folder", "genicam", "each", "interval", "rest", "mqtt",
             "http", "webhook", "opcua", "jsonl"}  # fmt: skip
    place = [str(part) for part in first["loc"]]
    where = ".".join(part for at, part in enumerate(place) if not (at and part in kinds)) or translatable("the file")
    form = PROBLEMS.get(first["type"])
    said = form.format(**first.get("ctx", {})) if form else first["msg"].removeprefix("Value error, ")
    return where, f"{said[0].lower()}{said[1:]}"
