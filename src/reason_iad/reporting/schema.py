"""The published JSON Schema of a report, derived from the dataclasses, so that the two cannot part.

`docs/report.schema.json` is this schema for the current version; a test compares them.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, Literal

from reason_iad.types import READABLE_VERSIONS, SCHEMA_VERSION, InspectionReport

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `InspectionReport.to_json`."""
    definitions: dict[str, Any] = {}
    root = _object(InspectionReport, definitions)
    root["properties"]["schema_version"] = {"enum": list(READABLE_VERSIONS)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:reason-iad:report:{SCHEMA_VERSION}",
        "title": "Report of one inspection",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(report_schema(), indent=2) + "\n"


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {f.name: _schema(hints[f.name], definitions) for f in fields},
        "required": needed,
        "additionalProperties": False,
    }
    lines = (kind.__doc__ or "").strip().splitlines()
    return {"description": lines[0], **found} if lines else found


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # before its fields, which may hold it again
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return {"anyOf": [_schema(inner, definitions), {"type": "null"}]}
    if origin is tuple:
        items = _schema(arguments[0], definitions)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": items}
        return {"type": "array", "items": items, "minItems": len(arguments), "maxItems": len(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if origin is Literal:
        return {"enum": list(arguments)}
    return {"type": _SCALARS[hint]}
