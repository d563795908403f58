"""A panel where one model stands elsewhere: every model looks at an image at its turn, then the reports are joined.

It takes an inspector's place in a server, a hot folder, a line and a lot that is compared with itself. The models
share towers, knowledge and what images are compared with, so the evidence is the same for all of them. What a model
has reported is kept until the joined report is there: after a crash nobody is asked twice.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reason_iad import __version__
from reason_iad.errors import ModelError, ModelUnavailableError, ReasonIADError
from reason_iad.files import home, sha256, write_whole
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import USUAL_OVERKILL, InspectorOptions
from reason_iad.inspection.panel import combine, remember
from reason_iad.inspection.panel_memory import PanelMemory
from reason_iad.types import InspectionReport, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage
    from reason_iad.inspection.clock import Clock
    from reason_iad.inspection.compose import Inspection
    from reason_iad.inspection.judge import Judged
    from reason_iad.inspection.session import Session

Say = Callable[[str], None]


class PanelInspector(Inspector):
    """Several models over the same knowledge and evidence; questions that follow go to the first of them.

    Attributes:
        members: an inspector a model, by the model's name.
        memory: votes of the panel, from which the weights follow.
    """

    def __init__(self, options: InspectorOptions, members: Mapping[str, Inspector], memory: PanelMemory) -> None:
        """Hold the members; `load_panel` makes them."""
        self.options, self.members, self.memory = options, dict(members), memory
        first = next(iter(self.members.values()))
        self.model, self.vision, self.knowledge = first.model, first.vision, first.knowledge

    def with_options(self, options: InspectorOptions) -> PanelInspector:
        """See `Inspector.with_options`."""
        super().with_options(options)  # refuses another panel
        members = {name: one.with_options(of_member(options, name)) for name, one in self.members.items()}
        return PanelInspector(options, members, self.memory)

    def open(self, request: InspectionRequest, clock: Clock | None = None) -> Session:
        """See `Inspector.open`; it is the first model's."""
        return self._first.open(request, clock)

    def judge(self, request: InspectionRequest, clock: Clock | None = None) -> Judged:
        """See `Inspector.judge`; it is the first model's."""
        return self._first.judge(request, clock)

    def compare_lot(self, images: Iterable[LoadedImage], progress: Callable[[int, int], None]) -> None:
        """See `Inspector.compare_lot`; once, for all models."""
        self._first.compare_lot(images, progress)

    def run(self, request: InspectionRequest, on_stage: Callable[[str], None] | None = None) -> Inspection:
        """Let every model report on an image, and join what they say; see `Inspector.run`.

        A model that cannot answer about this image is named in the report. One whose server is away ends the
        inspection: what the others reported is kept for the next try.

        Raises:
            ModelUnavailableError: a server is away.
            ReasonIADError: as `Inspector.run`, or no model answered.
        """
        request = _read(request)
        kept = {name: self._kept(name, request) for name in self.members}
        reports = {name: report for name, path in kept.items() if (report := _report_in(path)) is not None}
        live: dict[str, Inspection] = {}
        failed: dict[str, ModelError] = {}
        for name in [name for name in self.members if name not in reports] or list(self.members)[:1]:
            try:
                live[name] = self.members[name].run(request, on_stage)
            except ModelUnavailableError:
                raise
            except ModelError as error:
                failed[name] = error
                continue
            reports[name] = live[name].report
            write_whole(kept[name], reports[name].to_json(), durable=False)
        if not live:
            raise next(iter(failed.values()))
        found = next(iter(live.values()))
        for name in [name for name in reports if name not in live]:
            if not _of_the_same_look(reports[name], found.report):  # profile or knowledge have changed since
                reports[name] = self.members[name].run(request, on_stage).report
        joined = self._join({name: reports[name] for name in self.members if name in reports}, failed, request)
        for path in kept.values():
            path.unlink(missing_ok=True)
        return dataclasses.replace(found, report=joined)

    def _join(
        self, reports: Mapping[str, InspectionReport], failed: Mapping[str, ModelError], request: InspectionRequest
    ) -> InspectionReport:
        remember(reports, self.memory)
        self.memory.save()
        category = next(iter(reports.values())).category
        rate = self.options.max_overkill or usual_rate(category, bool(request.references))
        report = combine(reports, self.memory, rate)
        notes = tuple(f"{name}: {error}" for name, error in failed.items())
        return dataclasses.replace(report, image=next(iter(reports.values())).image, notes=(*report.notes, *notes))

    def _kept(self, name: str, request: InspectionRequest) -> Path:
        """Where the report of a model on an image under these settings lies while the others are asked."""
        one, image = self.members[name], request.image
        settings = {**dataclasses.asdict(one.options), "device": None}
        asked = (request.category, request.question, request.choices, [_digest(r) for r in request.references])
        made = json.dumps([__version__, settings, one.model.fingerprint, asked, _digest(image)], default=str)
        return home() / "panels" / "waiting" / f"{sha256(made)[:32]}.json"

    @property
    def _first(self) -> Inspector:
        return next(iter(self.members.values()))


Options = TypeVar("Options", bound=InspectorOptions)


def of_member(options: Options, name: str) -> Options:
    """How one model of a panel is asked.

    About every image, since a vote that is missing tells nothing of who is right, and about the good parts that are
    known, since sparing them is what earns weight.
    """
    reason = "always" if options.reason in (None, "auto") else options.reason
    offset = "on" if options.offset == "auto" else options.offset
    return dataclasses.replace(options, model=name, reason=reason, offset=offset)


def load_panel(options: InspectorOptions, say: Say) -> PanelInspector:
    """Load the models of a panel beside each other, over the same towers and knowledge.

    Raises:
        ReasonIADError: as `Inspector.load`, of any of them.
    """
    from reason_iad.inspection.offset import Offsets
    from reason_iad.models.fingerprint import of_model
    from reason_iad.models.registry import load_model, members_of

    names = members_of(options.model)
    first = Inspector.load(of_member(options, names[0]), say)
    members = {names[0]: first}
    for name in names[1:]:
        say(f"loading model {name}")
        one = copy.copy(first)
        one.options = of_member(options, name)
        one.model, one._settings = load_model(name, first.vision, options.loading, say)
        one._offsets = Offsets()
        members[name] = one
    return PanelInspector(options, members, PanelMemory.of({name: of_model(name) for name in names}))


def usual_rate(category: str | None, with_references: bool) -> float:
    """The false-alarm rate where none was asked for: that of the category's profile, if it was compared with one."""
    from reason_iad.evidence.profile_store import find_profile
    from reason_iad.evidence.threshold import read_threshold

    folder = None if with_references or category is None else find_profile(category)
    chosen = None if folder is None else read_threshold(folder).current
    return USUAL_OVERKILL if chosen is None else chosen.max_overkill


def _read(request: InspectionRequest) -> InspectionRequest:
    """The request with its image read, once for all models."""
    from reason_iad.inspection.judge import load_source

    return dataclasses.replace(request, image=load_source(request.image, request.name))


def _digest(source: object) -> str:
    """What tells one image from another."""
    found = getattr(source, "sha256", None)
    if found is not None:
        return str(found)
    if isinstance(source, bytes):
        return sha256(source)
    if isinstance(source, str | Path):
        return str(source)
    return sha256(source.tobytes())  # type: ignore[attr-defined]


def _report_in(path: Path) -> InspectionReport | None:
    with contextlib.suppress(OSError, ReasonIADError):
        return InspectionReport.from_json(path.read_text(encoding="utf-8"))
    return None


def _of_the_same_look(one: InspectionReport, other: InspectionReport) -> bool:
    """Whether two reports rest on the same comparison and knowledge."""
    return one.evidence == other.evidence and one.citations == other.citations
