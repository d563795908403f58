"""A hot folder: a camera drops images, each is inspected once, and one that is still being written is waited for."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import ImageError, InputError
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from reason_iad.cli.batch import Loader
    from reason_iad.cli.recorder import Recorder
    from reason_iad.images import LoadedImage
    from reason_iad.reporting.folder import ReportFolder

Stamp = tuple[int, int]  # bytes and time of change, in nanoseconds


@dataclass
class HotFolder:
    """Says which images of a folder are complete and new.

    A file counts as complete when its size and time have not changed for `settle` seconds and it can be decoded. One
    that is quiet but cannot be decoded is given up after `patience` seconds: then it is damaged, not unfinished.
    """

    path: Path
    settle: float = 0.5
    patience: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[Stamp, float]] = field(default_factory=dict)
    _done: dict[Path, Stamp] = field(default_factory=dict)

    def ready(self) -> list[tuple[Path, str | None]]:
        """Images that became complete since the last call, by name; with the reason where one is damaged."""
        from reason_iad.images import SUFFIXES, read_image

        found: list[tuple[Path, str | None]] = []
        now = self.clock()
        for path in sorted(p for p in self.path.rglob("*") if p.suffix.lower() in SUFFIXES):
            try:
                status = path.stat()
            except OSError:  # gone again
                continue
            stamp = (status.st_size, status.st_mtime_ns)
            if self._done.get(path) == stamp:
                continue
            before, since = self._seen.get(path, ((-1, -1), now))
            if before != stamp:
                self._seen[path] = (stamp, now)
                continue
            if now - since < self.settle:
                continue
            try:
                read_image(path)
            except ImageError as error:
                if now - since >= self.patience:
                    self._done[path] = stamp
                    found.append((path, str(error)))
                continue
            self._done[path] = stamp
            found.append((path, None))
        return found


def watch(
    args: argparse.Namespace,
    references: Sequence[LoadedImage],
    choices: tuple[str, ...],
    load_inspector: Loader,
    folder: ReportFolder | None,
    record: Recorder | None,
    sleep: Callable[[float], None] = time.sleep,
    settle: float = 0.5,
) -> int:
    """Inspect every image that is in the folder or comes into it, until interrupted; the exit code as of `inspect`.

    Images that `--out` has a report of are not inspected again, so a restart goes on where it stopped.

    Raises:
        InputError: not one folder, or several processes were asked for.
    """
    from reason_iad.cli.batch import Job, inspect_all
    from reason_iad.cli.inspect import ReportPrinter
    from reason_iad.cli.progress import Progress
    from reason_iad.images import read_image

    if len(args.images) != 1 or not Path(args.images[0]).is_dir():
        raise InputError(f"found {' '.join(args.images)}; expected one folder with --watch")
    if args.jobs > 1:
        raise InputError("found --jobs with --watch; expected one of them: a hot folder is inspected by one process")
    hot = HotFolder(Path(args.images[0]), settle)
    progress = Progress(1)
    inspector = load_inspector(args, progress.say)
    earlier = {} if folder is None else folder.earlier()
    if folder is not None:
        for name, report in earlier.values():
            folder.add_page(name, report)
    pixels, shown, failed = tuple(image.pixels for image in references), ReportPrinter(args.json, True), False
    keep = None if record is None else record.keep
    print(f"reason-iad: watching {hot.path}; stop with Ctrl+C", file=sys.stderr)
    try:
        while True:
            news = hot.ready()
            for path, problem in news:
                if problem is None and read_image(path).sha256 in earlier:
                    continue
                job = Job(path, InspectionRequest(path, args.category, pixels, args.question, choices))
                failures = (
                    [(job, problem)] if problem else inspect_all([job], inspector, progress, shown, folder, keep=keep)
                )
                for _, message in failures:
                    failed = True
                    print(f"reason-iad: error: {message}", file=sys.stderr)
                    if problem and folder is not None:
                        folder.add_failure(path.name, problem)
            if news and folder is not None:
                folder.finish()  # the index is always up to date
            sleep(0.25)
    except KeyboardInterrupt:
        progress.clear()
        if folder is not None:
            print(f"report: {folder.finish()}", file=sys.stderr if args.json else sys.stdout)
    if failed:
        return 2
    return shown.exit_code if args.exit_code else 0
