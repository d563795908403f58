"""Looking through a folder again and again: only what has changed since the last look is read again.

A folder's time changes when a file in it comes, goes or is put in another's place; a file that is written to in place
changes its own time alone. So a quick look asks every folder for its time and reads those that changed; a whole look
reads all and offers every file for a closer look.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.images.limits import readable_suffixes
from reason_iad.images.lot import Listing, LotImage, list_folder

SEEN_ALREADY = "link to a folder that was looked through already"
SETTLED = 3_000_000_000  # nanoseconds: the coarsest clock of a file system ticks every two seconds


@dataclass
class Look:
    """What one look found."""

    images: list[tuple[LotImage, tuple[int, int]]] = field(default_factory=list)  # new, other files than before, or
    # perhaps written to; with device and number of each
    gone: list[str] = field(default_factory=list)  # places
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Held:
    """What a folder held when it was last read."""

    identity: tuple[int, int]
    changed: int | None  # its time; None where it may have changed within the same tick of the clock
    images: dict[str, int]  # number of each file by name
    folders: tuple[str, ...]
    links: tuple[str, ...]
    left_out: Counter[str]


class FolderLooks:
    """Finds what comes into a folder and what goes, by the rules of a lot (`images.lot`)."""

    def __init__(self, root: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._root, self._clock = root, clock
        self._suffixes = readable_suffixes()
        self._held: dict[str, _Held] = {}  # by place: empty, or ending in a slash

    def look(self, outputs: Iterable[Path] = (), whole: bool = False) -> Look:
        """Look once; `outputs` are folders that are written meanwhile, and left out."""
        look, before, self._held = Look(), self._held, {}
        seen = {(s.st_dev, s.st_ino) for s in map(_status, outputs) if s is not None}
        links: list[str] = []
        self._enter("", "report folder", look, before, seen, links, whole)
        while links:
            self._enter(
                links.pop(0), "link to a folder that was looked through already", look, before, seen, links, whole
            )
        for place, held in before.items():
            if place not in self._held:
                look.gone += [place + name for name in held.images]
        return look

    def _enter(
        self,
        place: str,
        otherwise: str,
        look: Look,
        before: dict[str, _Held],
        seen: set[tuple[int, int]],
        links: list[str],
        whole: bool,
    ) -> None:
        status = _status(self._root / place)
        if status is None or (status.st_dev, status.st_ino) in seen:
            look.left_out["broken link" if status is None else otherwise] += 1
            return
        seen.add((status.st_dev, status.st_ino))
        earlier = before.get(place)
        held = earlier
        if whole or earlier is None or earlier.changed != status.st_mtime_ns:
            try:
                held = self._read(place, status)
            except OSError:  # it is locked for now, or goes at this moment: what it held is not known to be gone
                held = earlier
            else:
                self._compare(place, held, earlier, look, whole)
        if held is None:
            look.left_out["folder that cannot be looked into"] += 1
            return
        self._held[place] = held
        look.left_out += held.left_out
        links += [f"{place}{name}/" for name in held.links]
        for name in held.folders:
            self._enter(f"{place}{name}/", "report folder", look, before, seen, links, whole)

    def _read(self, place: str, status: os.stat_result) -> _Held:
        quiet = self._clock() - status.st_mtime_ns > SETTLED
        listing: Listing = list_folder(self._root / place, self._suffixes)
        left_out = listing.left_out + Counter({"file that cannot be looked at": len(listing.problems)})
        return _Held(
            (status.st_dev, status.st_ino),
            status.st_mtime_ns if quiet else None,
            {name: number for name, kind, number in listing.entries if kind == "image"},
            tuple(name for name, kind, _ in listing.entries if kind == "folder"),
            tuple(name for name, kind, _ in listing.entries if kind == "link"),
            left_out,
        )

    def _compare(self, place: str, held: _Held, earlier: _Held | None, look: Look, whole: bool) -> None:
        known = {} if earlier is None else earlier.images
        for name, number in held.images.items():
            if whole or known.get(name) != number:
                image = LotImage(self._root / place / name, place + name)
                look.images.append((image, (held.identity[0], number)))
        look.gone += [place + name for name in known if name not in held.images]


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
