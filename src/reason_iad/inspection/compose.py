"""From a verdict to the inspection: words, the user's answer, regions beside the nearest good part, the report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reason_iad import __version__
from reason_iad.images import Pixels
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.defect_names import DefectNamer, NamedDefects
from reason_iad.inspection.details import DefectDetails, describe_defect, describe_normal
from reason_iad.inspection.dialog import Reply
from reason_iad.inspection.judge import Judged
from reason_iad.inspection.nearest import show_nearest
from reason_iad.inspection.session import Session
from reason_iad.models.base import ModelInfo
from reason_iad.naming.describe import DescribedArea
from reason_iad.types import InspectionReport, InspectionRequest, LatentTrace

if TYPE_CHECKING:
    from reason_iad.models.vision_cache import CachedVision


@dataclass(frozen=True, eq=False)
class Inspection:
    """A report with the pixels that its pictures are made from."""

    report: InspectionReport
    pixels: Pixels
    anomaly_map: np.ndarray | None = None  # (h, w) float32 in [0, 1], calibrated
    reference_pixels: tuple[Pixels, ...] = ()
    verdict_trace: LatentTrace | None = None  # of the verdict; the report shows that of the question, if one was asked
    session: Session | None = None  # the image as it was looked at, for questions that follow
    areas: tuple[DescribedArea, ...] = ()  # its odd areas, described: what a label later teaches


def compose(
    judged: Judged, request: InspectionRequest, model: ModelInfo, vision: CachedVision, clock: Clock
) -> Inspection:
    """Describe what was judged and answer the user's question, if there is one.

    Args:
        judged: the verdict and what it rests on.
        request: what was asked for.
        model: what was asked.
        vision: towers that find the nearest good part.
        clock: times the stages.

    Raises:
        InputError: the choices are not answerable.
    """
    session, reply = judged.session, judged.reply
    context = session.context
    named = NamedDefects(())
    if judged.verdict != "normal":
        with clock.stage("naming"):
            shown = () if context.evidence is None else context.evidence.shown(context.image.image_hw, judged.verdict)
            named = DefectNamer.of(session, vision).name(shown)
    with clock.stage("details"):
        details = _describe(judged, named)
    answers = [*([] if reply is None else [reply.answer]), *details.answers]
    said = trace = None if reply is None else reply.trace
    if request.question is not None:
        with clock.stage("question"):
            asked = _answer(session, request)
        answers.insert(0, asked.answer)
        trace = asked.trace
    report, goods = _report(judged, details, named, model), context.references
    if report.regions and context.compared is not None and context.evidence is not None:
        with clock.stage("nearest"):
            regions, goods = show_nearest(
                report.regions, context.image.pixels, context.evidence, context.compared, goods, vision
            )
        report = dataclasses.replace(report, regions=regions)
    notes = (*context.notes, *judged.reasons, *(() if trace is None else trace.notes))
    report = dataclasses.replace(
        report, answers=tuple(answers), trace=trace, notes=notes, milliseconds=clock.milliseconds
    )
    anomaly_map = None if context.evidence is None else context.evidence.anomaly_map
    return Inspection(report, context.image.pixels, anomaly_map, goods, said, session, named.areas)


def _describe(judged: Judged, named: NamedDefects) -> DefectDetails:
    """The words of the report that agree with the verdict."""
    session, verdict = judged.session, judged.verdict
    context = session.context
    if verdict == "normal":
        return describe_normal(context.knowledge)
    said = None if named.reply is None else named.reply.answer
    return describe_defect(session.choose, context.knowledge, context.place, context.look, verdict, named.naming, said)


def _answer(session: Session, request: InspectionRequest) -> Reply:
    """Answer the user's question, by its choices or in free words."""
    assert request.question is not None
    if request.choices:
        return session.choose(request.question, request.choices)
    return session.dialog.tell(request.question)


def _report(judged: Judged, details: DefectDetails, named: NamedDefects, model: ModelInfo) -> InspectionReport:
    """The report but for what takes another look: answers, nearest good parts, notes and times."""
    session, verdict = judged.session, judged.verdict
    context, offset = session.context, None if judged.reply is None else session.offset()
    evidence, size = context.evidence, context.image.image_hw
    summary = None if evidence is None else evidence.summary(size, verdict)
    return InspectionReport(
        image=context.image.name,
        image_hw=size,
        image_sha256=context.image.sha256,
        verdict=verdict,
        probability=judged.probability,
        probability_note=session.probability_note(offset),
        anomaly_score=judged.probability if summary is None else summary.anomaly_score,
        category=context.category,
        category_source=context.source,
        category_probability=context.category_probability,
        defect_type=details.defect_type,
        description=details.description,
        consequence=details.consequence,
        check_next=details.check_next,
        regions=named.regions,
        naming=named.naming,
        examples=named.examples,
        evidence=summary,
        citations=context.citations,
        versions={"reason-iad": __version__, model.name: model.version},
        offset=offset,
    )
