"""Inspecting a lot: each image is read once, at its turn; what is printed, counted, taken over and left out."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reason_iad.cli.batch import InspectsImages, Job, Loader, inspect_all, one_by_one
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.languages import _, note, say, told
from reason_iad.reporting.lines import LotSummary, render_line
from reason_iad.types import InspectionReport, InspectionRequest
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.cli.progress import Progress
    from reason_iad.cli.recorder import Recorder
    from reason_iad.images import LoadedImage, Lot, LotImage, Scale
    from reason_iad.reporting.folder import ReportFolder

DEFECTS_FOUND, UNCERTAIN_FOUND = 3, 4


@dataclass(frozen=True)
class Plan:
    """What is asked about every image of a lot; `request` is complete but for the image."""

    request: InspectionRequest
    scale: Scale | None = None  # by which the references were read
    faithfulness: bool = False
    jobs: int = 1  # processes

    def job(self, image: LotImage, loaded: Any = None) -> Job:
        """The job for one image, which may have been read already."""
        # The name travels with the job: a request that is built for each image would copy the references' tuple.
        request = InspectionRequest(
            image.path if loaded is None else loaded,
            self.request.category,
            self.request.references,
            self.request.question,
            self.request.choices,
        )
        return Job(image.path, request, faithfulness=self.faithfulness, place=image.place, scale=self.scale)


@dataclass
class LotPrinter:
    """Prints reports and errors as they come, and remembers what the summary needs."""

    as_json: bool
    several: bool
    verbose: bool = False
    question: str | None = None
    references: frozenset[str] = frozenset()  # SHA-256
    summary: LotSummary = field(default_factory=LotSummary)
    errors: list[str] = field(default_factory=list)  # of a single image
    began: float = field(default_factory=time.monotonic)
    clear: Callable[[], None] = lambda: None  # takes the progress away

    @property
    def exit_code(self) -> int:
        """What `--exit-code` promises."""
        if self.summary.verdicts["defective"]:
            return DEFECTS_FOUND
        return UNCERTAIN_FOUND if self.summary.verdicts["uncertain"] else 0

    def show(self, job: Job, report: InspectionReport) -> None:
        """Print one report."""
        from reason_iad.reporting.text import render_text, wants_color

        self.clear()
        self.summary.add(report)
        if report.image_sha256 in self.references:
            note(f"warning: {job.name} is its own reference; it will look normal")
        color, width = wants_color(sys.stdout), min(shutil.get_terminal_size((120, 24)).columns, 160)
        if self.as_json:
            print(report.to_json(indent=None if self.several else 2))
        elif self.several and not self.verbose:
            # A line is cut only where it would break: a log or a program gets the whole of it.
            print(render_line(report, self.question, color=color, width=width if sys.stdout.isatty() else 10_000))
        else:
            print(render_text(report, color=color, width=min(width, 120)), end="\n\n" if self.several else "\n")

    def fail(self, job: Job | None, message: str) -> None:
        """Say that an image could not be inspected."""
        self.clear()
        self.summary.failed += 1
        if self.several:
            note(_("error: {message}", message=told(message)))
        else:
            self.errors.append(message)

    def finish(self, left_out: str, folder: ReportFolder | None, taken: int = 0) -> None:
        """Print what is true of the whole lot, once, and where the reports are."""
        stream = sys.stderr if self.as_json else sys.stdout
        self.clear()
        if self.several and (self.summary.count or self.summary.failed or taken):
            said = self.summary.text(time.monotonic() - self.began, left_out)
            print(said, file=stream)
            if taken:
                say(f"reports of an earlier run: {taken:,}", file=stream)
        if folder is not None:
            folder.left_out = left_out
            print(_("report: {path}", path=folder.finish()), file=stream)
        stream.flush()


def look_for_images(args: argparse.Namespace) -> Lot:
    """Find the images that were given, and say how many there are and what was left out.

    Raises:
        InputError: the only one that was given is not there, or holds no image.
    """
    from reason_iad.images import find_lot

    def count_up(count: int) -> None:
        note(f"{count:,} images so far")

    lot = find_lot(args.images, [one for one in (args.out, args.record) if one is not None], count_up)
    if len(lot.problems) == 1 and not lot.images:
        raise InputError(lot.problems[0][1])
    if len(lot.images) + len(lot.problems) > 1 or lot.left_out:
        note(lot.phrase())
    return lot


def inspect_lot(
    args: argparse.Namespace,
    lot: Lot,
    plan: Plan,
    load_inspector: Loader,
    folder: ReportFolder | None,
    record: Recorder | None,
) -> int:
    """Inspect the images of a lot; returns the exit code."""
    from reason_iad.cli.progress import Progress

    several = len(lot.images) + len(lot.problems) > 1
    progress = Progress(len(lot.images))
    printer = LotPrinter(
        args.json, several, args.verbose, plan.request.question, reference_digests(plan), clear=progress.clear
    )
    for place, message in lot.problems:
        printer.fail(None, message)
        if folder is not None:
            folder.add_failure(place, message)
    turns = Turns(lot, plan, progress, folder if args.resume else None)
    outcomes = _outcomes(args, plan, turns, progress, load_inspector)
    try:
        inspect_all(outcomes, printer.show, printer.fail, folder, None if record is None else record.keep)
    finally:
        progress.close()
    if printer.errors:
        raise InputError(printer.errors[0])
    printer.finish(lot.left_out_phrase(), folder, turns.taken)
    if printer.summary.failed:
        return 2
    printer.summary.verdicts.update(turns.verdicts)
    return printer.exit_code if args.exit_code else 0


@dataclass
class Turns:
    """Gives the job of each image at its turn, but for those that an earlier run has reported on."""

    lot: Lot
    plan: Plan
    progress: Progress
    resumed: ReportFolder | None = None
    taken: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)  # of what was taken over

    def __iter__(self) -> Iterator[Job]:
        for done, image in enumerate(self.lot.images):
            self.progress.begin(done, image.place)
            if not self._take_over(image):
                yield self.plan.job(image)

    def _take_over(self, image: LotImage) -> bool:
        """Put the report that an earlier run made of this very file on the index."""
        from reason_iad.files import sha256_of_file

        if self.resumed is None:
            return False
        try:
            row = self.resumed.take_earlier(sha256_of_file(image.path), image.place)
        except OSError:  # reading it as an image says what is wrong
            return False
        if row is not None and row.verdict is not None:
            self.taken += 1
            self.verdicts[row.verdict] = self.verdicts.get(row.verdict, 0) + 1
        return row is not None


def _outcomes(
    args: argparse.Namespace, plan: Plan, turns: Turns, progress: Progress, load_inspector: Loader
) -> Iterator[Any]:
    if " + " in args.model and not args.lot:
        from reason_iad.cli.panel import by_panel

        return by_panel(turns, args, load_inspector, progress.say)
    count = min(plan.jobs, len(turns.lot.images))
    if count > 1 or args.ray is not None:
        from reason_iad.cli.parallel import in_processes

        where = f"{counted(count, 'process', 'processes')}" + ("" if args.ray is None else f" on Ray ({args.ray})")
        progress.say(f"loading the model in {where}")
        return in_processes(turns, count, args, load_inspector)
    if args.parallel > 1:
        from reason_iad.cli.parallel import in_threads

        return in_threads(turns, args.parallel, args, load_inspector, progress.say)
    return one_by_one(turns, Loaded(args, progress.say, load_inspector, turns.lot if args.lot else None))


@dataclass
class Loaded:
    """Loads the inspector when it is first called."""

    args: argparse.Namespace
    say: Callable[[str], None]
    load: Loader
    lot: Lot | None = None  # whose images are compared with each other first
    _inspector: InspectsImages | None = None

    def __call__(self) -> InspectsImages:
        """The inspector."""
        if self._inspector is None:
            self._inspector = self.load(self.args, self.say)
            if self.lot is not None:
                self._inspector.compare_lot(
                    _readable(self.lot),
                    lambda done, count: self.say(f"comparing the images of the lot with each other, {done} of {count}"),
                )
        return self._inspector


def _readable(lot: Lot) -> Iterator[LoadedImage]:
    """The images of a lot that can be read; the others are told at their turn."""
    from reason_iad.images import read_image

    for image in lot.images:
        with contextlib.suppress(ReasonIADError):
            yield read_image(image.path, name=image.place)


def reference_digests(plan: Plan) -> frozenset[str]:
    """SHA-256 of each reference."""
    return frozenset(getattr(reference, "sha256", "") for reference in plan.request.references)


@contextlib.contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """Let the signal that services are stopped by end a run as Ctrl+C does, with its index written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
