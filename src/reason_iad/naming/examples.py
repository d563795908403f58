"""Labeled defects of one category: what a person said they are, and how they look in numbers.

A collection never changes; each change gives the next version, and says in words what it did. Areas are boxes in
pixels of the image, x1 and y1 exclusive.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError
from reason_iad.files import sha256
from reason_iad.words import counted

Box = tuple[int, int, int, int]
Floats = npt.NDArray[np.float32]

MOST_PER_TYPE = 500
LONGEST_NAME = 80
SAME_AREA = 0.5  # share of two boxes' union that they share, from which they are one area


@dataclass(frozen=True, eq=False)
class DefectExample:
    """One odd area that a person has named.

    Attributes:
        defect_type: what it is.
        image: name of its image's file.
        image_sha256: of that file.
        image_hw: size of the image.
        box_xyxy: where in it.
        views: descriptions of it (V, D), see `describe`: of the area as it was given, and as a comparison finds it.
        picture_jpeg: a small picture of it.
        date: when it was named, YYYY-MM-DD.
        origin: by what: "folder", the name of an export's format, "feedback" or "label".
    """

    defect_type: str
    image: str
    image_sha256: str
    image_hw: tuple[int, int]
    box_xyxy: Box
    views: Floats
    picture_jpeg: bytes
    date: str
    origin: str

    @property
    def id(self) -> str:
        """Short name that follows from the image and the area."""
        return sha256(self.image_sha256, ",".join(map(str, self.box_xyxy)))[:16]


@dataclass(frozen=True, eq=False)
class DefectExamples:
    """The named defects of a category at one version.

    Attributes:
        category: its name.
        examples: in the order they came.
        version: grows by one with each change; 0 before the first.
        history: one line for each version.
    """

    category: str
    examples: tuple[DefectExample, ...] = ()
    version: int = 0
    history: tuple[str, ...] = field(default_factory=tuple)

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples by type, in alphabetical order."""
        return dict(sorted(Counter(example.defect_type for example in self.examples).items()))

    def add(self, new: Sequence[DefectExample]) -> tuple[DefectExamples, tuple[str, ...]]:
        """The next version with more examples, and what a person should know.

        An area that is named already takes the new name: that is a correction. Areas that `new` itself gives two names
        are left out, and so is what goes beyond `MOST_PER_TYPE` of a type.

        Raises:
            InputError: nothing is left to add.
        """
        notes: list[str] = []
        agreed = _agreeing(new, notes)
        kept = list(self.examples)
        for example in agreed:
            for other in [one for one in kept if same_area(one, example)]:
                kept.remove(other)
                if other.defect_type != example.defect_type:
                    notes.append(f"{example.image}: {other.defect_type} becomes {example.defect_type}")
            kept.append(example)
        kept = _limit(kept, notes)
        if not agreed:
            raise InputError(
                f"none of {counted(len(new), 'example')} can be used{': ' if notes else ''}{'; '.join(notes[:3])}; "
                "expected areas that have one name each"
            )
        types = ", ".join(sorted({example.defect_type for example in agreed}))
        return self._next(kept, f"{counted(len(agreed), 'example')} added: {types:.200}"), tuple(notes)

    def find(self, beginning: str) -> DefectExample:
        """The one example whose id begins with this.

        Raises:
            InputError: none does, or several do.
        """
        named = [example for example in self.examples if example.id.startswith(beginning.strip().lower())]
        if len(named) != 1 or not beginning.strip():
            raise InputError(
                f"{counted(len(named), 'example')} of {self.category!r} begin with {beginning!r}; expected one: "
                "list them with `reason-iad learn CATEGORY --examples`"
            )
        return named[0]

    def without(self, beginning: str) -> DefectExamples:
        """The next version without the example whose id begins with this."""
        gone = self.find(beginning)
        kept = [example for example in self.examples if example is not gone]
        return self._next(kept, f"{gone.image} ({gone.defect_type}) removed")

    def move(self, beginning: str, defect_type: str) -> DefectExamples:
        """The next version, in which an example has another type."""
        found, name = self.find(beginning), clean_type(defect_type)
        moved = dataclasses.replace(found, defect_type=name)
        kept = [moved if example is found else example for example in self.examples]
        return self._next(kept, f"{found.image}: {found.defect_type} becomes {name}")

    def _next(self, examples: Sequence[DefectExample], change: str) -> DefectExamples:
        return DefectExamples(self.category, tuple(examples), self.version + 1, (*self.history, change))


def clean_type(name: str) -> str:
    """The name of a type as it is kept: any script, composed, with single blanks.

    Raises:
        InputError: it holds no letter or digit, or is too long.

    >>> clean_type("  rolled-in   scale "), clean_type("傷")
    ('rolled-in scale', '傷')
    """
    found = " ".join(unicodedata.normalize("NFC", name).split())
    printable = "".join(c for c in found if unicodedata.category(c)[0] != "C")
    if not any(c.isalnum() for c in printable) or len(printable) > LONGEST_NAME:
        raise InputError(
            f"the type of defect is {name[:40]!r}; expected a name with a letter or digit, of at most {LONGEST_NAME} "
            "characters"
        )
    return printable


def same_area(one: DefectExample, other: DefectExample) -> bool:
    """Whether two examples are of one area of one image."""
    return one.image_sha256 == other.image_sha256 and overlap(one.box_xyxy, other.box_xyxy) >= SAME_AREA


def overlap(one: Box, other: Box) -> float:
    """Share of the union of two boxes that lies in both, in [0, 1].

    >>> overlap((0, 0, 10, 10), (0, 5, 10, 15))
    0.3333333333333333
    """
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return both / (areas - both)


def _agreeing(new: Sequence[DefectExample], notes: list[str]) -> list[DefectExample]:
    """Examples without those that give one area two names; of equal ones the first."""
    by_image: dict[str, list[DefectExample]] = {}
    for example in new:
        by_image.setdefault(example.image_sha256, []).append(example)
    kept: list[DefectExample] = []
    for group in by_image.values():
        for index, example in enumerate(group):
            same = [other for other in group if same_area(example, other)]
            names = sorted({other.defect_type for other in same})
            if len(names) > 1:
                if same[0] is example:
                    files = " and ".join(dict.fromkeys(other.image for other in same))
                    notes.append(f"{files}: one area is called {' and '.join(names)}; expected one name: left out")
                continue
            if not any(same_area(example, other) for other in group[:index]):
                kept.append(example)
    return kept


def _limit(examples: Sequence[DefectExample], notes: list[str]) -> list[DefectExample]:
    """At most `MOST_PER_TYPE` of each type, the newest."""
    kept: list[DefectExample] = []
    seen: Counter[str] = Counter()
    for example in reversed(examples):
        seen[example.defect_type] += 1
        if seen[example.defect_type] <= MOST_PER_TYPE:
            kept.append(example)
    for name, count in seen.items():
        if count > MOST_PER_TYPE:
            notes.append(f"{name}: {counted(count, 'example')}; the newest {MOST_PER_TYPE} are kept")
    return kept[::-1]
