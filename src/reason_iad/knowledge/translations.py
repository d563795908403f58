"""Knowledge in the language of whoever reads it; the model always reads the entries themselves.

A translation is a knowledge file of the same category under `translations/<language>/`, beside the entries: with the
program for starter knowledge, in `$REASON_IAD_HOME/knowledge` for one's own, which goes before it. It may hold some of
the defects only: what it lacks is shown as the entry has it.
"""

from __future__ import annotations

import functools
from pathlib import Path

from reason_iad import files, languages
from reason_iad.knowledge.entries import STARTER_FOLDER, CategoryKnowledge, load_file
from reason_iad.languages import language

FOLDER = "translations"


def told(text: str) -> str:
    """A text of a report in the language spoken: of the knowledge, of the program, or else as it is."""
    return text if language() == "en" else _told(text, language(), files.home())


def text_of(entry_id: str, text: str) -> str:
    """The text of a cited entry in the language spoken; as it was cited where the entry has no translation."""
    if language() == "en":
        return text
    return _entries(language(), files.home()).get(entry_id, text)


def translated(code: str) -> tuple[tuple[CategoryKnowledge, CategoryKnowledge], ...]:
    """Categories that have a translation, as they are and translated; a user's own after those of the program.

    Raises:
        KnowledgeError: a file is damaged.
    """
    pairs = []
    for folder in (STARTER_FOLDER, files.home() / "knowledge"):
        for path in sorted((folder / FOLDER / code).glob("*.yaml")):
            sources = [folder / path.name, STARTER_FOLDER / path.name]
            source = next((candidate for candidate in sources if candidate.is_file()), None)
            if source is not None:
                pairs.append((load_file(source), load_file(path)))
    return tuple(pairs)


def names(code: str) -> dict[str, str]:
    """Names of categories, defects and sources that have a translation, by those in English and by identifier."""
    found = {}
    for known, other in translated(code):
        found[known.source] = other.source
        pairs = [(known.category, known.name, other.name)]
        pairs += [
            (defect.type, defect.name, mine.name) for defect in known.defects if (mine := other.defect(defect.type))
        ]
        for identifier, name, said in pairs:
            found[name] = said
            found.setdefault(identifier.replace("_", " "), said)
    return found


@functools.lru_cache(maxsize=8)
def _entries(code: str, home: Path) -> dict[str, str]:
    """Translations by the id of the entry."""
    found = {}
    for _known, other in translated(code):
        said = {(entry.kind, entry.defect_type, entry.id): entry for entry in other.entries()}
        for (kind, defect_type, identifier), entry in said.items():
            defect = None if defect_type is None else other.defect(defect_type)
            if defect is None:
                found[identifier] = (
                    entry.text.removeprefix(f"Normal {other.name}: ") if kind == "normal" else entry.text
                )
            elif kind == "defect":
                found[identifier] = languages._(
                    "{name}, {defect}: {look} Possible consequence: {consequence}", name=other.name, defect=defect.name,
                    look=defect.look, consequence=defect.consequence,
                )  # fmt: skip
            else:
                found[identifier] = languages._(
                    "{name}, {defect}: Usual cause: {cause} Check next: {check}", name=other.name, defect=defect.name,
                    cause=defect.cause, check=defect.check,
                )  # fmt: skip
    return found


@functools.lru_cache(maxsize=8192)
def _told(text: str, code: str, home: Path) -> str:
    texts = _texts(code, home)
    # Names such as "capping or lamination" would be cut at the words between the holes of a sentence.
    marks = {f"\ue000{at}\ue001": name for at, name in enumerate(_names_of_several_words(code, home)) if name in text}
    masked = text
    for mark, name in marks.items():
        masked = masked.replace(name, mark)
    shown = languages.told(masked, texts | {mark: texts[name] for mark, name in marks.items()})
    for mark, name in marks.items():
        shown = shown.replace(mark, texts[name])
    return shown


@functools.lru_cache(maxsize=8)
def _names_of_several_words(code: str, home: Path) -> tuple[str, ...]:
    """Translated names that hold an "or", the longest first."""
    return tuple(sorted((name for name in names(code) if " or " in name), key=len, reverse=True))


@functools.lru_cache(maxsize=8)
def _texts(code: str, home: Path) -> dict[str, str]:
    """Translations by the text of a field, as reports take it over."""
    found = names(code)
    for known, other in translated(code):
        found |= dict(zip(known.normal, other.normal, strict=False))
        for defect in known.defects:
            if (mine := other.defect(defect.type)) is not None:
                for field in ("look", "cause", "consequence", "check"):
                    found[getattr(defect, field)] = getattr(mine, field)
    return found
