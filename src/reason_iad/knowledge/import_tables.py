"""Tables to entries: CSV, JSON Lines, and the layout of MMAD's domain_knowledge.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.bulk import KINDS
from reason_iad.types import EntryKind

_LAYOUT = "{data set: {object: {defect type: text}}}"
_NORMAL_TYPES = ("good", "normal", "ok")
# Headings that people use; the first of each is ours.
COLUMNS = {
    "id": ("id",),
    "category": ("category", "product", "object", "part"),
    "kind": ("kind",),
    "defect_type": ("defect_type", "type", "defect", "fault", "name"),
    "text": ("text", "description", "look"),
    "cause": ("cause",),
    "consequence": ("consequence", "effect"),
    "check": ("check", "action", "next"),
    "source": ("source", "reference"),
    "language": ("language",),
}


@dataclass(frozen=True)
class Row:
    """One piece of knowledge from a table."""

    category: str | None
    kind: EntryKind
    defect_type: str | None
    text: str
    where: str
    source: str | None = None
    language: str | None = None
    id: str | None = None  # where it is an entry already: neither its text nor its source is changed


def read_csv(text: str, file: str) -> list[Row]:
    """Rows of a table with a heading line; comma, semicolon or tab between columns.

    Besides `text`, the columns cause, consequence and check are read; what has a defect type is about that defect.

    Raises:
        KnowledgeError: no heading with a text column, a row of the wrong length, or a bad kind; names the line.
    """
    first = text.lstrip("\ufeff").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        heading = [name.strip().casefold().replace(" ", "_") for name in next(reader, [])]
        columns = {ours: heading.index(n) for ours, names in COLUMNS.items() for n in names[::-1] if n in heading}
        if "text" not in columns:
            raise KnowledgeError(
                f"{file}:1: found the columns {', '.join(heading) or 'none'}; expected text (or description), and "
                "category, defect_type, kind, cause, consequence, check, source, language as needed"
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(heading):
                raise KnowledgeError(
                    f"{file}:{reader.line_num}: found {len(cells)} cells; expected {len(heading)}: put texts with "
                    f"{delimiter!r} into quotes"
                )
            rows += _rows({ours: _plain(cells[i].strip()) for ours, i in columns.items()}, file, reader.line_num)
    except csv.Error as error:
        raise KnowledgeError(f"{file}:{reader.line_num}: {error}; expected a CSV file: check its quotes") from error
    return rows


def read_mmad(text: str, file: str) -> list[Row]:
    """Rows of MMAD's domain_knowledge.json: texts by defect type, by object, by data set (or without that level).

    Raises:
        KnowledgeError: not JSON, or of another layout.
    """
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise KnowledgeError(f"{file}:{line}: no JSON ({error}); expected {_LAYOUT}") from error
    rows = [
        Row(category, "normal" if name.casefold() in _NORMAL_TYPES else "defect",
            None if name.casefold() in _NORMAL_TYPES else name, words, f"{where}{category}/{name}")
        for where, category, name, words in _leaves(content, file)
    ]  # fmt: skip
    if not rows:
        raise KnowledgeError(f"{file}:1: holds no text; expected {_LAYOUT}")
    return rows


def _rows(cells: dict[str, str], file: str, line: int) -> Iterator[Row]:
    defect = cells.get("defect_type") or None
    if defect and defect.casefold() in _NORMAL_TYPES:
        defect = None
        cells.setdefault("kind", "normal")
        cells["kind"] = cells["kind"] or "normal"
    kind = cells.get("kind", "").casefold() or ("defect" if defect else "process")
    if kind not in KINDS:
        raise KnowledgeError(f"{file}:{line}: kind: found {kind!r}; expected one of {', '.join(KINDS)}")
    common = (cells.get("source") or None, cells.get("language") or None)
    where = f"line {line}"
    text = cells["text"]
    category = cells.get("category") or None
    if text and (name := cells.get("id", "")).startswith(f"{category}/{kind}/"):  # of an export, no number of theirs
        yield Row(category, kind, defect, text, where, *common, name)  # type: ignore[arg-type]
        return
    if text and cells.get("consequence"):
        text = f"{text.rstrip('.')}. Possible consequence: {cells['consequence']}"
    if text:
        yield Row(category, kind, defect, text, where, *common)  # type: ignore[arg-type]
    pairs = (("Usual cause", cells.get("cause")), ("Check next", cells.get("check")))
    if process := " ".join(f"{label}: {words.rstrip('.')}." for label, words in pairs if words):
        yield Row(category, "process", defect, process, where, *common)


def _plain(cell: str) -> str:
    """A cell without the apostrophe that an export puts before what a spreadsheet would compute."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@") else cell


def _leaves(content: Any, file: str) -> Iterator[tuple[str, str, str, str]]:
    """(data set with a slash or empty, category, type, text) of two or three nested levels of objects."""
    if not isinstance(content, dict):
        raise KnowledgeError(f"{file}:1: found {type(content).__name__}; expected an object of data sets or categories")
    for name, inner in content.items():
        if not isinstance(inner, dict):
            raise KnowledgeError(f"{file}: {name}: found {type(inner).__name__}; expected an object of defect types")
        for key, value in inner.items():
            if isinstance(value, str):
                yield "", name, key, value
            elif isinstance(value, dict) and all(isinstance(words, str) for words in value.values()):
                for defect, words in value.items():
                    yield f"{name}/", key, defect, words
            else:
                raise KnowledgeError(f"{file}: {name}/{key}: found no texts; expected texts by defect type")
