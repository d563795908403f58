"""`reason-iad inspect`: inspect images and say what was found, on the terminal, as JSON, and as reports in a folder.

Arguments, images, references and the report folder are checked before any model is loaded. An image that cannot be
inspected is reported and never stops the others; the exit code is then 2.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.batch import Job, Loader, check_method, inspect_all, load_inspector
from reason_iad.cli.method import add_method_options
from reason_iad.cli.recorder import Recorder
from reason_iad.errors import EvidenceError, ImageError, InputError
from reason_iad.types import InspectionReport, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage
    from reason_iad.reporting.folder import ReportFolder

_EPILOG = """\
IMAGE and --reference take folders too. Put the images first: options that take several values end at the next option.

exit codes: 0 done, 2 bad input (of one image among several: the others are done), 1 failure of the program
with --exit-code also: 3 at least one defective, 4 none defective but at least one uncertain
"""
DEFECTS_FOUND, UNCERTAIN_FOUND = 3, 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `inspect`."""
    parser = subparsers.add_parser(
        "inspect",
        help="inspect images and explain what was found",
        description="Inspect images of products: verdict, defect, place, description, and what it rests on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file, or a folder of them")
    parser.add_argument("--category", metavar="C", help="kind of product; recognized from the image if not given")
    parser.add_argument(
        "--reference",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="images of good parts of the same kind; one to four help most",
    )
    parser.add_argument("--question", metavar="TEXT", help="a question about each image")
    parser.add_argument("--choices", nargs="+", default=[], metavar="TEXT", help="answers to choose from")
    add_method_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: one object, or one a line for several images")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a page, a picture and JSON for each image there")
    parser.add_argument("--exit-code", action="store_true", help="say with the exit code whether defects were found")
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="inspect in N processes, each with a model (default: 1)"
    )
    parser.add_argument(
        "--faithfulness", action="store_true", help="measure whether the answer rests on what the report says (slow)"
    )
    parser.add_argument("--resume", action="store_true", help="leave out images that --out has a report of already")
    parser.add_argument("--watch", action="store_true", help="go on: inspect every image that comes into the folder")
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep each inspection in the record there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, load_inspector: Loader = load_inspector) -> int:
    """Inspect the images; 0 when all were, 2 when some could not be; with --exit-code 3 or 4 by what was found."""
    from reason_iad.reporting.folder import ReportFolder

    asked = InspectionRequest("checked before any image is read", args.category, (), args.question, args.choices)
    choices = asked.choices
    check_method(args, args.category)
    if args.resume and args.out is None:
        raise InputError("found --resume without --out; expected both: the reports in --out say what is done")
    folder = None if args.out is None else ReportFolder.create(args.out)
    references = _read_references(args)
    record = None if args.record is None else Recorder.open(args.record, args.watch)
    if args.watch:
        from reason_iad.cli.watch import watch

        return watch(args, references, choices, load_inspector, folder, record)
    paths, bad = _usable_images(args.images, references)
    if len(bad) == 1 and not paths:
        raise InputError(bad[0][1])
    for name, message in bad:
        _report_failure(message)
        if folder is not None:
            folder.add_failure(name, message)
    if not paths:
        return 2

    shown = ReportPrinter(args.json, len(paths) + len(bad) > 1)
    if args.resume and folder is not None:
        paths = _unfinished(paths, folder, shown)
    failures = _inspect(args, paths, references, choices, load_inspector, folder, record, shown) if paths else []
    if failures and not shown.several:
        raise InputError(failures[0][1])
    for _, message in failures:
        _report_failure(message)
    if folder is not None:
        print(f"report: {folder.finish()}", file=sys.stderr if args.json else sys.stdout)
    if bad or failures:
        return 2
    return shown.exit_code if args.exit_code else 0


@dataclass
class ReportPrinter:
    """Prints reports, and remembers their verdicts."""

    as_json: bool
    several: bool
    verdicts: set[str] = field(default_factory=set)

    @property
    def exit_code(self) -> int:
        """What `--exit-code` promises."""
        if "defective" in self.verdicts:
            return DEFECTS_FOUND
        return UNCERTAIN_FOUND if "uncertain" in self.verdicts else 0

    def __call__(self, _: Job, report: InspectionReport) -> None:
        """Print one report."""
        from reason_iad.reporting.text import render_text, wants_color

        self.verdicts.add(report.verdict)
        if self.as_json:
            print(report.to_json(indent=None if self.several else 2))
        else:
            width = min(shutil.get_terminal_size((100, 24)).columns, 120)
            text = render_text(report, color=wants_color(sys.stdout), width=width)
            print(text, end="\n\n" if self.several else "\n")


def _inspect(
    args: argparse.Namespace,
    paths: Sequence[Path],
    references: Sequence[LoadedImage],
    choices: tuple[str, ...],
    load_inspector: Loader,
    folder: ReportFolder | None,
    record: Recorder | None,
    shown: ReportPrinter,
) -> list[tuple[Job, str]]:
    """Inspect what is to be inspected, here or in several processes."""
    from reason_iad.cli.progress import Progress

    progress = Progress(len(paths))
    pixels = tuple(image.pixels for image in references)  # one object, so that the inspector prepares it once
    requests = [InspectionRequest(path, args.category, pixels, args.question, choices) for path in paths]
    jobs = [Job(path, one, faithfulness=args.faithfulness) for path, one in zip(paths, requests, strict=True)]
    keep = None if record is None else record.keep
    if args.jobs > 1 and len(jobs) > 1:
        from reason_iad.cli.parallel import in_processes

        progress.say(f"loading the model in {min(args.jobs, len(jobs))} processes")
        return inspect_all(jobs, None, progress, shown, folder, in_processes(jobs, args, load_inspector), keep)
    return inspect_all(jobs, load_inspector(args, progress.say), progress, shown, folder, keep=keep)


def _unfinished(paths: Sequence[Path], folder: ReportFolder, shown: ReportPrinter) -> list[Path]:
    """Leave out the images that the folder has a report of, and put those on its index."""
    from reason_iad.images import read_image

    earlier, left = folder.earlier(), []
    for path in paths:
        image = read_image(path)
        if image.sha256 in earlier:
            name, report = earlier[image.sha256]
            folder.add_page(name, report, image.pixels)
            shown.verdicts.add(report.verdict)
        else:
            left.append(path)
    if len(left) < len(paths):
        print(f"reason-iad: {len(paths) - len(left)} of {len(paths)} images have a report already", file=sys.stderr)
    return left


def _read_references(args: argparse.Namespace) -> list[LoadedImage]:
    """Read all references; one that is unusable stops the run, since it would change every result."""
    from reason_iad.images import find_images, read_image

    if args.reference and args.evidence == "off":
        raise InputError(
            f"found --evidence off together with {len(args.reference)} --reference; expected one of them: leave one out"
        )
    try:
        return [read_image(path) for given in args.reference for path in find_images(given)]
    except ImageError as error:
        raise EvidenceError(f"reference {error}") from error


def _usable_images(given: Sequence[str], references: Sequence[LoadedImage]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Find and read every image once; those that cannot be read come back with the reason."""
    from reason_iad.images import find_images, read_image

    known = {image.sha256: image.name for image in references}
    usable: list[Path] = []
    bad: list[tuple[str, str]] = []
    for name in dict.fromkeys(given):  # an image named twice is inspected once
        try:
            found = find_images(name)
        except ImageError as error:
            bad.append((Path(name).name, str(error)))
            continue
        for path in found:
            try:
                image = read_image(path)
            except ImageError as error:
                bad.append((path.name, str(error)))
                continue
            usable.append(path)
            if image.sha256 in known:
                print(f"reason-iad: warning: {path} is its own reference; it will look normal", file=sys.stderr)
    return usable, bad


def _report_failure(message: str) -> None:
    print(f"reason-iad: error: {message}", file=sys.stderr)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens; expected a whole number from 1 on")
    return int(text)
