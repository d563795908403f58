"""`reason-iad demo`: inspect the images that come with the program, with the truth beside each verdict."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.batch import Job, Loader, check_method, inspect_all, load_inspector, one_by_one
from reason_iad.cli.method import add_method_options
from reason_iad.errors import InputError
from reason_iad.languages import _, note, number, say, told
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from reason_iad.types import InspectionReport

DEFAULT_OUT = Path("reason-iad-report")
IMAGES = Path(__file__).parent.parent / "data" / "demo"

INTRODUCTION = (
    "Crops of CC0 photographs as they are and with defects blended in, and rendered parts, each compared with three "
    "normal references. They show what a report holds, not how well the program works on your products."
)
_ROW = "{:<26} {:<36} {:<14} {:>8}  {:>8}"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="inspect the images that come with the program",
        description="Inspect the images that come with the program and write a report about them.",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help=f"folder of the report (default: {DEFAULT_OUT})"
    )
    add_method_options(parser)
    parser.set_defaults(run=run)


def read_jobs(folder: Path = IMAGES, evidence: bool = True) -> list[Job]:
    """Read what is to be inspected, with its references and its truth.

    Raises:
        InputError: the folder is not complete.
    """
    from reason_iad.images import read_image
    from reason_iad.reporting.folder import Truth

    try:
        entries = json.loads((folder / "demo.json").read_text("utf-8"))["images"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the demo images under {folder} are not complete ({error}); install the program again"
        ) from error
    jobs, read = [], {}
    for entry in entries:
        names = tuple(entry["references"]) if evidence else ()
        if names not in read:  # one object per product, so that the inspector prepares it once
            read[names] = tuple(read_image(folder / name) for name in names)
        truth = Truth(entry["truth"], entry["verdict"])
        request = InspectionRequest(folder / entry["image"], entry["category"], read[names])
        jobs.append(Job(folder / entry["image"], request, truth=truth))
    return jobs


def run(args: argparse.Namespace, load_inspector: Loader = load_inspector) -> int:
    """Inspect the demo images; 0 when all were."""
    from reason_iad.cli.progress import Progress
    from reason_iad.reporting.folder import ReportFolder
    from reason_iad.reporting.text import duration, total_milliseconds

    check_method(args)
    folder = ReportFolder.create(args.out, title="Demo of Reason-IAD", introduction=INTRODUCTION)
    jobs = read_jobs(evidence=args.evidence == "on")
    began = time.monotonic()
    progress = Progress(len(jobs))
    inspector = load_inspector(args, progress.say)
    progress.clear()
    failed = []
    heads = (_("image"), _("what it really is"), _("verdict"), _("p defect"), _("time"))
    print(_ROW.format(*heads).rstrip())

    def show(job: Job, report: InspectionReport) -> None:
        progress.clear()
        truth = told(job.truth.text) if job.truth else ""
        took, sure = duration(total_milliseconds(report)), number(report.probability, 2)
        print(_ROW.format(job.path.name, truth, told(report.verdict), sure, took))

    def fail(job: Job, message: str) -> None:
        progress.clear()
        failed.append(job)
        note(_("error: {message}", message=told(message)))

    def turns() -> Iterator[Job]:
        for done, job in enumerate(jobs):
            progress.begin(done, job.name)
            yield job

    with folder:
        inspect_all(one_by_one(turns(), lambda: inspector), show, fail, folder)
        progress.close()
        index = folder.finish()
    took = duration(1000 * (time.monotonic() - began))
    print("\n" + _("{count} images in {time}, models loaded and reports written.", count=len(jobs), time=took))
    say(f"Open the report in a browser: {index}")
    return 2 if failed else 0
