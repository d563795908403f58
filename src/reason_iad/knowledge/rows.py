"""What readers of documents and tables give the importer: pieces of knowledge, and how each was understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reason_iad.errors import InputError
from reason_iad.types import EntryKind

MEANINGS = (
    "category", "defect_type", "kind", "text", "cause", "consequence", "check", "source", "language", "subject",
    "normal", "defect", "process", "standard", "ignore",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One piece of knowledge from a document or table."""

    category: str | None
    kind: EntryKind
    defect_type: str | None
    text: str
    where: str
    source: str | None = None
    language: str | None = None
    id: str | None = None  # where it is an entry already: neither its text nor its source is changed


@dataclass
class Understanding:
    """How the headings, columns and blanks of one source were read; corrections come first.

    Attributes:
        corrections: what the user says that a heading, column or value means, by its name in lower case.
        used: corrections that something in the source answered to.
        said: a line for each thing that was understood, with the number of times.
    """

    corrections: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    said: Counter[str] = field(default_factory=Counter)

    def corrected(self, name: str) -> str | None:
        """What the user says that `name` means, or None."""
        key = correction_key(name)
        found = self.corrections.get(key)
        if found is not None:
            self.used.add(key)
        return found

    def say(self, line: str) -> None:
        """Note a line; the same line again is counted."""
        self.said[line] += 1

    @property
    def lines(self) -> tuple[str, ...]:
        """What was said, in order, with counts where a line came more than once."""
        return tuple(line if count == 1 else f"{line} ({count} times)" for line, count in self.said.items())


def parse_corrections(given: Iterable[str]) -> dict[str, str]:
    """Corrections such as "Not acceptable=defect" by the name in lower case.

    Raises:
        InputError: not of that form, or a meaning that does not exist.
    """
    found = {}
    for text in given:
        name, _, meaning = text.rpartition("=")
        if not name.strip() or meaning.strip().casefold() not in MEANINGS:
            raise InputError(
                f"the correction is {text!r}; expected NAME=MEANING, a meaning being {', '.join(MEANINGS)}"
            )
        found[correction_key(name)] = meaning.strip().casefold()
    return found


def correction_key(name: str) -> str:
    """The form in which names of headings and columns compare."""
    return " ".join(name.casefold().replace("_", " ").split()).strip(" *:#")
