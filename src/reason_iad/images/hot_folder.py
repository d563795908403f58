"""A hot folder: which of its images are complete and new, whatever is done to its files meanwhile.

The folder is looked through again and again; there is no service of the system that also tells of a network share's
files, of a share that is gone and comes back, and of events that were lost (docs/choices.md has the measurements).
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reason_iad.errors import ImageError
from reason_iad.files import sha256, sha256_of_file
from reason_iad.images.folder_looks import FolderLooks
from reason_iad.images.limits import LoadedImage
from reason_iad.images.lot import Lot, LotImage
from reason_iad.images.reading import read_image

MOST_REMEMBERED = 200_000  # files that came and went
SHARE_OF_TIME = 0.1  # that looking through the folder may take
SHORTEST_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 2.0  # seconds; a look that a share or a sleeping machine held up must not put off the next for long
LONGEST_WHOLE = 60.0  # seconds between two looks at every file
RETRY = 1.0  # seconds until a file that could not be decoded is tried again

_WENT = (-1, -1)  # bytes and time of a file whose name was read, and that was gone when it was looked at
Stamp = tuple[int, int, int]  # device and number, bytes, time of change in nanoseconds: the same after a move


@dataclass(frozen=True)
class Arrival:
    """One image that is complete, or the reason why there is none."""

    image: LotImage
    loaded: LoadedImage | None
    problem: str | None = None


@dataclass
class _Seen:
    """What was last seen of a file that is not done."""

    image: LotImage
    stamp: Stamp
    since: float  # when it began to look like that
    tried: float = 0.0  # when it could not be decoded, at last
    trouble: str = ""


@dataclass
class HotFolder:
    """Says which images of a folder are complete and new.

    A file counts as complete when its size and time have not changed for `settle` seconds and it can be decoded. One
    that is quiet but cannot be decoded is given up after `patience` seconds: then it is damaged, not unfinished. What
    was inspected is known by its place and by its content, so that a file that moves, a folder that comes back, and a
    restart inspect nothing twice.
    """

    path: Path
    settle: float = 0.5
    patience: float = 10.0
    clock: Callable[[], float] = time.monotonic
    outputs: tuple[Path, ...] = ()  # folders that are written meanwhile; what is in them is left out
    read: Callable[[Path, str], LoadedImage] = lambda path, name: read_image(path, name=name)
    left_out: str = ""
    more: bool = False  # whether the last look ended before all that was complete was taken
    passed_over: Counter[str] = field(default_factory=Counter)  # files that were inspected already, by why they are met
    _seen: dict[str, _Seen] = field(default_factory=dict)  # by place
    _done: dict[str, Stamp] = field(default_factory=dict)  # of files that are there, by place
    _stamps: OrderedDict[Stamp, str] = field(default_factory=OrderedDict)  # of all that are done, with their SHA-256
    _contents: OrderedDict[str, str] = field(default_factory=OrderedDict)  # digests of place and content
    _replaced: list[LotImage] = field(default_factory=list)
    _gone: bool = False
    _took: float = 0.0
    _whole_due: float = 0.0  # when every file is to be looked at again

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self._looks = FolderLooks(self.path)

    def know(self, place: str, sha256: str) -> None:
        """Say that an image was inspected by an earlier run."""
        _remember(self._contents, _content(place, sha256))

    @property
    def pause(self) -> float:
        """Seconds until it is worth looking again: the larger the folder, the longer."""
        return min(max(SHORTEST_PAUSE, self._took / SHARE_OF_TIME), LONGEST_PAUSE)

    @property
    def waiting(self) -> list[str]:
        """Places of the files that are there and not complete."""
        return sorted(self._seen)

    def arrivals(self, say: Callable[[str], None] = lambda _: None) -> Iterator[Arrival]:
        """Look once: images that became complete since the last look, oldest first, and those that never will.

        Each is read when it is asked for, so that a thousand of them need the memory of one. It ends early, with `more`
        set, when it is time to look again: what comes and goes while others are inspected shall be seen too.
        """
        began = time.perf_counter()
        self.more = False
        if not self.path.is_dir():
            if not self._gone:
                say(f"{self.path} is gone; waiting for it to come back")
            self._gone = True
            return
        if self._gone:
            say(f"{self.path} is back")
            self._gone = False
        whole, held = began >= self._whole_due, dict(self._seen)
        gone = self._look(whole)
        if gone:  # perhaps moved to where the look had been already: only a second one tells
            gone += self._look(False)
        yield from self._vanished(gone)
        while self._replaced:
            image = self._replaced.pop()
            yield Arrival(
                image, None, f"{image.place} was replaced before it could be inspected; the new one is waited for"
            )
        same = (one for place, one in held.items() if self._seen.get(place) is one)
        ready = sorted(filter(self._is_ready, same), key=lambda one: one.since)
        took = time.perf_counter() - began
        if whole:
            rest = took / SHARE_OF_TIME
            self._whole_due = began + min(rest if rest > SHORTEST_PAUSE else 0.0, LONGEST_WHOLE)
        else:  # a whole look, which is seldom, does not put off the next quick one
            self._took = took
        for left, seen in enumerate(ready, 1 - len(ready)):
            arrival = self._take(seen)
            if arrival is not None:
                yield arrival
            if left and time.perf_counter() - began > self.pause:
                self.more = True
                return

    def _look(self, whole: bool) -> list[_Seen]:
        """Note what is there; gives what is not there any more and was not done."""
        look = self._looks.look(self.outputs, whole)
        self.left_out = Lot(left_out=look.left_out).left_out_phrase()
        gone = []
        for place in look.gone:
            self._done.pop(place, None)
            seen = self._seen.pop(place, None)
            gone += [] if seen is None else [seen]
        for seen in list(self._seen.values()):
            self._note(seen.image, seen.stamp[0])
        for image, identity in look.images:
            self._note(image, hash(identity))
        return gone

    def _note(self, image: LotImage, which: int) -> None:
        """See whether a file is new, or another than the one that was seen under its name."""
        seen = self._seen.get(image.place)
        stamp, now = _stamp(image.path) or (which, *_WENT), self.clock()
        if self._done.get(image.place) == stamp or (seen is not None and (seen.stamp == stamp or stamp[1:] == _WENT)):
            return
        # A file that grows is still written; one that was quiet and now has no more bytes is another one.
        if seen is not None and not seen.trouble and now - seen.since >= self.settle and stamp[1] <= seen.stamp[1]:
            self._replaced.append(image)
        self._seen[image.place] = _Seen(image, stamp, now)

    def _is_ready(self, seen: _Seen) -> bool:
        """Whether a file has been quiet for long enough."""
        now = self.clock()
        quiet = now - seen.since
        again = now - seen.tried >= RETRY or quiet >= self.patience
        return quiet >= self.settle and (not seen.trouble or again)

    def _take(self, seen: _Seen) -> Arrival | None:
        """Read a file that is ready; None where it has to be waited for, or was inspected already."""
        image, stamp = seen.image, _stamp(seen.image.path)
        if stamp != seen.stamp:  # it was changed, moved or removed since it was looked at
            return None
        now = self.clock()
        if self._was_moved(image.path, stamp):
            self._finish(image, stamp, self._stamps[stamp])
            self.passed_over["moved"] += 1
            return None
        try:
            loaded = self.read(image.path, image.place)
        except ImageError as error:
            seen.tried, seen.trouble = now, str(error)
            if now - seen.since < self.patience or _stamp(image.path) is None:
                return None
            self._finish(image, stamp)
            return Arrival(image, None, str(error))
        if _stamp(image.path) not in (stamp, None):  # written to while it was read: not that file any more
            return None
        self._finish(image, stamp, loaded.sha256)
        content = _content(image.place, loaded.sha256)
        if content in self._contents:
            self.passed_over["with the same content"] += 1
            return None
        _remember(self._contents, content)
        return Arrival(image, loaded)

    def _was_moved(self, path: Path, stamp: Stamp) -> bool:
        """Whether a file was inspected under another name. Numbers of files are used again, so the content decides."""
        known = self._stamps.get(stamp)
        if not known:
            return False
        try:
            return sha256_of_file(path) == known
        except OSError:
            return False

    def _finish(self, image: LotImage, stamp: Stamp, digest: str = "") -> None:
        self._seen.pop(image.place, None)
        self._done[image.place] = stamp
        _remember(self._stamps, stamp, digest)

    def _vanished(self, gone: Iterable[_Seen]) -> Iterator[Arrival]:
        """Say which files went before they could be inspected."""
        waiting = {one.stamp for one in self._seen.values()}
        for seen in gone:
            if seen.stamp in waiting or seen.stamp in self._stamps:  # moved
                continue
            if seen.stamp[1:] == _WENT and any(seen.stamp[0] == one[0] for one in (*waiting, *self._stamps)):
                continue  # it had another name before it could be looked at
            why = f" (it could not be read: {seen.trouble})" if seen.trouble else ""
            yield Arrival(seen.image, None, f"{seen.image.place} was removed before it could be inspected{why}")


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    which = (status.st_dev, status.st_ino) if status.st_ino else (status.st_dev, str(path))  # some shares have none
    return hash(which), status.st_size, status.st_mtime_ns


def _content(place: str, digest: str) -> str:
    return sha256(place, "\0", digest)[:16]


def _remember(kept: OrderedDict[Any, str], key: object, value: str = "") -> None:
    kept[key] = value
    if len(kept) > MOST_REMEMBERED:
        kept.popitem(last=False)
