"""Entries in bulk: JSON Lines, one entry a line, for what was imported and has no place in a category's own file."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, get_args

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.entries import Entry, field_names, read_text
from reason_iad.knowledge.names import is_identifier
from reason_iad.types import EntryKind

MAX_BULK_BYTES = 200_000_000
MAX_ENTRY_TEXT = 2_000  # characters: imported passages are cut to fit a prompt
KINDS: tuple[str, ...] = get_args(EntryKind)
_KNOWN = field_names(Entry)
_REQUIRED = ("id", "category", "kind", "text", "source")


def load_lines(path: Path) -> tuple[Entry, ...]:
    """Read and check one file of entries.

    Raises:
        KnowledgeError: unreadable, not UTF-8, or a line that is no entry; names file, line and field.
    """
    return parse_lines(read_text(path, MAX_BULK_BYTES), str(path))


def parse_lines(text: str, file: str) -> tuple[Entry, ...]:
    """Parse JSON Lines; `file` is only named in errors. Empty lines are passed over.

    Raises:
        KnowledgeError: a line that is no entry, or an id that comes twice.
    """
    entries: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        entry = _entry(line, file, number)
        if entry.id in entries:
            _fail(file, number, "id", f"{entry.id!r} again (first on line {lines[entry.id]})", "unique ids")
        entries[entry.id], lines[entry.id] = entry, number
    return tuple(entries.values())


def dump_lines(entries: Iterable[Entry]) -> str:
    """Entries as JSON Lines in order of id; what is not set is left out."""
    rows = []
    for entry in sorted(entries, key=lambda entry: entry.id):
        fields = {name: getattr(entry, name) for name in _KNOWN}
        kept = {name: value for name, value in fields.items() if value is not None}
        rows.append(json.dumps(kept, ensure_ascii=False))
    return "".join(f"{row}\n" for row in rows)


def clean_text(text: str, most: int = MAX_ENTRY_TEXT) -> str:
    """One line of plain text without control characters, cut after `most` characters at a word."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    line = " ".join(kept.split())
    if len(line) <= most:
        return line
    return line[:most].rsplit(" ", 1)[0][: most - 1] + "\u2026"


def _entry(line: str, file: str, number: int) -> Entry:
    try:
        fields = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        _fail(file, number, "the line", f"no JSON ({error})", "one JSON object a line")
    if not isinstance(fields, dict):
        _fail(file, number, "the line", type(fields).__name__, "a JSON object with " + ", ".join(_REQUIRED))
    if unknown := [name for name in fields if name not in _KNOWN]:
        _fail(file, number, unknown[0], "an unknown field", f"only {', '.join(_KNOWN)}")
    if missing := [name for name in _REQUIRED if name not in fields]:
        _fail(file, number, missing[0], "nothing", f"all of {', '.join(_REQUIRED)}")
    for name, value in fields.items():
        if not (isinstance(value, str) and value.strip()) and not (name == "defect_type" and value is None):
            _fail(file, number, name, repr(value)[:60], "text")
    if not is_identifier(fields["category"]):
        _fail(file, number, "category", repr(fields["category"])[:80], 'an identifier such as "metal_nut"')
    if fields["kind"] not in KINDS:
        _fail(file, number, "kind", repr(fields["kind"])[:80], f"one of {', '.join(KINDS)}")
    if len(fields["text"]) > MAX_ENTRY_TEXT:
        _fail(file, number, "text", f"{len(fields['text']):,} characters", f"at most {MAX_ENTRY_TEXT:,}")
    values: dict[str, Any] = fields | {"text": clean_text(fields["text"])}
    return Entry(**values)


def _fail(file: str, line: int, field: str, found: str, expected: str) -> NoReturn:
    raise KnowledgeError(f"{file}:{line}: {field}: found {found}; expected {expected}: correct it")
