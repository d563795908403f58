"""Bringing documents and tables into a base: what was taken, what was known already, what was refused and why.

Every source file becomes one file of entries under `imports/`, named after the source and where it lay, so that
importing it again replaces what it gave before and nothing else. Identifiers come from the content. A text that the
base knows from elsewhere is reported and left out.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.files import sha256
from reason_iad.knowledge.base import IMPORTS
from reason_iad.knowledge.bulk import MAX_ENTRY_TEXT, clean_text, dump_lines, load_lines, parse_lines
from reason_iad.knowledge.changes import apply_changes, writing
from reason_iad.knowledge.commands import find_instructions
from reason_iad.knowledge.entries import ANY_PRODUCT, Entry, read_text
from reason_iad.knowledge.import_tables import read_csv, read_mmad
from reason_iad.knowledge.import_text import read_markdown, read_pdf, split_passages
from reason_iad.knowledge.names import identifier
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.knowledge.rows import Row, Understanding

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
    understood: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by source file: how it was read
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)  # by source file: entries by kind
    entries: tuple[Entry, ...] = ()  # what was taken
    stored: bool = True  # False where the import was only tried
    left_out: dict[str, int] = field(default_factory=dict)  # files of folders by suffix that no import reads


@dataclass(frozen=True)
class ImportOptions:
    """How sources are read."""

    category: str | None = None  # of what names none itself
    language: str = "en"
    encoding: str = "utf-8-sig"
    corrections: Mapping[str, str] = field(default_factory=dict)  # meaning by name of a heading, column or value
    dry_run: bool = False  # read and report, and store nothing


@dataclass
class _Plan:
    """What an import would change."""

    taken: dict[Path, list[Entry]]
    duplicates: list[str]
    refused: list[str]
    understood: dict[Path, Understanding]
    own: set[str]  # ids that an earlier import of the same sources gave


def import_sources(base: Path, sources: Sequence[Path], options: ImportOptions | None = None) -> ImportResult:
    """Import files and folders as one change: after a kill, all of it is there or nothing.

    Raises:
        InputError: a source does not exist, or a correction names nothing that stands in any of them.
        KnowledgeError: none of the sources can be used, or the base cannot be read or written.
    """
    options = options or ImportOptions()
    paths = [path for source in sources for path in _expand(source)]
    if options.dry_run:
        plan = _plan(base, paths, options)
    else:
        with writing(base):
            plan = _plan(base, paths, options)
            changes = {
                f"{IMPORTS}/{_target(path)}": dump_lines(found) if found else None for path, found in plan.taken.items()
            }
            apply_changes(base, changes)
    entries = [entry for found in plan.taken.values() for entry in found]
    orders = [(entry.id, find_instructions(entry.text)) for entry in entries]
    flagged = [f"{name}: {', '.join(map(repr, phrases))}" for name, phrases in orders if phrases]
    return ImportResult(
        {str(path): len(found) for path, found in plan.taken.items()},
        sum(entry.id not in plan.own for entry in entries),
        tuple(plan.duplicates),
        tuple(plan.refused),
        tuple(flagged),
        tuple(sorted({entry.category for entry in entries})),
        tuple(str(path) for path, found in plan.taken.items() if any(e.category == ANY_PRODUCT for e in found)),
        {str(path): plan.understood[path].lines for path in plan.taken},
        {str(path): dict(Counter(entry.kind for entry in found)) for path, found in plan.taken.items()},
        tuple(entries),
        not options.dry_run,
        dict(sorted(Counter(suffix for source in sources for suffix in _left_out(source)).items())),
    )


def _plan(base: Path, paths: Sequence[Path], options: ImportOptions) -> _Plan:
    """Read the sources and compare them with the base."""
    known = KnowledgeBase.load(base=base)
    own = {entry.id for path in paths for entry in _imported(base / IMPORTS / _target(path))}
    texts = {_key(entry): entry for entry in known.entries if entry.id not in own}
    ids = {entry.id: entry for entry in known.entries if entry.id not in own}
    plan = _Plan({}, [], [], {path: Understanding(options.corrections) for path in paths}, own)
    read: dict[Path, list[Row]] = {}
    for path in paths:
        try:
            read[path] = _read(path, options, plan.understood[path])
        except KnowledgeError as error:
            plan.refused.append(str(error))
    _check_corrections(options.corrections, plan.understood)
    naming = _Naming(known, [row.category or options.category for rows in read.values() for row in rows])
    for path, rows in read.items():
        found = _entries(path, rows, options, naming)
        for name in dict.fromkeys(row.category or options.category for row in rows):
            if name and identifier(name) != (category := naming.category(name, path)):
                plan.understood[path].say(f"the product {name!r}: known as {category}")
        if clashes := [e.id for e in found if e.id in ids and _key(ids[e.id]) != _key(e)]:
            more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
            plan.refused.append(
                f"{path}: the id {clashes[0]!r}{more} is used by another entry ({ids[clashes[0]].source}); rename "
                "it, or bring the category's own file: knowledge add --from"
            )
            continue
        plan.taken[path] = []
        ids |= {entry.id: entry for entry in found}
        for entry in found:
            other = texts.setdefault(_key(entry), entry)
            if other is entry:
                plan.taken[path].append(entry)
            else:
                plan.duplicates.append(f"{entry.source}: known from {other.source} as {other.id}")
    if not plan.taken and plan.refused:
        raise KnowledgeError("\n".join(plan.refused))
    return plan


def _check_corrections(corrections: Mapping[str, str], understood: Mapping[Path, Understanding]) -> None:
    used = {name for understanding in understood.values() for name in understanding.used}
    if unused := [name for name in corrections if name not in used]:
        raise InputError(
            f"no heading, column or value is called {unused[0]!r}; see how the sources are read with --dry-run and "
            "name it as it stands there"
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


def _left_out(source: Path) -> list[str]:
    """Suffixes of a folder's files that no import reads."""
    if not source.is_dir():
        return []
    files = (path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [path.suffix.lower() or "without suffix" for path in files if path.suffix.lower() not in SUFFIXES]


def _read(path: Path, options: ImportOptions, understanding: Understanding) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        return read_pdf(path, understanding)
    if suffix not in SUFFIXES:
        raise KnowledgeError(f"{path} is no file that can be imported; expected {', '.join(SUFFIXES)}")
    text = _text(path, options.encoding)
    if suffix == ".jsonl":
        lines = parse_lines(text, str(path))
        rows = [Row(e.category, e.kind, e.defect_type, e.text, "", e.source, e.language, e.id) for e in lines]
    elif suffix in (".csv", ".tsv"):
        rows = read_csv(text, str(path), understanding)
    elif suffix == ".json":
        rows = read_mmad(text, str(path))
    else:
        fields, found = read_markdown(text, str(path), understanding)
        rows = [
            dataclasses.replace(
                row,
                category=row.category or fields.get("category"),
                source=row.source or fields.get("source"),
                language=row.language or fields.get("language"),
            )
            for row in found
        ]
    if not rows:
        raise KnowledgeError(f"{path} holds no text; expected something to import")
    return rows


def _text(path: Path, encoding: str) -> str:
    if encoding in ("utf-8", "utf-8-sig"):
        with path.open("rb") as file:
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # a sheet's "Unicode text"
                return _text(path, "utf-16")
        try:
            return read_text(path, MAX_TEXT_BYTES)
        except KnowledgeError as error:
            hint = ", or name it with --encoding" if "not UTF-8" in str(error) else ""
            raise KnowledgeError(f"{error}{hint}") from error
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise KnowledgeError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_TEXT_BYTES:,}: split it")
        return path.read_text(encoding)
    except (UnicodeError, LookupError) as error:
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
        # A name that its identifier spells otherwise, "Geh\u00e4use", leads the texts as it was given.
        self._given = {key: " ".join(n.replace("_", " ").split()) for n, key in self._named.items() if not n.isascii()}

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
        name = knowledge.name if knowledge else self._given.get(category, category.replace("_", " "))
        if row.defect_type:
            return f"{name}, {row.defect_type.replace('_', ' ')}: {text}"
        return f"Normal {name}: {text}" if row.kind == "normal" and not text.startswith("Normal") else text


def _imported(path: Path) -> tuple[Entry, ...]:
    return load_lines(path) if path.is_file() else ()


def _target(path: Path) -> str:
    mark = sha256(str(path.resolve()))[:8]
    return f"{identifier(path.stem)[:40]}-{mark}.jsonl"


def _key(entry: Entry) -> tuple[str, str]:
    return entry.category, " ".join(re.findall(r"\w+", entry.text.casefold()))
