"""Bringing documents and tables into a base: what was taken, what was known already, what was refused and why.

Every source file becomes one file of entries under `imports/`, named after the source and where it lay, so that
importing it again replaces what it gave before and nothing else. Identifiers come from the content. A text that the
base knows from elsewhere is reported and left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.files import sha256
from reason_iad.knowledge.base import IMPORTS
from reason_iad.knowledge.bulk import MAX_ENTRY_TEXT, clean_text, dump_lines, load_lines, parse_lines
from reason_iad.knowledge.changes import apply_changes, writing
from reason_iad.knowledge.commands import find_instructions
from reason_iad.knowledge.entries import ANY_PRODUCT, Entry, normalize_name, read_text
from reason_iad.knowledge.import_tables import Row, read_csv, read_mmad
from reason_iad.knowledge.import_text import read_markdown, read_pdf, split_passages
from reason_iad.knowledge.retrieve import KnowledgeBase

SUFFIXES = (".md", ".markdown", ".txt", ".pdf", ".csv", ".tsv", ".json", ".jsonl")
MAX_TEXT_BYTES = 20_000_000
MAX_ROW_TEXT = 1_000  # characters: a longer text of a table is cut into passages, or no prompt has room for it


@dataclass(frozen=True)
class ImportResult:
    """What an import did."""

    taken: dict[str, int]  # entries by source file
    new: int  # of them, entries that the base did not hold before
    duplicates: tuple[str, ...]  # texts that the base knows from elsewhere, and from where
    refused: tuple[str, ...]  # messages of files that cannot be used
    flagged: tuple[str, ...]  # entries that read like orders to the model
    categories: tuple[str, ...]
    of_no_product: tuple[str, ...]  # source files that name no known category: held to be about every product


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
        read: dict[Path, list[Row]] = {}
        taken: dict[Path, list[Entry]] = {}
        duplicates: list[str] = []
        refused: list[str] = []
        for path in paths:
            try:
                read[path] = _read(path, options)
            except KnowledgeError as error:
                refused.append(str(error))
        naming = _Naming(known, [row.category or options.category for rows in read.values() for row in rows])
        for path, rows in read.items():
            found = _entries(path, rows, options, naming)
            if clashes := [e.id for e in found if e.id in ids and _key(ids[e.id]) != _key(e)]:
                more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
                refused.append(
                    f"{path}: the id {clashes[0]!r}{more} is used by another entry ({ids[clashes[0]].source}); rename "
                    "it, or bring the category's own file: knowledge add --from"
                )
                continue
            taken[path] = []
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
        tuple(str(path) for path, found in taken.items() if any(e.category == ANY_PRODUCT for e in found)),
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


def _read(path: Path, options: ImportOptions) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        return [Row(None, p.kind, None, p.text, p.where) for p in read_pdf(path)]
    if suffix not in SUFFIXES:
        raise KnowledgeError(f"{path} is no file that can be imported; expected {', '.join(SUFFIXES)}")
    text = _text(path, options.encoding)
    if suffix == ".jsonl":
        lines = parse_lines(text, str(path))
        rows = [Row(e.category, e.kind, e.defect_type, e.text, "", e.source, e.language, e.id) for e in lines]
    elif suffix in (".csv", ".tsv"):
        rows = read_csv(text, str(path))
    elif suffix == ".json":
        rows = read_mmad(text, str(path))
    else:
        fields, passages = read_markdown(text, str(path))
        source, language = fields.get("source"), fields.get("language")
        rows = [Row(fields.get("category"), p.kind, p.defect, p.text, p.where, source, language) for p in passages]
    if not rows:
        raise KnowledgeError(f"{path} holds no text; expected something to import")
    return rows


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


def _entries(path: Path, rows: Iterable[Row], options: ImportOptions, naming: _Naming) -> list[Entry]:
    found: dict[str, Entry] = {}
    for row in rows:
        category = naming.category(row.category or options.category, path)
        defect = identifier(row.defect_type) if row.defect_type else None
        language = row.language or options.language
        source = row.source or path.name
        if row.id:  # exported before, or written as an entry: it stays as it is
            text = clean_text(row.text, MAX_ENTRY_TEXT)
            found.setdefault(row.id, Entry(row.id, category, row.kind, text, source, row.defect_type, language))
            continue
        source = f"{source}, {row.where}" if row.where else source
        for piece in split_passages(row.text) if len(row.text) > MAX_ROW_TEXT else (row.text,):
            text = clean_text(naming.titled(row, piece, category), MAX_ENTRY_TEXT)
            digest = sha256(f"{category}\n{row.kind}\n{defect}\n{text}")[:10]
            name = f"{category}/{row.kind}/{defect or identifier(path.stem)}-{digest}"
            found.setdefault(name, Entry(name, category, row.kind, text, source, defect, language))
    return list(found.values())


class _Naming:
    """Which category a source is about: what the base knows, and what any source of the same import names."""

    def __init__(self, known: KnowledgeBase, named: Iterable[str | None]) -> None:
        self._known = known
        # Known from the start, or a second import would put files elsewhere than the first.
        self._named = {name: known.find_category(name) or identifier(name) for name in named if name}

    def category(self, name: str | None, path: Path) -> str:
        """The identifier for a category's name; without one the file's or folder's where that is a category."""
        if name:
            return self._named[name]
        for guess in (path.stem, path.parent.name):
            if found := self._known.find_category(guess):
                return found
            if identifier(guess) in self._named.values():
                return identifier(guess)
        return ANY_PRODUCT

    def titled(self, row: Row, text: str, category: str) -> str:
        """The text of a row as category files put it: led by what it is about."""
        knowledge = self._known.knowledge_of(category)
        name = knowledge.name if knowledge else category.replace("_", " ")
        if row.defect_type:
            return f"{name}, {row.defect_type.replace('_', ' ')}: {text}"
        return f"Normal {name}: {text}" if row.kind == "normal" and not text.startswith("Normal") else text


def identifier(name: str) -> str:
    """A name as an identifier: lower-case letters, digits and underscores, beginning with a letter.

    Accents are dropped; a name without a Latin letter or digit gets a mark of its own, so that no two become one.

    >>> identifier("Pump housing 2.1"), identifier("Gehäuse"), identifier("蓋")
    ('pump_housing_2_1', 'gehause', 'x_2d9af7')
    """
    folded = unicodedata.normalize("NFKD", normalize_name(name))
    letters = "".join(c for c in folded if not unicodedata.combining(c))
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    plain = plain or sha256(normalize_name(name))[:6]
    plain = plain if plain[:1].isalpha() and re.search(r"[a-z0-9]", letters) else f"x_{plain}"
    return plain[:64]


def _imported(path: Path) -> tuple[Entry, ...]:
    return load_lines(path) if path.is_file() else ()


def _target(path: Path) -> str:
    mark = sha256(str(path.resolve()))[:8]
    return f"{identifier(path.stem)[:40]}-{mark}.jsonl"


def _key(entry: Entry) -> tuple[str, str]:
    return entry.category, " ".join(re.findall(r"\w+", entry.text.casefold()))
