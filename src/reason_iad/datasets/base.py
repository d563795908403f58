"""One image with its label, and a data set with the faults that were found while reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reason_iad.errors import InputError
from reason_iad.images import SUFFIXES

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Fault:
    """Something wrong in the data: where, and what follows from it.

    Attributes:
        where: the image, or the question about it.
        what: what was found, what was expected, what is done about it.
        file: that says it, where a file does.
        line: there, from 1.
        field: there.
    """

    where: str
    what: str
    file: str = ""
    line: int | None = None
    field: str = ""

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        place += [f"line {self.line}"] if self.line is not None else []
        place += [self.where]
        place += [self.field] if self.field else []
        return f"{', '.join(place)}: {self.what}"


@dataclass(frozen=True)
class ImageSample:
    """One image and what is known about it."""

    image: Path
    name: str  # below the data set's folder, with slashes
    category: str
    split: Split
    defective: bool
    defect_type: str | None = None
    masks: tuple[Path, ...] = ()  # what is bright in any of them is defective; empty where none is known
    boxes: tuple[tuple[int, int, int, int], ...] = ()  # in pixels, x1 and y1 exclusive, where there are no masks
    group: str = ""  # images of one object; references of a paired query are of its own group
    taken: str = ""  # what it was taken for, and by what
    references: tuple[Path, ...] = ()  # its own, where the data set gives each image some; else those of its category


@dataclass(frozen=True)
class ImageDataset:
    """All images of a data set.

    Attributes:
        name: of the data set.
        samples: its images.
        faults: what is wrong with its files.
        taken: what the folders and files were taken for, in plain words.
    """

    name: str
    samples: tuple[ImageSample, ...]
    faults: tuple[Fault, ...] = ()
    taken: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted({sample.category for sample in self.samples}))

    def references(self, category: str) -> tuple[ImageSample, ...]:
        """Normal training images of a category."""
        return tuple(s for s in self.samples if s.category == category and s.split == "train" and not s.defective)

    def queries(self, category: str) -> tuple[ImageSample, ...]:
        """Test images of a category."""
        return tuple(s for s in self.samples if s.category == category and s.split == "test")


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in a folder, sorted, hidden ones left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def first_file(candidates: list[Path]) -> Path | None:
    """The first of these paths that is a file."""
    return next((path for path in candidates if path.is_file()), None)


def relative_name(path: Path, root: Path) -> str:
    """Name of a file below the data set's folder, with slashes."""
    return path.relative_to(root).as_posix()


def refuse_empty(name: str, root: Path, samples: list[ImageSample], expected: str) -> None:
    """Refuse a folder in which nothing was found.

    Raises:
        InputError: says what the layout keeps where.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; expected the data set {name}: {expected}")
    if not samples:
        raise InputError(f"{root} holds no image of {name}; expected {expected}")
