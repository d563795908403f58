"""A base on disk: the user's own folder, laid over the starter knowledge.

    <base>/*.yaml           one category a file, edited by people
    <base>/imports/*.jsonl  entries made by `knowledge import`, one file per source
    <base>/drafts/*.yaml    machine-made drafts; not read before a person approves them
    <base>/.index/          the store derived from the files (`database.py`)

A category of the user's replaces the starter's category of that name; entries in bulk add to either. What a file was
parsed into is kept in the store under its size and time of change, so that a start reads only what was edited.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.bulk import load_lines
from reason_iad.knowledge.changes import recover
from reason_iad.knowledge.database import KnowledgeDatabase
from reason_iad.knowledge.entries import (
    STARTER_FOLDER,
    CategoryKnowledge,
    DefectKnowledge,
    Entry,
    check_names,
    find_files,
    load_file,
)

PARSER = "1"  # another form of the parsed content makes what is kept under an older one worthless
IMPORTS, DRAFTS, INDEX = "imports", "drafts", ".index"


@dataclass(frozen=True)
class BaseContent:
    """Everything the files of a base say; the user's categories come first, so their names win."""

    categories: tuple[CategoryKnowledge, ...]
    entries: tuple[Entry, ...]
    own: frozenset[str]  # identifiers of the categories that the user's files define


def default_base() -> Path:
    """The folder of the user's own knowledge: `knowledge` in the program's home."""
    from reason_iad import files

    return files.home() / "knowledge"


def database_of(base: Path) -> KnowledgeDatabase:
    """The store that belongs to a base."""
    return KnowledgeDatabase(base / INDEX)


def read_base(base: Path | None = None, starter: Path | None = STARTER_FOLDER) -> BaseContent:
    """Read the files of both layers; `starter` None for the user's alone.

    Raises:
        KnowledgeError: a file that breaks its schema, names or ids used twice, or no file at all.
    """
    base = default_base() if base is None else base
    if base.exists() and not base.is_dir():
        raise KnowledgeError(f"{base} is not a folder; expected a folder of knowledge files")
    recover(base)
    own_files = sorted(path for path in base.glob("*") if path.suffix.lower() in (".yaml", ".yml"))
    bulk_files = sorted((*base.glob("*.jsonl"), *(base / IMPORTS).glob("*.jsonl")))
    starter_files = find_files(starter) if starter is not None else []
    if not own_files and not bulk_files and not starter_files:
        raise KnowledgeError(f"{base} holds no knowledge file; expected .yaml or .jsonl: see docs/knowledge.md")
    reader = _Reader(database_of(base))
    own = [reader.category(path) for path in own_files]
    check_names(own, own_files)
    replaced = {knowledge.category for knowledge in own}
    shipped = [reader.category(path) for path in starter_files]
    shipped = [knowledge for knowledge in shipped if knowledge.category not in replaced]
    bulk = [(path, reader.lines(path)) for path in bulk_files]
    reader.keep()
    categories = (*_sorted(own), *_sorted(shipped))
    entries = [entry for knowledge in categories for entry in knowledge.entries()]
    owners: dict[str, str] = {entry.id: entry.source for entry in entries}
    for path, lines in bulk:
        for entry in lines:
            if entry.id in owners:
                raise KnowledgeError(
                    f"{path}: the id {entry.id!r} is also used by {owners[entry.id]}; expected unique ids: remove one"
                )
            owners[entry.id] = str(path)
        entries += lines
    return BaseContent(categories, tuple(entries), frozenset(replaced))


class _Reader:
    """Parses files, taking from the store what has not changed since."""

    def __init__(self, database: KnowledgeDatabase) -> None:
        self._database = database
        self._known = database.parsed() if (database.folder / "knowledge.db").exists() else {}
        self._read: dict[str, tuple[int, int, str]] = {}

    def category(self, path: Path) -> CategoryKnowledge:
        content = self._fresh(path)
        if content is None:
            knowledge = load_file(path)
            self._note(path, dataclasses.asdict(knowledge))
            return knowledge
        fields = content
        fields["defects"] = tuple(DefectKnowledge(**defect) for defect in fields["defects"])
        for name in ("normal", "aliases", "standards"):
            fields[name] = tuple(fields[name])
        return CategoryKnowledge(**fields)

    def lines(self, path: Path) -> tuple[Entry, ...]:
        content = self._fresh(path)
        if content is None:
            entries = load_lines(path)
            self._note(path, {"entries": [dataclasses.asdict(entry) for entry in entries]})
            return entries
        return tuple(Entry(**fields) for fields in content["entries"])

    def keep(self) -> None:
        if self._read != self._known:
            self._database.keep_parsed(self._read)

    def _fresh(self, path: Path) -> dict[str, Any] | None:
        known = self._known.get(str(path))
        try:
            state = path.stat()
        except OSError:
            return None  # the parser says what is wrong
        if known is None or known[:2] != (state.st_size, state.st_mtime_ns):
            return None
        version, _, content = known[2].partition("\n")
        if version != PARSER:
            return None
        self._read[str(path)] = known
        found: dict[str, Any] = json.loads(content)
        return found

    def _note(self, path: Path, content: dict[str, Any]) -> None:
        state = path.stat()
        text = f"{PARSER}\n{json.dumps(content, ensure_ascii=False)}"
        self._read[str(path)] = (state.st_size, state.st_mtime_ns, text)


def _sorted(categories: Sequence[CategoryKnowledge]) -> list[CategoryKnowledge]:
    return sorted(categories, key=lambda knowledge: knowledge.category)
