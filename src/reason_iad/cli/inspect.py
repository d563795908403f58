"""`reason-iad inspect`: inspect images and say what was found, on the terminal, as JSON, and as reports in a folder.

Arguments, images, references and the report folder are checked before any model is loaded. An image that cannot be
inspected is reported and never stops the others; the exit code is then 2.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.batch import Loader, check_comparison, check_method, load_inspector
from reason_iad.cli.lot import Plan, inspect_lot, look_for_images, stopped_like_ctrl_c
from reason_iad.cli.method import add_method_options
from reason_iad.cli.recorder import Recorder
from reason_iad.errors import EvidenceError, ImageError, InputError
from reason_iad.languages import note
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage, Scale
    from reason_iad.reporting.folder import ReportFolder

_EPILOG = """\
IMAGE and --reference take folders too. Put the images first: options that take several values end at the next option.

exit codes: 0 done, 2 bad input (of one image among several: the others are done), 1 failure of the program
with --exit-code also: 3 at least one defective, 4 none defective but at least one uncertain
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `inspect`."""
    parser = subparsers.add_parser(
        "inspect",
        help="inspect images and explain what was found",
        description="Inspect images of products: verdict, defect, place, description, and what it rests on.",
        epilog=_EPILOG,
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
    parser.add_argument("-v", "--verbose", action="store_true", help="print the full text of each image of a lot")
    parser.add_argument("--exit-code", action="store_true", help="say with the exit code whether defects were found")
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="inspect in N processes, each with a model (default: 1)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="inspect a lot by --jobs actors of that Ray cluster: auto, host:port, or local"
    )
    parser.add_argument(
        "--parallel", type=_count, default=1, metavar="N", help="images at a time that wait for a server (default: 1)"
    )
    parser.add_argument(
        "--faithfulness", action="store_true", help="measure whether the answer rests on what the report says (slow)"
    )
    parser.add_argument(
        "--lot", action="store_true", help="no good part is known: compare 20 or more images with each other"
    )
    parser.add_argument("--resume", action="store_true", help="leave out images that --out has a report of already")
    parser.add_argument("--watch", action="store_true", help="go on: inspect every image that comes into the folder")
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep each inspection in the record there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, load_inspector: Loader = load_inspector) -> int:
    """Inspect the images; 0 when all were, 2 when some could not be; with --exit-code 3 or 4 by what was found."""
    asked = InspectionRequest("checked before any image is read", args.category, (), args.question, args.choices)
    _check(args)
    lot = None if args.watch else look_for_images(args)  # and say so, before anything that takes time
    if args.reason is None and (lot is None or len(lot.images) > 1):  # a panel asks about each, see `of_member`
        args.reason = "auto"  # most parts of a lot are good: the model is asked where it could change the verdict
    check_method(args, args.category)
    references, scale = _read_references(args)
    plan = Plan(
        request=dataclasses.replace(asked, references=tuple(references)),
        scale=scale,
        faithfulness=args.faithfulness,
        jobs=args.jobs,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(stopped_like_ctrl_c())
        folder = None if args.out is None else stack.enter_context(_open_folder(args, references))
        record = None if args.record is None else Recorder.open(args.record, args.watch)
        if lot is None:
            from reason_iad.cli.watch import watch

            return watch(args, plan, load_inspector, folder, record)
        return inspect_lot(args, lot, plan, load_inspector, folder, record)


def _check(args: argparse.Namespace) -> None:
    if args.resume and args.out is None:
        raise InputError("found --resume without --out; expected both: the reports in --out say what is done")
    if args.watch and (len(args.images) != 1 or not Path(args.images[0]).is_dir()):
        raise InputError(f"found {' '.join(args.images)}; expected one folder with --watch")
    if args.lot and args.resume:
        raise InputError("found --lot with --resume; expected one of them: each image of a lot is judged by all others")
    if args.lot and (args.reference or args.watch or args.jobs > 1):
        other = "--reference" if args.reference else "--watch" if args.watch else "--jobs"
        raise InputError(f"found --lot with {other}; expected one of them: one process compares a lot with itself")
    if args.ray is not None and (args.lot or args.watch or args.parallel > 1 or " + " in args.model):
        other = "--watch" if args.watch else "--lot" if args.lot else "--parallel" if args.parallel > 1 else "a panel"
        raise InputError(f"found --ray with {other}; expected one of them: leave one out")
    if args.parallel > 1 and (args.watch or args.lot or args.jobs > 1):
        other = "--watch" if args.watch else "--lot" if args.lot else "--jobs"
        raise InputError(f"found --parallel with {other}; expected one of them: leave one out")
    if " + " in args.model:
        from reason_iad.cli.panel import check_panel

        check_panel(args)
    elif args.parallel > 1 and not args.model.startswith("openai:"):
        raise InputError(
            f"found --parallel {args.parallel} with the model {args.model}, which runs here; expected openai:NAME on a "
            "server: --jobs N inspects in N processes"
        )
    if args.watch and args.jobs > 1:
        raise InputError("found --jobs with --watch; expected one of them: a hot folder is inspected by one process")
    check_comparison(args)


def _open_folder(args: argparse.Namespace, references: Sequence[LoadedImage]) -> ReportFolder:
    """Become the run that writes --out; a hot folder always goes on where the last run ended."""
    from reason_iad.cli.made_by import made_by
    from reason_iad.reporting.folder import ReportFolder

    resume = args.resume or args.watch
    folder = ReportFolder.create(args.out, made_by=made_by(args, references), resume=resume)
    if not resume and (before := folder.log.former()):
        note(
            f"note: {args.out} holds {before} of an earlier run; they leave its index, and those of the same names are "
            "replaced"
        )
    return folder


def _read_references(args: argparse.Namespace) -> tuple[list[LoadedImage], Scale | None]:
    """Read all references by one scale; one that is unusable stops the run, since it would change every result."""
    from reason_iad.images import alike, find_images, read_image

    if args.reference and args.evidence == "off":
        raise InputError(
            f"found --evidence off together with {len(args.reference)} --reference; expected one of them: leave one out"
        )
    try:
        return alike([read_image(path) for given in args.reference for path in find_images(given)])
    except ImageError as error:
        raise EvidenceError(f"reference {error}") from error


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens; expected a whole number from 1 on")
    return int(text)
