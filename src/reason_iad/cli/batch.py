"""Inspecting several images with one inspector: the loop behind `inspect` and `demo`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.types import InspectionReport, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.cli.progress import Progress
    from reason_iad.images import Pixels
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


Loader = Callable[[argparse.Namespace, Callable[[str], None]], InspectsImages]


@dataclass(frozen=True)
class Job:
    """One image of a lot: the request, the file that it came from, and what else is wanted or known."""

    path: Path
    request: InspectionRequest
    truth: Truth | None = None
    faithfulness: bool = False  # whether to measure it


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


def load_inspector(args: argparse.Namespace, progress: Callable[[str], None]) -> InspectsImages:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.cli.method import method_options
    from reason_iad.models.sources import begin

    begin(args.model)  # while torch is imported
    from reason_iad.inspection.inspector import Inspector

    inspector: InspectsImages = Inspector.load(method_options(args), progress=progress)
    return inspector


Outcome = tuple[Job, "Inspection | ReasonIADError"]


def one_by_one(jobs: Iterable[Job], inspector: InspectsImages) -> Iterator[Outcome]:
    """Inspect every image with one inspector, in order; an unusable one gives its error instead."""
    for job in jobs:
        try:
            found = inspector.run(job.request)
        except InputError as error:
            yield job, error
        else:
            yield job, with_faithfulness(found, inspector, job) if job.faithfulness else found


def with_faithfulness(found: Any, inspector: Any, job: Job) -> Inspection:
    """The same inspection, whose report says how far its answer rests on what it names."""
    import dataclasses

    from reason_iad.inspection.faithfulness import measure

    measured = measure(inspector, found, job.request.references)
    result: Inspection = dataclasses.replace(found, report=dataclasses.replace(found.report, faithfulness=measured))
    return result


def inspect_all(
    jobs: Sequence[Job],
    inspector: InspectsImages | None,
    progress: Progress,
    show: Callable[[Job, InspectionReport], None],
    folder: ReportFolder | None = None,
    outcomes: Iterator[Outcome] | None = None,
    keep: Callable[[Job, Inspection], None] | None = None,
) -> list[tuple[Job, str]]:
    """Inspect every image, show each report as it comes, and write it into the folder.

    An image that turns out to be unusable is noted and passed over; anything else that fails stops the run, with the
    index of what is done left in the folder.

    Args:
        jobs: what to inspect.
        inspector: inspects them one by one; None where `outcomes` come from elsewhere.
        progress: says how far it is.
        show: prints a report.
        folder: gets the reports.
        outcomes: of the same jobs in their order, from several processes.
        keep: called with each inspection, to record it.

    Returns:
        The images that could not be inspected, with the reason of each.
    """
    failures: list[tuple[Job, str]] = []
    if outcomes is None:
        assert inspector is not None
        outcomes = one_by_one(jobs, inspector)
    try:
        for done, job in enumerate(jobs):
            progress.begin(done, job.path.name)
            _, found = next(outcomes)
            progress.clear()
            if isinstance(found, ReasonIADError):
                failures.append((job, str(found)))
                if folder is not None:
                    folder.add_failure(job.path.name, str(found))
                continue
            show(job, found.report)
            sys.stdout.flush()
            if folder is not None:
                folder.add(found.report, found.pixels, found.anomaly_map, found.reference_pixels, job.truth)
            if keep is not None:
                keep(job, found)
    except BaseException:
        progress.clear()
        if folder is not None and folder.count:
            with contextlib.suppress(ReasonIADError):  # the first failure is the one to tell
                folder.finish()
        raise
    return failures
