"""Inspecting several images with one inspector: the loop behind `inspect` and `demo`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.inspection.options import NOTHING_TO_COMPARE
from reason_iad.types import InspectionReport, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage, Pixels, Scale
    from reason_iad.reporting.figures import FloatMap
    from reason_iad.reporting.folder import ReportFolder, Truth


class Inspection(Protocol):
    """What an inspector gives back for one image."""

    @property
    def report(self) -> InspectionReport:
        """What was found."""

    @property
    def pixels(self) -> Pixels:
        """The upright image (H, W, 3)."""

    @property
    def anomaly_map(self) -> FloatMap | None:
        """Calibrated map (h, w) in [0, 1]; None without references."""

    @property
    def reference_pixels(self) -> Sequence[Pixels]:
        """The normal references it was compared with."""


class InspectsImages(Protocol):
    """What the commands need of an inspector."""

    def run(self, request: InspectionRequest) -> Inspection:
        """Inspect one image."""

    def compare_lot(self, images: Iterable[LoadedImage], progress: Callable[[int, int], None]) -> None:
        """Compare the images of a lot with each other, before each is inspected."""


Loader = Callable[[argparse.Namespace, Callable[[str], None]], InspectsImages]


@dataclass(frozen=True)
class Job:
    """One image of a lot: the request, the file that it came from, and what else is wanted or known."""

    path: Path
    request: InspectionRequest
    truth: Truth | None = None
    faithfulness: bool = False  # whether to measure it
    place: str = ""  # relative to the lot; the file's name where empty
    scale: Scale | None = None  # by which the references were read

    @property
    def name(self) -> str:
        """What reports and tables call the image."""
        return self.place or self.path.name


def check_method(args: argparse.Namespace, category: str | None = None) -> None:
    """Refuse a model or category that does not exist, before anything heavy is loaded.

    Raises:
        ModelError: no such model.
        InputError: no such category; names the nearest.
    """
    from reason_iad.evidence.profile_store import find_profile
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.models.registry import check_model

    check_model(args.model)
    if category is not None and find_profile(category) is None:
        KnowledgeBase.load().check_category(category)


def check_comparison(args: argparse.Namespace) -> None:
    """Refuse to leave the model out where there is nothing to compare with: nobody would be left to judge.

    Raises:
        InputError: says what is lacking.
    """
    if args.reason != "never" or ((args.reference or args.lot) and args.evidence != "off"):
        return
    from reason_iad.evidence.profile_store import find_profile, list_profiles

    learned = list_profiles() if args.category is None else find_profile(args.category)
    if not learned or args.evidence == "off":
        raise InputError(NOTHING_TO_COMPARE)


def load_inspector(args: argparse.Namespace, progress: Callable[[str], None]) -> InspectsImages:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.cli.method import method_options
    from reason_iad.models.sources import begin

    begin(args.model)  # while torch is imported
    from reason_iad.inspection.inspector import Inspector

    inspector: InspectsImages = Inspector.load(method_options(args), progress=progress)
    return inspector


Outcome = tuple[Job, "Inspection | ReasonIADError"]


def one_by_one(jobs: Iterable[Job], inspector: Callable[[], InspectsImages]) -> Iterator[Outcome]:
    """Inspect every image, in order; one that cannot be inspected gives its error instead.

    Args:
        jobs: what to inspect; each is taken when the one before it is done.
        inspector: called with the first image that can be read, so that nothing is loaded where none can.
    """
    for job in jobs:
        try:
            image = _read(job)
        except ReasonIADError as error:
            yield job, error
            continue
        inspects = inspector()
        try:
            found = inspects.run(dataclasses.replace(job.request, image=image))
            yield job, with_faithfulness(found, inspects, job) if job.faithfulness else found
        except ReasonIADError as error:
            yield job, error


def _read(job: Job) -> LoadedImage:
    from reason_iad.images import LoadedImage, read_image

    given = job.request.image
    if isinstance(given, LoadedImage):
        return given
    return read_image(given if isinstance(given, bytes) else job.path, name=job.name, scale=job.scale)


def with_faithfulness(found: Any, inspector: Any, job: Job) -> Inspection:
    """The same inspection, whose report says how far its answer rests on what it names."""
    from reason_iad.inspection.faithfulness import measure

    measured = measure(inspector, found, job.request.references)
    result: Inspection = dataclasses.replace(found, report=dataclasses.replace(found.report, faithfulness=measured))
    return result


def inspect_all(
    outcomes: Iterable[Outcome],
    show: Callable[[Job, InspectionReport], None],
    fail: Callable[[Job, str], None],
    folder: ReportFolder | None = None,
    keep: Callable[[Job, Inspection], None] | None = None,
) -> None:
    """Show each report as it comes, and write it into the folder.

    An image that cannot be inspected is noted and passed over; anything else that fails stops the run, with the index
    of what is done left in the folder.

    Args:
        outcomes: of each image.
        show: prints a report.
        fail: told of an image that could not be inspected, and why.
        folder: gets the reports.
        keep: called with each inspection, to record it.
    """
    try:
        for job, found in outcomes:
            if isinstance(found, ReasonIADError):
                fail(job, str(found))
                if folder is not None:
                    folder.add_failure(job.name, str(found))
                continue
            if folder is not None:  # first, so that what is printed can be looked up, whenever the run is ended
                folder.add(found.report, found.pixels, found.anomaly_map, found.reference_pixels, job.truth)
            if keep is not None:
                keep(job, found)
            show(job, found.report)
            sys.stdout.flush()
    except BaseException:
        if folder is not None and folder.count:
            with contextlib.suppress(ReasonIADError):  # the first failure is the one to tell
                folder.finish()
        raise
