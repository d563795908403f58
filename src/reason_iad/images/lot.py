"""Which files of a folder are images, and what the others are: every one is listed or counted, none passed over.

Names only; nothing is opened. Files come folder by folder, in the order of their names. Links to folders are followed
once, after the real folders, so that a circle of links ends and no picture is met twice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.errors import ImageError
from reason_iad.images.limits import HEIC_SUFFIXES, readable_suffixes
from reason_iad.languages import translatable

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
        return translatable(f"{images}; left out: {self.left_out_phrase()}") if self.left_out else images


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
    reports = frozenset(path for path in map(_identity, outputs) if path is not None)
    walk = _Walk(lot, reports, readable_suffixes(), say)
    names = list({_absolute(one): str(one) for one in given}.values())  # what is named twice is inspected once
    several = len(names) > 1
    bases = Counter(Path(name).name for name in names)
    for name in names:
        path = Path(name)
        try:
            is_folder = path.is_dir()
            exists = is_folder or path.exists()
        except (OSError, ValueError) as error:
            why = translatable(f"{name!r} cannot be looked at ({error}); expected an image or a folder")
            lot.problems.append((name, why))
            continue
        label = path.name if bases[path.name] == 1 and path.name else name.rstrip("/") or name
        if is_folder:
            before = len(lot.images), len(lot.problems), lot.left_out.copy()
            is_new = _identity(path) not in walk.seen
            walk.folder(path, f"{label}/" if several else "")
            if is_new and (len(lot.images), len(lot.problems)) == before[:2]:
                lot.problems.append((label, _no_image(path, Lot(left_out=lot.left_out - before[2]))))
        elif exists:
            lot.images.append(LotImage(path, label))
        else:
            why = translatable(f"{path} does not exist; expected an image file or a folder of images: check the path")
            lot.problems.append((label, why))
    if several:
        _keep_once(lot)
    return lot


def _keep_once(lot: Lot) -> None:
    """Inspect once what was named and also lies in a folder that was named."""
    once = {_absolute(image.path): image for image in reversed(lot.images)}
    if len(once) < len(lot.images):
        lot.left_out["image that was named twice"] += len(lot.images) - len(once)
        lot.images = list(reversed(once.values()))


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
    expected = ", ".join(sorted(readable_suffixes()))
    return translatable(f"{path} holds no image{found}; expected files ending in {expected}")


@dataclass
class _Walk:
    """One walk; folders are told apart by device and number, so that links and mounts lead nowhere twice."""

    lot: Lot
    reports: frozenset[tuple[int, int]]  # folders that this run writes
    suffixes: frozenset[str]
    say: Callable[[int], None] | None = None
    seen: set[tuple[int, int]] = field(default_factory=set)
    links: list[tuple[Path, str]] = field(default_factory=list)

    def folder(self, path: Path, prefix: str) -> None:
        """Walk through a folder, and then through the folders that links in it lead to."""
        self._enter(path, prefix)
        while self.links:
            self._enter(*self.links.pop(0), is_link=True)

    def _enter(self, path: Path, prefix: str, is_link: bool = False) -> None:
        identity = _identity(path)
        if identity is None or identity in self.reports or identity in self.seen:
            self.lot.left_out[_why_not_entered(identity, self.reports, is_link)] += 1
            return
        self.seen.add(identity)
        try:
            listing = list_folder(path, self.suffixes)
        except OSError as error:
            self.lot.problems.append((prefix or str(path), cannot_look_into(path, error)))
            return
        self.lot.left_out += listing.left_out
        self.lot.problems += [(prefix + name, why) for name, why in listing.problems]
        for name, kind, _ in listing.entries:
            if kind == "link":
                self.links.append((path / name, f"{prefix}{name}/"))
            elif kind == "folder":
                self._enter(path / name, f"{prefix}{name}/")
            else:
                self._image(LotImage(path / name, prefix + name))

    def _image(self, image: LotImage) -> None:
        self.lot.images.append(image)
        if self.say is not None and len(self.lot.images) % 20_000 == 0:
            self.say(len(self.lot.images))


def _why_not_entered(identity: tuple[int, int] | None, reports: Set[tuple[int, int]], is_link: bool) -> str:
    if identity is None:
        return "broken link"
    if identity in reports:
        return "report folder"
    return "link to a folder that was looked through already" if is_link else "folder that was looked through already"


@dataclass(slots=True)
class Listing:
    """What one folder holds itself."""

    entries: list[tuple[str, str, int]] = field(default_factory=list)  # name; image, folder or link to one; file number
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)  # name, and why it could not be looked at


def list_folder(path: str | Path, suffixes: frozenset[str]) -> Listing:
    """Tell images, folders and what is left out of one folder apart, without opening or following any.

    Raises:
        OSError: the folder cannot be looked into.
    """
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    listing = Listing()
    if any(entry.name == REPORT_MARK for entry in entries):
        listing.left_out["report folder"] += 1
        return listing
    for entry in entries:
        try:
            kind = _kind(entry, suffixes)
        except OSError as error:
            why = translatable(f"{entry.path} cannot be looked at ({error.strerror}); check its permissions")
            listing.problems.append((entry.name, why))
            continue
        if kind in ("image", "folder", "link"):
            listing.entries.append((entry.name, kind, entry.inode()))
        else:
            listing.left_out[kind] += 1
    return listing


def _kind(entry: os.DirEntry[str], suffixes: frozenset[str]) -> str:
    """What is in a folder under one name; anything but image, folder and link is why it is left out."""
    is_folder, is_file, is_link = entry.is_dir(), entry.is_file(), entry.is_symlink()
    if entry.name.startswith("."):  # with "._001.jpg", in which macOS keeps what the file system cannot
        return "hidden folder" if is_folder else "hidden file"
    if is_folder:
        return "link" if is_link else "folder"
    if not is_file:
        return "broken link" if is_link else "no regular file"
    suffix = Path(entry.name).suffix.lower()
    if suffix in suffixes:
        return "image"
    cannot = " (cannot be read here)" if suffix in OTHER_PICTURES else ""
    return f"{suffix}{cannot}" if suffix else "file without an ending"


def cannot_look_into(path: str | Path, error: OSError) -> str:
    """Say that a folder is locked."""
    return translatable(f"the folder {path} cannot be looked into ({error.strerror}); check its permissions")


def _absolute(path: str | Path) -> str:
    """A path without dots and doubled slashes; links in it stay what they are."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve follows links


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
        ("folder that was", "folders that were"),
        ("folder that cannot", "folders that cannot"),
        ("image that was", "images that were"),
        ("no regular file", "that are no regular files"),
    ):
        if kind.startswith(single):
            return kind.replace(single, several)
    return f"{kind}s"
