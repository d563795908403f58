"""Watching a hot folder: a camera drops images, each is inspected once, and nothing that happens to them ends it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.batch import InspectsImages, Loader, inspect_all, one_by_one
from reason_iad.cli.lot import LotPrinter, Plan, reference_digests
from reason_iad.cli.progress import Progress
from reason_iad.images.hot_folder import Arrival, HotFolder
from reason_iad.languages import note, translatable

if TYPE_CHECKING:
    from reason_iad.cli.recorder import Recorder
    from reason_iad.images import LoadedImage
    from reason_iad.reporting.folder import ReportFolder

INDEX_PAUSE = 10.0  # seconds between two writings of the index, at least
SHARE_OF_TIME = 0.05  # that writing the index may take


def watch(
    args: argparse.Namespace,
    plan: Plan,
    load_inspector: Loader,
    folder: ReportFolder | None,
    record: Recorder | None,
    sleep: Callable[[float], None] = time.sleep,
    settle: float = 0.5,
) -> int:
    """Inspect every image that comes into a folder until it is stopped; returns the exit code."""
    progress = Progress(1)
    printer = LotPrinter(
        args.json, True, args.verbose, plan.request.question, reference_digests(plan), clear=progress.clear
    )
    outputs = tuple(one for one in (args.out, args.record) if one is not None)

    def read(path: Path, name: str) -> LoadedImage:
        from reason_iad.images import read_image

        return read_image(path, name=name, scale=plan.scale)

    hot = HotFolder(Path(args.images[0]), settle, outputs=outputs, read=read)
    inspector = load_inspector(args, progress.say)
    taken = 0
    for sha256, row in () if folder is None else folder.take_all_earlier():
        hot.know(row.name, sha256)
        taken += 1
    index, current = _Index(folder), ""
    progress.say(f"watching {hot.path}; stop with Ctrl+C\n")
    try:
        while True:
            for arrival in hot.arrivals(lambda message: progress.say(f"{message}\n")):
                current = arrival.image.place
                _inspect(arrival, plan, inspector, printer, folder, record)
                current, index.due = "", True
            index.write()
            if not hot.more:
                sleep(hot.pause)
    except KeyboardInterrupt:
        pass
    finally:
        progress.close()
        for reason, count in sorted(hot.passed_over.items()):
            note(f"{count:,} inspected already ({reason})")
        broken_off = [current] if current and folder is not None and folder.last != current else []
        for place in (*broken_off, *hot.waiting):
            message = translatable(f"{place} was not complete, or its turn had not come, when watching ended")
            printer.fail(None, message)
            if folder is not None:
                folder.add_failure(place, message)
        printer.finish(hot.left_out, folder, taken)
    if printer.summary.failed:
        return 2
    return printer.exit_code if args.exit_code else 0


def _inspect(
    arrival: Arrival,
    plan: Plan,
    inspector: InspectsImages,
    printer: LotPrinter,
    folder: ReportFolder | None,
    record: Recorder | None,
) -> None:
    job = plan.job(arrival.image, arrival.loaded)
    if arrival.problem is not None:
        printer.fail(job, arrival.problem)
        if folder is not None:
            folder.add_failure(job.name, arrival.problem)
        return
    keep = None if record is None else record.keep
    inspect_all(one_by_one([job], lambda: inspector), printer.show, printer.fail, folder, keep)


@dataclass
class _Index:
    """Keeps the index nearly up to date, for a small share of the time."""

    folder: ReportFolder | None
    due: bool = False
    _next: float = 0.0

    def write(self) -> None:
        """Write the index where something is new and the last writing was long enough ago."""
        if self.folder is None or not self.due or time.monotonic() < self._next:
            return
        began = time.monotonic()
        self.folder.finish()
        self.due = False
        now = time.monotonic()
        self._next = now + max(INDEX_PAUSE, (now - began) / SHARE_OF_TIME)
