"""What an image shows, and the verdict about it: read, recognize, evidence, knowledge, prefix, verdict."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.errors import InputError
from reason_iad.evidence.looks import measure_look
from reason_iad.images import LoadedImage, alike, at_scale, coarse_note, from_pixels, read_image
from reason_iad.inspection.categories import Categories
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.defect_names import ask_examples
from reason_iad.inspection.detail_views import odd_places, thought_notes, views_of
from reason_iad.inspection.dialog import Dialog, Reply
from reason_iad.inspection.offset import GoodPart, Offsets, is_wanted
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.option_fusion import OptionFusion
from reason_iad.inspection.options import NOTHING_TO_COMPARE, InspectorOptions
from reason_iad.inspection.prompts import citation_notes, image_parts, product_parts
from reason_iad.inspection.screening import NOT_ASKED, AnswerRange, LazyDialog, SilentDialog, screen
from reason_iad.inspection.served import CLOSED, ServedDialog
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES, Context, Session
from reason_iad.inspection.sources import EvidenceSource, EvidenceSources
from reason_iad.inspection.verdict import EVIDENCE_ALONE, UNCALIBRATED, Fusion, VerdictOptions, decide, fusion_key
from reason_iad.knowledge.entries import ANY_PRODUCT
from reason_iad.knowledge.retrieve import KnowledgeBase, RetrievalOptions
from reason_iad.models.base import Model, is_open
from reason_iad.reasoning.details import Views
from reason_iad.types import AnswerOffset, InspectionRequest, Verdict

if TYPE_CHECKING:
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.types import ImageSource

MAX_SEEN = 4  # references that a model which reads pictures is shown


@dataclass(frozen=True, eq=False)
class Judged:
    """A verdict and what it rests on."""

    session: Session
    probability: float  # of a defect
    verdict: Verdict
    reasons: tuple[str, ...]
    reply: Reply | None  # of the model; None where it was not asked


@dataclass(frozen=True, eq=False)
class Judge:
    """The parts that a verdict comes from.

    Attributes:
        options: settings of the method.
        model: what is asked.
        vision: towers of evidence, recognition and the bundled model.
        knowledge: what is known about products.
        categories: names of images.
        sources: where evidence comes from.
        settings: the model's fusion, where it has one.
        offsets: what the model said of good parts.
    """

    options: InspectorOptions
    model: Model
    vision: CachedVision
    knowledge: KnowledgeBase
    categories: Categories
    sources: EvidenceSources
    settings: Mapping[str, Any]
    offsets: Offsets

    def open(self, request: InspectionRequest, clock: Clock) -> Session:
        """See `Inspector.open`."""
        context, source = self._look(request, clock)
        with clock.stage("prefix"):
            return self._session(context, self._start_dialog(context), source)

    def judge(self, request: InspectionRequest, clock: Clock) -> Judged:
        """See `Inspector.judge`."""
        context, source = self._look(request, clock)
        limits = VerdictOptions(context.rate)
        if self.options.reason == "never":
            return self._judge_by_evidence(context, limits)
        if self.options.reason == "auto":
            lazy = self._session(context, LazyDialog(lambda: self._start_dialog(context)), source)
            answers = self._answers(lazy.fusion)
            if (cleared := screen(lazy.fusion, context.summary, limits, answers, context.unsuitable)) is not None:
                return Judged(lazy, cleared.probability, "normal", (cleared.note,), None)
        with clock.stage("prefix"):
            session = self._session(context, self._start_dialog(context), source)
        if session.ask_offset is not None:
            with clock.stage("offset"):
                session.offset()
        with clock.stage("verdict"):
            reply = session.dialog.choose(DETECTION_QUESTION, (YES, NO))
            said = reply.probability_of(YES)
            probability = session.probability(said)
            verdict, reasons = decide(probability, context.summary, limits, session.alone(said), context.unsuitable)
        return Judged(session, probability, verdict, reasons, reply)

    def _judge_by_evidence(self, context: Context, limits: VerdictOptions) -> Judged:
        if context.summary is None:
            raise InputError(NOTHING_TO_COMPARE)
        session = dataclasses.replace(self._session(context, SilentDialog(), None), fusion=EVIDENCE_ALONE)
        probability = session.probability(0.5)
        verdict, reasons = decide(probability, context.summary, limits, None, context.unsuitable, asked=False)
        return Judged(session, probability, verdict, (NOT_ASKED, *reasons), None)

    def _session(self, context: Context, dialog: Dialog, source: EvidenceSource | None) -> Session:
        """The image with what answers about it; `source` gives good parts to ask about, too, where it is wanted."""
        key = fusion_key(0 if context.summary is None else context.summary.num_references)
        fusion = Fusion.from_settings(self.settings, key) if "fusion" in self.settings else UNCALIBRATED
        if "refused" in self.settings:
            fusion = dataclasses.replace(fusion, note=f"{fusion.note}; {self.settings['refused']}")
        offset = None
        if source is not None and self._subtracts(fusion):
            offset = functools.partial(self._offset, source, context)
        return Session(context, dialog, fusion, OptionFusion.from_settings(self.settings), self.knowledge, offset)

    def _subtracts(self, fusion: Fusion) -> bool:
        """Whether what the model says of good parts is subtracted before the fusion."""
        return is_wanted(self.options.offset, fusion, "fusion" in self.settings)

    def _offset(self, source: EvidenceSource, context: Context) -> AnswerOffset | None:
        """What the model says of the good parts behind `source`, asked once for a product."""

        def ask(part: GoodPart) -> float:
            image, look = from_pixels(part.pixels, "good part"), None
            if part.evidence is not None:
                look = measure_look(part.pixels, part.evidence.heat)
            about = dataclasses.replace(context, image=image, evidence=part.evidence, look=look, references=part.others)
            dialog = self._start_dialog(about, passing=True)
            return dialog.choose(DETECTION_QUESTION, (YES, NO), think=False).probability_of(YES)

        return self.offsets.of(source, citation_notes(context.citations), self.vision, ask)

    def _answers(self, fusion: Fusion) -> AnswerRange | None:
        """How far the model's answers go, as they enter the fusion; None where that is not known."""
        found = AnswerRange.from_settings(self.settings)
        subtracted = self._subtracts(fusion)
        if found is None or subtracted == fusion.offset:
            return found
        return found.less_any() if subtracted else None

    def _look(self, request: InspectionRequest, clock: Clock) -> tuple[Context, EvidenceSource]:
        """Everything that is known about the image before any question, and where its evidence comes from."""
        with clock.stage("read"):
            image = load_source(request.image, request.name)
            goods, scale = alike([load_source(reference) for reference in request.references])
            image = at_scale(image, scale)
        notes = [note for good in goods for note in good.notes]
        if (coarse := coarse_note(image.image_hw, [good.image_hw for good in goods])) is not None:
            notes.append(coarse)
        if not self.model.capabilities.latents and self.options.latents != "off":
            notes.append(CLOSED.format(name=self.model.info.name))
        if request.category is not None:
            named = self.categories.given(request.category)
        else:
            with clock.stage("recognize"):
                named = self.categories.recognize(image.pixels, self.vision)
        name = named.name
        with clock.stage("evidence"):
            source = self.sources.choose(self.options, image, goods, (request.category, name))
            image = at_scale(image, source.scale)
            finding = source.look(image)
        with clock.stage("knowledge"):
            query = request.question or f"defects of the {name.replace('_', ' ')}"
            limits = RetrievalOptions(top_k=self.options.top_k)
            citations = self.knowledge.retrieve(query, name, self.options.knowledge, limits)
            known = self.knowledge.knowledge_of(name) or self.knowledge.knowledge_of(ANY_PRODUCT)
        evidence = finding.evidence
        context = Context(
            image=image,
            category=name,
            source=named.source,
            category_probability=named.probability,
            knowledge=known,
            evidence=evidence,
            citations=citations,
            references=finding.references,
            notes=(*image.notes, *notes, *finding.notes, *thought_notes(self.options, finding)),
            compared=finding.compared,
            rate=source.rate,
            look=None if evidence is None else measure_look(image.pixels, evidence.heat),
            excluded=self.categories.recognizable() if named.source == "unknown" else (),
            taught=ask_examples(name, evidence, finding.compared, image.pixels, self.vision),
        )
        return context, source

    def _start_dialog(self, context: Context, passing: bool = False) -> Dialog:
        """Process everything that all questions about the image share; `passing` keeps no references for others."""
        if self.options.reason == "never":
            return SilentDialog()
        model, evidence = self.model, context.evidence
        notes, seen = citation_notes(context.citations), context.references[:MAX_SEEN]
        if not is_open(model):
            odd = functools.partial(odd_places, context.evidence, self._views(context))
            line = context.line(model.info.reads_hue)
            return ServedDialog(model, context.image.pixels, notes, line, seen, self.options, odd)
        tokens = model.encode_image(context.image.pixels, None if evidence is None else evidence.anomaly_map)
        shown = [model.encode_image(reference) for reference in seen] if model.info.sees_references else []
        opening = product_parts(model.info, notes, shown)
        kept = 1 if passing else len(opening)  # the knowledge alone, or the references, too
        product = model.recall(opening[:kept])
        prefix = model.extend(product, [*opening[kept:], *image_parts(tokens, context.line(model.info.reads_hue))])
        grid = None if evidence is None else evidence.grid(*tokens.grid_hw)
        return OpenDialog(model, prefix, self.options, grid, views=self._views(context), look=context.look)

    def _views(self, context: Context) -> Views:
        """What details of the image are cut from."""
        return views_of(context.image.pixels, context.evidence, context.compared, context.references, self.vision)


def load_source(source: ImageSource, name: str | None = None) -> LoadedImage:
    """Read an image in any of its forms; `name` is what bytes and pixels are called."""
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, np.ndarray):
        return from_pixels(source, name or "image")
    return read_image(source, name=name)
