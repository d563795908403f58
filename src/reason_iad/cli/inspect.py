"""`reason-iad inspect`: inspect images and say what was found, on the terminal, as JSON, and as reports in a folder.

Arguments, images, references and the report folder are checked before any model is loaded. An image that cannot be
inspected is reported and never stops the others; the exit code is then 2.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from reason_iad.cli.batch import Job, Loader, check_method, inspect_all, load_inspector
from reason_iad.errors import EvidenceError, ImageError, InputError
from reason_iad.types import InspectionReport, KnowledgeMode, LatentMode

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage

_EPILOG = """\
IMAGE and --reference take folders too. Put the images first: options that take several values end at the next option.

exit codes: 0 done, 2 bad input (of one image among several: the others are done), 1 failure of the program
"""


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
    parser.set_defaults(run=run)


def add_method_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose how an image is inspected."""
    parser.add_argument("--model", default="nano", metavar="ID", help="language model (default: nano, the bundled one)")
    parser.add_argument(
        "--knowledge",
        choices=get_args(KnowledgeMode),
        default="retrieved",
        help="use of knowledge (default: retrieved)",
    )
    parser.add_argument("--latents", choices=get_args(LatentMode), default="on", help="latent reasoning (default: on)")
    parser.add_argument("--injection", choices=("off", "on"), default="on", help="visual injection (default: on)")
    parser.add_argument("--evidence", choices=("off", "on"), default="on", help="use of references (default: on)")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="seed of every random choice (default: 0)")
    parser.add_argument(
        "--max-overkill",
        type=_share,
        default=0.02,
        metavar="X",
        help="share of good parts that may be called defective, between 0 and 1 (default: 0.02)",
    )


def run(args: argparse.Namespace, load_inspector: Loader = load_inspector) -> int:
    """Inspect the images; 0 when all were, 2 when some could not be."""
    from reason_iad.cli.progress import Progress
    from reason_iad.reporting.folder import ReportFolder
    from reason_iad.reporting.text import render_text, wants_color

    choices = _checked_choices(args)
    check_method(args, args.category)
    folder = None if args.out is None else ReportFolder.create(args.out)
    references = _read_references(args)
    paths, bad = _usable_images(args.images, references)
    if len(bad) == 1 and not paths:
        raise InputError(bad[0][1])
    for name, message in bad:
        _report_failure(message)
        if folder is not None:
            folder.add_failure(name, message)
    if not paths:
        return 2

    progress = Progress(len(paths))
    inspector = load_inspector(args, progress.say)
    several, color = len(paths) + len(bad) > 1, wants_color(sys.stdout)

    def show(_: Job, report: InspectionReport) -> None:
        if args.json:
            print(report.to_json(indent=None if several else 2))
        else:
            width = min(shutil.get_terminal_size((100, 24)).columns, 120)
            print(render_text(report, color=color, width=width), end="\n\n" if several else "\n")

    pixels = tuple(image.pixels for image in references)  # one object, so that the inspector prepares it once
    jobs = [Job(path, args.category, pixels, args.question, choices) for path in paths]
    failures = inspect_all(jobs, inspector, progress, show, folder)
    if failures and not several:
        raise InputError(failures[0][1])
    for _, message in failures:
        _report_failure(message)
    if folder is not None:
        print(f"report: {folder.finish()}", file=sys.stderr if args.json else sys.stdout)
    return 2 if bad or failures else 0


def _checked_choices(args: argparse.Namespace) -> tuple[str, ...]:
    choices = tuple(choice.strip() for choice in args.choices)
    if choices and not args.question:
        raise InputError(f"found {len(choices)} choices and no question; expected both: add --question TEXT")
    if args.question is not None and not args.question.strip():
        raise InputError("the question is empty; expected some text: write it after --question, or leave that out")
    if choices and (len(choices) < 2 or len(set(choices)) < len(choices) or "" in choices):
        raise InputError(f"the choices are {list(choices)}; expected two or more different answers: name each once")
    return choices


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


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; expected a whole number from 0 to 4294967295")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; expected a number between 0 and 1, such as 0.02")
    return value
