"""The inspector: one request in, one typed report out.

    inspector = Inspector.load(InspectorOptions())
    report = inspector.inspect("part.png", category="hazelnut", references=["good1.png", "good2.png"])

Stages: read, recognize, evidence, knowledge, prefix, verdict, details, question, nearest. Each is timed in the report.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad import __version__
from reason_iad.errors import InputError
from reason_iad.evidence.looks import measure_look
from reason_iad.images import LoadedImage, Pixels, alike, at_scale, coarse_note, from_pixels, read_image
from reason_iad.inspection.categories import Categories
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.details import DefectDetails, describe_defect, describe_normal
from reason_iad.inspection.dialog import Dialog, Reply
from reason_iad.inspection.nearest import show_nearest
from reason_iad.inspection.option_fusion import OptionFusion
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import citation_notes, image_parts, product_parts
from reason_iad.inspection.screening import NOT_ASKED, AnswerRange, LazyDialog, SilentDialog, screen
from reason_iad.inspection.served import CLOSED, ServedDialog
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES, Context, Session
from reason_iad.inspection.sources import EvidenceSources
from reason_iad.inspection.verdict import UNCALIBRATED, Fusion, VerdictOptions, decide, fusion_key
from reason_iad.knowledge.entries import ANY_PRODUCT
from reason_iad.knowledge.retrieve import KnowledgeBase, RetrievalOptions, tell_encoding
from reason_iad.models.base import Model, is_open
from reason_iad.recognition.prototypes import CategoryPrototypes
from reason_iad.types import InspectionReport, InspectionRequest, LatentTrace, Verdict

if TYPE_CHECKING:
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.types import ImageSource

MAX_SEEN = 4  # references that a model which reads pictures is shown


@dataclass(frozen=True, eq=False)
class Inspection:
    """A report with the pixels that its pictures are made from."""

    report: InspectionReport
    pixels: Pixels
    anomaly_map: np.ndarray | None = None  # (h, w) float32 in [0, 1], calibrated
    reference_pixels: tuple[Pixels, ...] = ()
    verdict_trace: LatentTrace | None = None  # of the verdict; the report shows that of the question, if one was asked
    session: Session | None = None  # the image as it was looked at, for questions that follow


@dataclass(frozen=True, eq=False)
class Judged:
    """A verdict and what it rests on."""

    session: Session
    probability: float  # of a defect
    verdict: Verdict
    reasons: tuple[str, ...]
    reply: Reply | None  # of the model; None where it was not asked


class Inspector:
    """A loaded model with its knowledge, ready for many images."""

    def __init__(
        self,
        options: InspectorOptions,
        model: Model,
        vision: CachedVision,
        knowledge: KnowledgeBase,
        prototypes: CategoryPrototypes | None = None,
        settings: Mapping[str, Any] | None = None,
        sources: EvidenceSources | None = None,
    ) -> None:
        """Compose the parts; `load` does it from the cache.

        Args:
            options: settings of the method.
            model: what is asked.
            vision: towers of evidence, recognition and the bundled model.
            knowledge: what is known about products.
            prototypes: of the categories that can be recognized; none is where None.
            settings: the model's fusion, where it has one.
            sources: where evidence comes from; made from `vision` where None.
        """
        self.options, self.model, self.vision, self.knowledge = options, model, vision, knowledge
        self._categories, self._settings = Categories(knowledge, prototypes), settings or {}
        self._sources = sources or EvidenceSources(vision)

    @classmethod
    def load(cls, options: InspectorOptions | None = None, progress: Callable[[str], None] | None = None) -> Inspector:
        """Load weights and knowledge, fetching what is missing.

        Raises:
            WeightsError: a part cannot be fetched.
            InputError: the model is not known, or cannot do what the options ask for.
        """
        from reason_iad.models.registry import load_model
        from reason_iad.models.vision import BundledVision
        from reason_iad.models.vision_cache import CachedVision

        options = options or InspectorOptions()
        say = progress or (lambda _: None)
        say("loading vision towers")
        vision = CachedVision(BundledVision.load(options.bundled_device, exact=options.dtype == "float32"))
        say(f"loading model {options.model}")
        model, settings = load_model(options.model, vision, options.loading, say)
        if not model.capabilities.latents and options.latents in ("paper", "gradient"):
            raise InputError(f"found --latents {options.latents}. {CLOSED.format(name=options.model)} Leave it out")
        say("loading knowledge")
        knowledge = KnowledgeBase.load(progress=tell_encoding(say))
        return cls(options, model, vision, knowledge, CategoryPrototypes.load(), settings)

    def with_options(self, options: InspectorOptions) -> Inspector:
        """Another inspector over the same loaded parts; the model stays the same."""
        if options.model != self.options.model:
            raise InputError(f"the loaded model is {self.options.model}, not {options.model}; load another inspector")
        view = copy.copy(self)
        view.options = options
        return view

    def inspect(
        self,
        image: ImageSource | InspectionRequest,
        category: str | None = None,
        references: Sequence[ImageSource] = (),
        question: str | None = None,
        choices: Sequence[str] = (),
    ) -> InspectionReport:
        """Inspect one image, or do a request; see `InspectionRequest` and `run`."""
        return self.run(InspectionRequest.of(image, category, references, question, choices)).report

    def run(self, request: InspectionRequest, on_stage: Callable[[str], None] | None = None) -> Inspection:
        """Inspect one image; gives the report with the pixels behind it.

        Args:
            request: the image and what to inspect it with.
            on_stage: called with the name of each stage as it begins.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known, or the choices are not answerable.
        """
        clock = Clock(on_stage)
        judged = self.judge(request, clock)
        session, verdict, reply = judged.session, judged.verdict, judged.reply
        context = session.context
        with clock.stage("details"):
            details = _describe(session, verdict)
        answers = [*([] if reply is None else [reply.answer]), *details.answers]
        trace = None if reply is None else reply.trace
        if request.question is not None:
            with clock.stage("question"):
                asked = _answer(session, request)
            answers.insert(0, asked.answer)
            trace = asked.trace
        report = self._report(session, verdict, judged.probability, details)
        goods = context.references
        if report.regions and context.compared is not None and context.evidence is not None:
            with clock.stage("nearest"):
                regions, goods = show_nearest(
                    report.regions, context.image.pixels, context.evidence, context.compared, goods, self.vision
                )
            report = dataclasses.replace(report, regions=regions)
        report = dataclasses.replace(
            report,
            answers=tuple(answers),
            trace=trace,
            notes=(*context.notes, *judged.reasons),
            milliseconds=clock.milliseconds,
        )
        anomaly_map = None if context.evidence is None else context.evidence.anomaly_map
        said = None if reply is None else reply.trace
        return Inspection(report, context.image.pixels, anomaly_map, goods, said, session)

    def compare_lot(self, images: Iterable[LoadedImage], progress: Callable[[int, int], None]) -> None:
        """Compare 20 or more images of one product with each other; each is then inspected without references.

        Args:
            images: of the lot, taken one by one.
            progress: told how many of how many are compared.

        Raises:
            EvidenceError: there are too few.
        """
        self._sources.compare_lot(self.options, images, progress)

    def open(self, request: InspectionRequest, clock: Clock | None = None) -> Session:
        """Look at an image once, for any number of questions.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known.
        """
        clock = clock or Clock()
        context = self._look(request, clock)
        with clock.stage("prefix"):
            return self._session(context, self._start_dialog(context))

    def judge(self, request: InspectionRequest, clock: Clock | None = None) -> Judged:
        """Look at an image and reach a verdict, asking the model where `reason` says so.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known, or nothing would be asked or compared.
        """
        clock = clock or Clock()
        context = self._look(request, clock)
        limits = VerdictOptions(context.rate)
        if self.options.reason == "never":
            return self._judge_by_evidence(context, limits)
        if self.options.reason == "auto":
            lazy = self._session(context, LazyDialog(lambda: self._start_dialog(context)))
            answers = AnswerRange.from_settings(self._settings)
            if (cleared := screen(lazy.fusion, context.summary, limits, answers, context.unsuitable)) is not None:
                return Judged(lazy, cleared.probability, "normal", (cleared.note,), None)
        with clock.stage("prefix"):
            session = self._session(context, self._start_dialog(context))
        with clock.stage("verdict"):
            reply = session.dialog.choose(DETECTION_QUESTION, (YES, NO))
            said = reply.probability_of(YES)
            probability = session.probability(said)
            verdict, reasons = decide(probability, context.summary, limits, session.alone(said), context.unsuitable)
        return Judged(session, probability, verdict, reasons, reply)

    def _judge_by_evidence(self, context: Context, limits: VerdictOptions) -> Judged:
        if context.summary is None:
            raise InputError(
                "found --reason never and nothing to compare the image with; expected normal references or a learned "
                "profile: add --reference, or leave --reason out"
            )
        session = self._session(context, SilentDialog())
        probability = session.probability(0.5)
        verdict, reasons = decide(probability, context.summary, limits, None, context.unsuitable)
        return Judged(session, probability, verdict, (NOT_ASKED, *reasons), None)

    def _session(self, context: Context, dialog: Dialog) -> Session:
        key = fusion_key(0 if context.summary is None else context.summary.num_references)
        fusion = Fusion.from_settings(self._settings, key) if "fusion" in self._settings else UNCALIBRATED
        return Session(context, dialog, fusion, OptionFusion.from_settings(self._settings), self.knowledge)

    def _look(self, request: InspectionRequest, clock: Clock) -> Context:
        """Everything that is known about the image before any question."""
        with clock.stage("read"):
            image = _load(request.image, request.name)
            goods, scale = alike([_load(reference) for reference in request.references])
            image = at_scale(image, scale)
        notes = [note for good in goods for note in good.notes]
        if (coarse := coarse_note(image.image_hw, [good.image_hw for good in goods])) is not None:
            notes.append(coarse)
        if not self.model.capabilities.latents and self.options.latents != "off":
            notes.append(CLOSED.format(name=self.model.info.name))
        if request.category is not None:
            named = self._categories.given(request.category)
        else:
            with clock.stage("recognize"):
                named = self._categories.recognize(image.pixels, self.vision)
        name = named.name
        with clock.stage("evidence"):
            source = self._sources.choose(self.options, image, goods, (request.category, name))
            image = at_scale(image, source.scale)
            finding = source.look(image)
        with clock.stage("knowledge"):
            query = request.question or f"defects of the {name.replace('_', ' ')}"
            limits = RetrievalOptions(top_k=self.options.top_k)
            citations = self.knowledge.retrieve(query, name, self.options.knowledge, limits)
            known = self.knowledge.knowledge_of(name) or self.knowledge.knowledge_of(ANY_PRODUCT)
        evidence = finding.evidence
        return Context(
            image=image,
            category=name,
            source=named.source,
            category_probability=named.probability,
            knowledge=known,
            evidence=evidence,
            citations=citations,
            references=finding.references,
            notes=(*image.notes, *notes, *finding.notes),
            compared=finding.compared,
            rate=source.rate,
            look=None if evidence is None else measure_look(image.pixels, evidence.heat),
            excluded=self._categories.recognizable() if named.source == "unknown" else (),
        )

    def _start_dialog(self, context: Context) -> Dialog:
        """Process everything that all questions about the image share."""
        from reason_iad.inspection.open_dialog import OpenDialog

        if self.options.reason == "never":
            return SilentDialog()
        model, evidence = self.model, context.evidence
        notes, seen = citation_notes(context.citations), context.references[:MAX_SEEN]
        if not is_open(model):
            return ServedDialog(model, context.image.pixels, notes, context.line, seen)
        tokens = model.encode_image(context.image.pixels, None if evidence is None else evidence.anomaly_map)
        shown = [model.encode_image(reference) for reference in seen] if model.info.sees_references else []
        product = model.recall(product_parts(model.info, notes, shown))
        prefix = model.extend(product, image_parts(tokens, context.line))
        return OpenDialog(model, prefix, self.options, None if evidence is None else evidence.grid(*tokens.grid_hw))

    def _report(
        self, session: Session, verdict: Verdict, probability: float, details: DefectDetails
    ) -> InspectionReport:
        context = session.context
        evidence, size = context.evidence, context.image.image_hw
        summary = None if evidence is None else evidence.summary(size, verdict)
        shown = () if evidence is None else evidence.shown(size, verdict)
        return InspectionReport(
            image=context.image.name,
            image_hw=size,
            image_sha256=context.image.sha256,
            verdict=verdict,
            probability=probability,
            probability_note=session.fusion.note,
            anomaly_score=probability if summary is None else summary.anomaly_score,
            category=context.category,
            category_source=context.source,
            category_probability=context.category_probability,
            defect_type=details.defect_type,
            description=details.description,
            consequence=details.consequence,
            check_next=details.check_next,
            regions=shown,
            evidence=summary,
            citations=context.citations,
            versions={"reason-iad": __version__, self.model.info.name: self.model.info.version},
        )


def _describe(session: Session, verdict: Verdict) -> DefectDetails:
    """The words of the report that agree with the verdict."""
    context = session.context
    if verdict == "normal":
        return describe_normal(context.knowledge)
    return describe_defect(session.choose, context.knowledge, context.place, context.look, verdict)


def _answer(session: Session, request: InspectionRequest) -> Reply:
    """Answer the user's question, by its choices or in free words."""
    assert request.question is not None
    if request.choices:
        return session.choose(request.question, request.choices)
    return session.dialog.tell(request.question)


def _load(source: ImageSource, name: str | None = None) -> LoadedImage:
    """Read an image in any of its forms; `name` is what bytes and pixels are called."""
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, np.ndarray):
        return from_pixels(source, name or "image")
    return read_image(source, name=name)
