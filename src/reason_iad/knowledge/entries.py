"""Knowledge files: one YAML file per category, checked field by field against a small schema.

A file becomes a `CategoryKnowledge`, which an inspector reads its answer options from, and a number of `Entry`
objects, the units that are retrieved and cited. Files are data: nothing in them is executed, and every fault is
reported with file, line and field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.names import normalize_name
from reason_iad.types import EntryKind

STARTER_FOLDER = Path(__file__).parent / "data"
MAX_FILE_BYTES = 1_000_000
ANY_PRODUCT = "any_product"  # the category whose entries hold for every product


@dataclass(frozen=True)
class Entry:
    """One citable piece of knowledge."""

    id: str  # "<category>/<kind>/<defect type or number>", unique
    category: str
    kind: EntryKind
    text: str
    source: str
    defect_type: str | None = None
    language: str = "en"


@dataclass(frozen=True)
class DefectKnowledge:
    """What is known about one type of defect of one category."""

    type: str  # identifier, such as "fray"
    name: str  # what people read, such as "frayed edge"
    look: str
    cause: str
    consequence: str
    check: str  # what to examine next


@dataclass(frozen=True)
class CategoryKnowledge:
    """The content of one knowledge file."""

    category: str  # identifier, such as "magnetic_tile"
    name: str  # what people read, singular
    source: str
    normal: tuple[str, ...]
    defects: tuple[DefectKnowledge, ...]
    aliases: tuple[str, ...] = ()
    standards: tuple[str, ...] = ()
    language: str = "en"

    def entries(self) -> tuple[Entry, ...]:
        """Split into citable entries: per defect one on its look and consequence and one on its cause and check."""
        texts: list[tuple[EntryKind, str | None, str, str]] = []
        for number, text in enumerate(self.normal, 1):
            texts.append(("normal", None, str(number), f"Normal {self.name}: {text}"))
        for defect in self.defects:
            head = f"{self.name}, {defect.name}"
            look = f"{head}: {defect.look} Possible consequence: {defect.consequence}"
            process = f"{head}: Usual cause: {defect.cause} Check next: {defect.check}"
            texts.append(("defect", defect.type, defect.type, look))
            texts.append(("process", defect.type, defect.type, process))
        for number, text in enumerate(self.standards, 1):
            texts.append(("standard", None, str(number), f"{self.name}, standard: {text}"))
        return tuple(
            Entry(f"{self.category}/{kind}/{key}", self.category, kind, text, self.source, defect_type, self.language)
            for kind, defect_type, key, text in texts
        )

    def defect(self, defect_type: str) -> DefectKnowledge | None:
        """What is known about `defect_type`, or None."""
        return next((defect for defect in self.defects if defect.type == defect_type), None)


def load_categories(folder: str | Path | None = None) -> tuple[CategoryKnowledge, ...]:
    """Read every `*.yaml` file of a folder, or the starter knowledge, in order of category.

    Raises:
        KnowledgeError: no folder, no files, a file that breaks the schema, or one name used by two categories.
    """
    paths = find_files(STARTER_FOLDER if folder is None else Path(folder))
    categories = [load_file(path) for path in paths]
    check_names(categories, paths)
    return tuple(sorted(categories, key=lambda knowledge: knowledge.category))


def check_names(categories: Sequence[CategoryKnowledge], paths: Sequence[Path]) -> None:
    """Refuse names that lead to two categories; `paths` are the files the categories come from.

    Raises:
        KnowledgeError: one name is used by two categories.
    """
    owners: dict[str, Path] = {}
    for knowledge, path in zip(categories, paths, strict=True):
        names = {normalize_name(name) for name in (knowledge.category, knowledge.name, *knowledge.aliases)}
        for name in sorted(names):
            if name in owners:
                raise KnowledgeError(
                    f"{path}: the category or alias {name!r} is also used by {owners[name]}; expected names that lead "
                    "to one category: rename one or merge the files"
                )
            owners[name] = path


def find_files(folder: Path) -> list[Path]:
    """The knowledge files of a folder in order of name.

    Raises:
        KnowledgeError: no folder, or no files in it.
    """
    if not folder.is_dir():
        raise KnowledgeError(f"{folder} is not a folder; expected a folder of knowledge files (one YAML per category)")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    if not paths:
        raise KnowledgeError(f"{folder} holds no .yaml file; expected one per category: see docs/knowledge.md")
    return paths


def load_entries(folder: str | Path | None = None) -> tuple[Entry, ...]:
    """The entries of every knowledge file in a folder, or of the starter knowledge.

    Raises:
        KnowledgeError: as `load_categories`.
    """
    return tuple(entry for knowledge in load_categories(folder) for entry in knowledge.entries())


def load_file(path: str | Path) -> CategoryKnowledge:
    """Read and check one knowledge file.

    Raises:
        KnowledgeError: unreadable, too large, not UTF-8, not YAML, or against the schema; names file, line and field.
    """
    from reason_iad.knowledge.schema import parse_knowledge

    path = Path(path)
    return parse_knowledge(read_text(path), str(path))


def check_unique(entries: Sequence[Entry]) -> None:
    """Refuse entries that share an id.

    Raises:
        KnowledgeError: two entries have one id.
    """
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.id in seen:
            raise KnowledgeError(
                f"two entries have the id {entry.id!r} (sources {seen[entry.id].source!r} and {entry.source!r}); "
                "expected unique ids: rename or remove one"
            )
        seen[entry.id] = entry


def field_names(kind: type) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    return tuple(field.name for field in dataclasses.fields(kind))


def read_text(path: Path, most: int = MAX_FILE_BYTES) -> str:
    """The text of a file of at most `most` bytes.

    Raises:
        KnowledgeError: no file, too large, not readable, or not UTF-8; names the line.
    """
    try:
        size = path.stat().st_size
        if path.is_dir() or not path.is_file():
            raise KnowledgeError(f"{path} is not a file; expected a knowledge file")
        if size > most:
            raise KnowledgeError(f"{path} has {size:,} bytes; at most {most:,} are accepted: split it by category")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise KnowledgeError(f"{path} does not exist; expected a knowledge file: check the path") from error
    except OSError as error:
        raise KnowledgeError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise KnowledgeError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; expected a text file in UTF-8: "
            "save it again with that encoding"
        ) from error
