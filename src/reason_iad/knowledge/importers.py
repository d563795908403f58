"""Bringing documents and tables into a base: what was taken, what was known already, what was refused and why.

Every source file becomes one file of entries under `imports/`, named after the source and where it lay, so that
importing it again replaces what it gave before and nothing else. Identifiers come from the content. A text that the
base knows from elsewhere is reported and left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.knowledge.base import IMPORTS
from reason_iad.knowledge.bulk import MAX_ENTRY_TEXT, clean_text, dump_lines, load_lines, parse_lines
from reason_iad.knowledge.changes import apply_changes, writing
from reason_iad.knowledge.commands import find_instructions
from reason_iad.knowledge.entries import ANY_PRODUCT, Entry, normalize_name, read_text
from reason_iad.knowledge.import_tables import Row, read_csv, read_mmad
from reason_iad.knowledge.import_text import read_markdown, read_pdf
from reason_iad.knowledge.retrieve import KnowledgeBase

SUFFIXES = (".md", ".markdown", ".txt", ".pdf", ".csv", ".tsv", ".json", ".jsonl")
MAX_TEXT_BYTES = 20_000_000


@dataclass(frozen=True)
class ImportResult:
    """What an import did."""

    taken: dict[str, int]  # entries by source file
    new: int  # of them, entries that the base did not hold before
    duplicates: tuple[str, ...]  # texts that the base knows from elsewhere, and from where
    refused: tuple[str, ...]  # messages of files that cannot be used
    flagged: tuple[str, ...]  # entries that read like orders to the model
    categories: tuple[str, ...]


@dataclass(frozen=True)
class ImportOptions:
    """How sources are read."""

    category: str | None = None  # of what names none itself
    language: str = "en"
    encoding: str = "utf-8-sig"


def import_sources(base: Path, sources: Sequence[Path], options: ImportOptions | None = None) -> ImportResult:
    """Import files and folders as one change: after a kill, all of it is there or nothing.

    Raises:
        InputError: a source does not exist, or none of them can be used.
        KnowledgeError: the base cannot be read or written.
    """
    options = options or ImportOptions()
    paths = [path for source in sources for path in _expand(source)]
    with writing(base):
        known = KnowledgeBase.load(base=base)
        targets = {path: f"{IMPORTS}/{_target(path)}" for path in paths}
        own = {entry.id for path in paths for entry in _imported(base / targets[path])}
        texts = {_key(entry): entry for entry in known.entries if entry.id not in own}
        ids = {entry.id: entry for entry in known.entries if entry.id not in own}
        taken: dict[Path, list[Entry]] = {}
        duplicates: list[str] = []
        refused: list[str] = []
        for path in paths:
            try:
                found = _read(path, options, known)
            except KnowledgeError as error:
                refused.append(str(error))
                continue
            taken[path] = []
            if clash := next((e.id for e in found if e.id in ids and _key(ids[e.id]) != _key(e)), None):
                refused.append(f"{path}: the id {clash!r} is used by another entry ({ids[clash].source}); rename it")
                del taken[path]
                continue
            ids |= {entry.id: entry for entry in found}
            for entry in found:
                other = texts.setdefault(_key(entry), entry)
                if other is entry:
                    taken[path].append(entry)
                else:
                    duplicates.append(f"{entry.source}: known from {other.source} as {other.id}")
        if not taken and refused:
            raise KnowledgeError("\n".join(refused))
        entries = [entry for found in taken.values() for entry in found]
        changes = {targets[path]: dump_lines(found) if found else None for path, found in taken.items()}
        apply_changes(base, changes)
    orders = [(entry.id, find_instructions(entry.text)) for entry in entries]
    flagged = [f"{name}: {', '.join(map(repr, phrases))}" for name, phrases in orders if phrases]
    return ImportResult(
        {str(path): len(found) for path, found in taken.items()},
        sum(entry.id not in own for entry in entries),
        tuple(duplicates),
        tuple(refused),
        tuple(flagged),
        tuple(sorted({entry.category for entry in entries})),
    )


def _expand(source: Path) -> list[Path]:
    if source.is_dir():
        found = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not found:
            raise InputError(f"{source} holds no file to import; expected {', '.join(SUFFIXES)}")
        return found
    if not source.is_file():
        raise InputError(f"{source} does not exist; expected a file or folder to import: check the path")
    return [source]


def _read(path: Path, options: ImportOptions, known: KnowledgeBase) -> list[Entry]:
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        pdf = [Row(None, p.kind, None, p.text, p.where) for p in read_pdf(path)]
        return _entries(path, pdf, options, known)
    if suffix not in SUFFIXES:
        raise KnowledgeError(f"{path} is no file that can be imported; expected {', '.join(SUFFIXES)}")
    text = _text(path, options.encoding)
    if suffix == ".jsonl":
        return list(parse_lines(text, str(path)))
    if suffix in (".csv", ".tsv"):
        rows = read_csv(text, str(path))
    elif suffix == ".json":
        rows = read_mmad(text, str(path))
    else:
        fields, passages = read_markdown(text, str(path))
        source, language = fields.get("source"), fields.get("language")
        rows = [Row(fields.get("category"), p.kind, p.defect, p.text, p.where, source, language) for p in passages]
    if not rows:
        raise KnowledgeError(f"{path} holds no text; expected something to import")
    return _entries(path, rows, options, known)


def _text(path: Path, encoding: str) -> str:
    if encoding in ("utf-8", "utf-8-sig"):
        try:
            return read_text(path, MAX_TEXT_BYTES)
        except KnowledgeError as error:
            hint = ", or name it with --encoding" if "not UTF-8" in str(error) else ""
            raise KnowledgeError(f"{error}{hint}") from error
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise KnowledgeError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_TEXT_BYTES:,}: split it")
        return path.read_text(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise KnowledgeError(f"{path} cannot be read as {encoding} ({error}); name its encoding") from error


def _entries(path: Path, rows: Iterable[Row], options: ImportOptions, known: KnowledgeBase) -> list[Entry]:
    found: dict[str, Entry] = {}
    for row in rows:
        category = _category(row.category or options.category, path, known)
        defect = identifier(row.defect_type) if row.defect_type else None
        text = clean_text(_titled(row, category, known), MAX_ENTRY_TEXT)
        digest = hashlib.sha256(f"{category}\n{row.kind}\n{defect}\n{text}".encode()).hexdigest()[:10]
        name = f"{category}/{row.kind}/{defect or identifier(path.stem)}-{digest}"
        source = row.source or path.name
        source = f"{source}, {row.where}" if row.where else source
        found.setdefault(name, Entry(name, category, row.kind, text, source, defect, row.language or options.language))
    return list(found.values())


def _titled(row: Row, category: str, known: KnowledgeBase) -> str:
    """The text of a row as category files put it: led by what it is about."""
    knowledge = known.knowledge_of(category)
    name = knowledge.name if knowledge else category.replace("_", " ")
    if row.defect_type:
        return f"{name}, {row.defect_type.replace('_', ' ')}: {row.text}"
    return f"Normal {name}: {row.text}" if row.kind == "normal" and not row.text.startswith("Normal") else row.text


def _category(name: str | None, path: Path, known: KnowledgeBase) -> str:
    """The identifier for a category's name; without one the file's or folder's where the base knows it."""
    if name:
        return known.find_category(name) or identifier(name)
    for guess in (path.stem, path.parent.name):
        if found := known.find_category(guess):
            return found
    return ANY_PRODUCT


def identifier(name: str) -> str:
    """A name as an identifier: lower-case letters, digits and underscores, beginning with a letter.

    >>> identifier("Pump housing 2.1")
    'pump_housing_2_1'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", normalize_name(name)).strip("_")
    plain = plain if plain[:1].isalpha() else f"x_{plain}".rstrip("_")
    return plain[:64]


def _imported(path: Path) -> tuple[Entry, ...]:
    return load_lines(path) if path.is_file() else ()


def _target(path: Path) -> str:
    mark = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return f"{identifier(path.stem)[:40]}-{mark}.jsonl"


def _key(entry: Entry) -> tuple[str, str]:
    return entry.category, " ".join(re.findall(r"\w+", entry.text.casefold()))
