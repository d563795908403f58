"""Inspecting several images with one inspector: the loop behind `inspect` and `demo`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reason_iad.errors import InputError, ModelError, ReasonIADError
from reason_iad.types import InspectionReport

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

    def run(
        self,
        image: Path,
        category: str | None = None,
        references: Sequence[Any] = (),
        question: str | None = None,
        choices: Sequence[str] = (),
    ) -> Inspection:
        """Inspect one image."""


Loader = Callable[[argparse.Namespace, Callable[[str], None]], InspectsImages]


@dataclass(frozen=True)
class Job:
    """One image and what to inspect it with."""

    path: Path
    category: str | None = None
    references: Sequence[Pixels] = ()
    question: str | None = None
    choices: Sequence[str] = ()
    truth: Truth | None = None


def check_method(args: argparse.Namespace, category: str | None = None) -> None:
    """Refuse a model or category that does not exist, before anything heavy is loaded.

    Raises:
        ModelError: no such model.
        InputError: no such category; names the nearest.
    """
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.models.registry import NAMES

    if args.model not in NAMES:
        raise ModelError(f"the model {args.model!r} is not known; expected one of {', '.join(NAMES)}")
    if category is not None:
        KnowledgeBase.load().check_category(category)


def load_inspector(args: argparse.Namespace, progress: Callable[[str], None]) -> InspectsImages:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.inspection.inspector import Inspector, InspectorOptions

    options = InspectorOptions(
        model=args.model,
        knowledge=args.knowledge,
        latents=args.latents,
        injection=args.injection,
        evidence=args.evidence,
        seed=args.seed,
        max_overkill=args.max_overkill,
    )
    inspector: InspectsImages = Inspector.load(options, progress=progress)
    return inspector


def inspect_all(
    jobs: Sequence[Job],
    inspector: InspectsImages,
    progress: Progress,
    show: Callable[[Job, InspectionReport], None],
    folder: ReportFolder | None = None,
) -> list[tuple[Job, str]]:
    """Inspect every image, show each report as it comes, and write it into the folder.

    An image that turns out to be unusable is noted and passed over; anything else that fails stops the run, with the
    index of what is done left in the folder.

    Returns:
        The images that could not be inspected, with the reason of each.
    """
    failures: list[tuple[Job, str]] = []
    try:
        for done, job in enumerate(jobs):
            progress.begin(done, job.path.name)
            try:
                found = inspector.run(
                    job.path,
                    category=job.category,
                    references=job.references,
                    question=job.question,
                    choices=job.choices,
                )
            except InputError as error:
                progress.clear()
                failures.append((job, str(error)))
                if folder is not None:
                    folder.add_failure(job.path.name, str(error))
                continue
            progress.clear()
            show(job, found.report)
            sys.stdout.flush()
            if folder is not None:
                folder.add(found.report, found.pixels, found.anomaly_map, found.reference_pixels, job.truth)
    except BaseException:
        progress.clear()
        if folder is not None and folder.count:
            with contextlib.suppress(ReasonIADError):  # the first failure is the one to tell
                folder.finish()
        raise
    return failures
