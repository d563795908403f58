"""Which files of a folder are images, and what the others are: every one is listed or counted, none passed over.

Names only; nothing is opened. Files come folder by folder, in the order of their names. Links to folders are followed
once, after the real folders, so that a circle of links ends and no picture is met twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.errors import ImageError
from reason_iad.images.limits import HEIC_SUFFIXES, readable_suffixes

# Endings of pictures that are not read here; to see them left out surprises more than to see a text left out.
OTHER_PICTURES = frozenset(
    {".jxl", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".raw", ".dcm", ".psd"}
    | {".svg", ".ico", ".tga", ".jxr", ".fits", ".mp4", ".avi", ".mov"}
    | HEIC_SUFFIXES
)
REPORT_MARK = ".reason-iad"  # a file in each folder of reports: its pictures are no images of the lot


@dataclass(frozen=True, slots=True)
class LotImage:
    """A file that is inspected.

    Attributes:
        path: where it is.
        place: what tables and reports call it: relative to the lot, with forward slashes.
    """

    path: Path
    place: str


@dataclass
class Lot:
    """The images of what was given, and what was left out."""

    images: list[LotImage] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # how many, by kind
    problems: list[tuple[str, str]] = field(default_factory=list)  # place and why it could not be looked into

    def left_out_phrase(self) -> str:
        """What was left out, by kind, the most frequent first: `3 .txt, 1 link to a folder`.

        >>> Lot(left_out=Counter({".txt": 3, "hidden file": 1})).left_out_phrase()
        '3 .txt, 1 hidden file'
        """
        ordered = sorted(self.left_out.items(), key=lambda one: (-one[1], one[0]))
        return ", ".join(f"{count:,} {_plural(kind, count)}" for kind, count in ordered)

    def phrase(self) -> str:
        """How many images there are, and what was left out."""
        count = len(self.images)
        images = f"{count:,} image{'' if count == 1 else 's'}"
        return f"{images}; left out: {self.left_out_phrase()}" if self.left_out else images


def find_lot(
    given: Sequence[str | Path], outputs: Iterable[Path] = (), say: Callable[[int], None] | None = None
) -> Lot:
    """Look through files and folders for images.

    Args:
        given: files, which are taken whatever their name ends with, and folders.
        outputs: folders that this run writes into; what is in them is left out.
        say: called now and then with the number of images found so far.
    """
    lot = Lot()
    walk = _Walk(lot, {path for path in map(_identity, outputs) if path is not None}, readable_suffixes(), say)
    names = list(dict.fromkeys(str(one) for one in given))  # what is named twice is inspected once
    several = len(names) > 1
    bases = Counter(Path(name).name for name in names)
    for name in names:
        path = Path(name)
        try:
            is_folder = path.is_dir()
            exists = is_folder or path.exists()
        except (OSError, ValueError) as error:
            lot.problems.append((name, f"{name!r} cannot be looked at ({error}); expected an image or a folder"))
            continue
        label = path.name if bases[path.name] == 1 and path.name else name.rstrip("/") or name
        if is_folder:
            before = len(lot.images), len(lot.problems), lot.left_out.copy()
            walk.folder(path, f"{label}/" if several else "")
            if (len(lot.images), len(lot.problems)) == before[:2]:
                lot.problems.append((label, _no_image(path, Lot(left_out=lot.left_out - before[2]))))
        elif exists:
            lot.images.append(LotImage(path, label))
        else:
            lot.problems.append(
                (label, f"{path} does not exist; expected an image file or a folder of images: check the path")
            )
    return lot


def find_images(path: str | Path) -> list[Path]:
    """The image files under a folder in name order, or the one file itself.

    Raises:
        ImageError: nothing is there, or the folder holds no image.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path} does not exist; expected an image file or a folder of images")
    lot = find_lot([path])
    if not lot.images:
        raise ImageError(lot.problems[0][1])
    return [image.path for image in lot.images]


def _no_image(path: str | Path, lot: Lot) -> str:
    """Say that a folder holds no image, and what it does hold."""
    found = f"; found {lot.left_out_phrase()}" if lot.left_out else ""
    return f"{path} holds no image{found}; expected files ending in {', '.join(sorted(readable_suffixes()))}"


@dataclass
class _Walk:
    """One walk; folders are told apart by device and number, so that links and mounts lead nowhere twice."""

    lot: Lot
    seen: set[tuple[int, int]]
    suffixes: frozenset[str]
    say: Callable[[int], None] | None = None
    links: list[tuple[Path, str]] = field(default_factory=list)

    def folder(self, path: Path, prefix: str) -> None:
        """Walk through a folder, and then through the folders that links in it lead to."""
        self._enter(path, prefix, "report folder")
        while self.links:
            self._enter(*self.links.pop(0), "link to a folder that was looked through already")

    def _enter(self, path: Path, prefix: str, otherwise: str) -> None:
        identity = _identity(path)
        if identity is None or identity in self.seen:
            self.lot.left_out["broken link" if identity is None else otherwise] += 1
            return
        self.seen.add(identity)
        try:
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.lot.problems.append(
                (
                    prefix or str(path),
                    f"the folder {path} cannot be looked into ({error.strerror}); check its permissions",
                )
            )
            return
        if any(entry.name == REPORT_MARK for entry in entries):
            self.lot.left_out["report folder"] += 1
            return
        for entry in entries:
            self._entry(entry, prefix)

    def _entry(self, entry: os.DirEntry[str], prefix: str) -> None:
        path, place = Path(entry.path), prefix + entry.name
        try:
            is_folder, is_file, is_link = entry.is_dir(), entry.is_file(), entry.is_symlink()
        except OSError as error:
            self.lot.problems.append((place, f"{path} cannot be looked at ({error.strerror}); check its permissions"))
            return
        if entry.name.startswith("."):  # with "._001.jpg", in which macOS keeps what the file system cannot
            self.lot.left_out["hidden folder" if is_folder else "hidden file"] += 1
        elif is_folder and is_link:
            self.links.append((path, f"{place}/"))
        elif is_folder:
            self._enter(path, f"{place}/", "report folder")
        elif is_file:
            self._file(path, place)
        else:
            self.lot.left_out["broken link" if is_link else "no regular file"] += 1

    def _file(self, path: Path, place: str) -> None:
        suffix = path.suffix.lower()
        if suffix not in self.suffixes:
            cannot = " (cannot be read here)" if suffix in OTHER_PICTURES else ""
            self.lot.left_out[f"{suffix}{cannot}" if suffix else "file without an ending"] += 1
            return
        self.lot.images.append(LotImage(path, place))
        if self.say is not None and len(self.lot.images) % 20_000 == 0:
            self.say(len(self.lot.images))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _plural(kind: str, count: int) -> str:
    """Write a kind for a number of files: `2 hidden files`, `2 links to a folder ...`, `2 .txt`."""
    if count == 1 or kind.startswith("."):
        return kind
    for single, several in (
        ("file without", "files without"),
        ("link to a folder that was", "links to folders that were"),
        ("no regular file", "that are no regular files"),
    ):
        if kind.startswith(single):
            return kind.replace(single, several)
    return f"{kind}s"
