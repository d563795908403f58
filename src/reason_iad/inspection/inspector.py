"""The inspector: one image in, one typed report out.

    inspector = Inspector.load(InspectorOptions())
    report = inspector.inspect("part.png", category="hazelnut", references=["good1.png", "good2.png"])

Stages: read, recognize, evidence, knowledge, prefix, verdict, details, question. Each is timed in the report.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad import __version__
from reason_iad.errors import InputError
from reason_iad.evidence.compare import EvidenceMap, compare
from reason_iad.evidence.conformal import describe_promise, normals_needed, smallest_rate
from reason_iad.evidence.memory_bank import ReferenceBank
from reason_iad.images import LoadedImage, Pixels, from_pixels, read_image
from reason_iad.inspection.details import DefectDetails, describe_defect, describe_normal
from reason_iad.inspection.dialog import Dialog
from reason_iad.inspection.prompts import citation_notes, context_parts
from reason_iad.inspection.verdict import UNCALIBRATED, Fusion, VerdictOptions, decide
from reason_iad.knowledge.entries import ANY_PRODUCT, CategoryKnowledge
from reason_iad.knowledge.recognize import CategoryPrototypes, image_embedding
from reason_iad.knowledge.retrieve import KnowledgeBase, RetrievalOptions
from reason_iad.models.base import MultimodalModel, Prefix
from reason_iad.models.vision_cache import CachedVision
from reason_iad.reasoning.latents import LatentOptions
from reason_iad.types import (
    Answer,
    CategorySource,
    Citation,
    EvidenceSummary,
    InspectionReport,
    KnowledgeMode,
    LatentMode,
    LatentTrace,
    Verdict,
    place_of,
)

DETECTION_QUESTION = "Is there any defect in the object?"
YES, NO = "Yes.", "No."
ImageSource = str | Path | bytes | Pixels
MAX_BANKS = 64
HOLD_OUT_FROM = 20  # references from which every second one checks the false-alarm rate instead of being compared with


@dataclass(frozen=True)
class InspectorOptions:
    """Every part can be switched alone; the defaults are the full method."""

    model: str = "nano"
    knowledge: KnowledgeMode = "retrieved"
    latents: LatentMode = "on"
    injection: str = "on"
    evidence: str = "on"
    seed: int = 0
    max_overkill: float = 0.02
    num_steps: int = 10
    top_k: int = 4

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        allowed: dict[str, tuple[str, ...]] = {
            "knowledge": ("none", "retrieved", "oracle"), "latents": ("off", "paper", "on"),
            "injection": ("off", "on"), "evidence": ("off", "on"),
        }  # fmt: skip
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(values)}")
        if not 0 < self.max_overkill < 1:
            raise InputError(f"max_overkill is {self.max_overkill}; expected a share between 0 and 1, such as 0.02")

    def latent_options(self) -> LatentOptions | None:
        """The latent loop that these options ask for."""
        if self.latents == "off":
            return None
        if self.latents == "paper":
            return LatentOptions.paper(self.num_steps, self.seed)
        return LatentOptions(num_steps=self.num_steps, seed=self.seed)


@dataclass(frozen=True, eq=False)
class Inspection:
    """A report with the pixels that its pictures are made from."""

    report: InspectionReport
    pixels: Pixels
    anomaly_map: np.ndarray | None = None  # (h, w) float32 in [0, 1], calibrated
    reference_pixels: tuple[Pixels, ...] = ()


@dataclass(frozen=True, eq=False)
class Context:
    """What is known about the image before any question."""

    image: LoadedImage
    category: str
    source: CategorySource
    category_probability: float | None
    knowledge: CategoryKnowledge | None
    evidence: EvidenceMap | None
    citations: tuple[Citation, ...]
    references: tuple[Pixels, ...]
    notes: tuple[str, ...]
    false_alarm_rate: float  # what the user asked for, or the smallest that the held-out references support

    @property
    def summary(self) -> EvidenceSummary | None:
        """The evidence about the whole image, where there were references."""
        return None if self.evidence is None else self.evidence.summary(self.image.image_hw)

    @property
    def place(self) -> str | None:
        """Where the evidence is strongest, in words; None without evidence or where nothing is odd."""
        if self.evidence is None or not self.evidence.anomaly_map.any():
            return None
        if regions := self.evidence.regions(self.image.image_hw):
            return regions[0].place
        row, column = np.unravel_index(int(self.evidence.anomaly_map.argmax()), self.evidence.anomaly_map.shape)
        return place_of(float(column) + 0.5, float(row) + 0.5, self.evidence.anomaly_map.shape)


@dataclass(frozen=True, eq=False)
class Session:
    """One image, looked at once; its dialog answers any number of questions from the same stored prompt."""

    context: Context
    dialog: Dialog
    fusion: Fusion

    def probability(self, model: float) -> float:
        """Calibrated probability of a defect from the model's own, fused with the evidence."""
        summary = self.context.summary
        return self.fusion.probability(model, None if summary is None else summary.anomaly_score)


class Inspector:
    """A loaded model with its knowledge, ready for many images."""

    def __init__(
        self,
        options: InspectorOptions,
        model: MultimodalModel,
        vision: CachedVision,
        knowledge: KnowledgeBase,
        prototypes: CategoryPrototypes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Compose the parts; `load` does it from the cache. `settings` hold the model's fusion."""
        self.options, self.model, self.vision, self.knowledge = options, model, vision, knowledge
        self._prototypes = prototypes
        self._settings = settings or {}
        self._banks: OrderedDict[tuple[str, ...], ReferenceBank] = OrderedDict()

    @classmethod
    def load(cls, options: InspectorOptions | None = None, progress: Callable[[str], None] | None = None) -> Inspector:
        """Load weights and knowledge, fetching what is missing.

        Raises:
            WeightsError: a part cannot be fetched.
            InputError: the model is not known.
        """
        from reason_iad.models.registry import load_model
        from reason_iad.models.vision import BundledVision

        options = options or InspectorOptions()
        say = progress or (lambda _: None)
        say("loading vision towers")
        vision = CachedVision(BundledVision.load())
        say(f"loading model {options.model}")
        model, settings = load_model(options.model, vision)
        say("loading knowledge")
        return cls(options, model, vision, KnowledgeBase.load(), CategoryPrototypes.load(), settings)

    def with_options(self, options: InspectorOptions) -> Inspector:
        """Another inspector over the same loaded parts; the model stays the same."""
        if options.model != self.options.model:
            raise InputError(f"the loaded model is {self.options.model}, not {options.model}; load another inspector")
        view = Inspector(options, self.model, self.vision, self.knowledge, self._prototypes, self._settings)
        view._banks = self._banks
        return view

    def inspect(
        self,
        image: ImageSource,
        category: str | None = None,
        references: Sequence[ImageSource] = (),
        question: str | None = None,
        choices: Sequence[str] = (),
    ) -> InspectionReport:
        """Inspect one image; see `run`, which also returns the pixels behind the report."""
        return self.run(image, category, references, question, choices).report

    def run(
        self,
        image: ImageSource,
        category: str | None = None,
        references: Sequence[ImageSource] = (),
        question: str | None = None,
        choices: Sequence[str] = (),
    ) -> Inspection:
        """Inspect one image.

        Args:
            image: path, bytes of an image file, or pixels (H, W, 3).
            category: what it shows, as the knowledge base names it; recognized where None.
            references: images of good parts to compare with.
            question: asked besides the verdict.
            choices: options of the question; free words where empty.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known, or the choices are not answerable.
        """
        if choices and not question:
            raise InputError("choices were given without a question; add --question")
        clock = Clock()
        session = self.open(image, category, references, question, clock)
        context, dialog = session.context, session.dialog
        with clock.stage("verdict"):
            reply = dialog.choose(DETECTION_QUESTION, (YES, NO))
            probability = session.probability(reply.probability_of(YES))
            limits = VerdictOptions(max_overkill=context.false_alarm_rate)
            verdict, reasons = decide(probability, context.summary, limits)
        with clock.stage("details"):
            if verdict == "normal":
                details = describe_normal(context.knowledge)
            else:
                details = describe_defect(dialog, context.knowledge, context.place, verdict)
        answers, trace = [reply.answer, *details.answers], reply.trace
        if question:
            with clock.stage("question"):
                answer, trace = _answer(dialog, question, choices, trace)
            answers.insert(0, answer)
        report = dataclasses.replace(
            self._report(session, verdict, probability, details),
            answers=tuple(answers),
            trace=trace,
            notes=(*context.notes, *reasons),
            milliseconds=clock.milliseconds,
        )
        anomaly_map = None if context.evidence is None else context.evidence.anomaly_map
        return Inspection(report, context.image.pixels, anomaly_map, context.references)

    def open(
        self,
        image: ImageSource,
        category: str | None = None,
        references: Sequence[ImageSource] = (),
        question: str | None = None,
        clock: Clock | None = None,
    ) -> Session:
        """Look at an image once, for any number of questions.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known.
        """
        clock = clock or Clock()
        context = self._look(image, category, references, question, clock)
        with clock.stage("prefix"):
            dialog = self._start_dialog(context)
        key = "without_evidence" if context.evidence is None else "with_evidence"
        fusion = Fusion.from_settings(self._settings, key) if "fusion" in self._settings else UNCALIBRATED
        return Session(context, dialog, fusion)

    def _look(
        self,
        image: ImageSource,
        category: str | None,
        references: Sequence[ImageSource],
        question: str | None,
        clock: Clock,
    ) -> Context:
        with clock.stage("read"):
            loaded = _load(image)
            goods = tuple(_load(reference) for reference in references)
        notes = [*loaded.notes, *(note for good in goods for note in good.notes)]
        name, source, certainty = self._name_category(loaded, category, clock)
        evidence, rate = None, self.options.max_overkill
        if goods and self.options.evidence == "on":
            with clock.stage("evidence"):
                bank = self._bank_for(goods)
                evidence = compare(loaded.pixels, bank, self.vision)
                notes.extend((*bank.warnings, *evidence.warnings))
                notes.append(_promise(len(goods), len(bank.normal_scores), rate))
                if bank.normal_scores:
                    rate = max(rate, smallest_rate(len(bank.normal_scores)))
        elif not goods and self.options.evidence == "on":
            notes.append(
                "No normal references were given, so nothing was compared; "
                "the verdict rests on the model alone. Add --reference with images of good parts."
            )
        with clock.stage("knowledge"):
            limits = RetrievalOptions(top_k=self.options.top_k)
            query = question or f"defects of the {name.replace('_', ' ')}"
            citations = self.knowledge.retrieve(query, name, self.options.knowledge, limits)
            known = self.knowledge.knowledge_of(name) or self.knowledge.knowledge_of(ANY_PRODUCT)
        pixels = tuple(good.pixels for good in goods)
        return Context(loaded, name, source, certainty, known, evidence, citations, pixels, tuple(notes), rate)

    def _name_category(
        self, image: LoadedImage, category: str | None, clock: Clock
    ) -> tuple[str, CategorySource, float | None]:
        if category is not None:
            return self.knowledge.check_category(category), "given", None
        if self._prototypes is None:
            return "unknown", "unknown", None
        with clock.stage("recognize"):
            name, certainty = self._prototypes.recognize(image_embedding(image.pixels, self.vision))  # type: ignore[arg-type]
        return name, "unknown" if name == "unknown" else "recognized", certainty

    def _bank_for(self, references: Sequence[LoadedImage]) -> ReferenceBank:
        """The references' memory bank; recent ones are kept, since the images of a batch share their references."""
        key = tuple(reference.sha256 for reference in references)
        if key not in self._banks:
            pixels = [reference.pixels for reference in references]
            held_out = pixels[1::2] if len(pixels) >= HOLD_OUT_FROM else []
            bank = ReferenceBank.build(pixels[::2] if held_out else pixels, self.vision)
            self._banks[key] = bank.with_held_out(held_out, self.vision) if held_out else bank
            if len(self._banks) > MAX_BANKS:
                self._banks.popitem(last=False)
        return self._banks[key]

    def _start_dialog(self, context: Context) -> Dialog:
        """Process everything that all questions about the image share."""
        info, evidence = self.model.info, context.evidence
        tokens = self.model.encode_image(context.image.pixels, None if evidence is None else evidence.anomaly_map)
        shown = [self.model.encode_image(r) for r in context.references[:4]] if info.sees_references else []
        line = None if evidence is None else evidence.text(context.image.image_hw)
        parts = context_parts(info, tokens, citation_notes(context.citations), line, shown)
        prefix = self.model.extend(Prefix(), parts)
        grid = None if evidence is None else evidence.grid(*tokens.grid_hw)
        return Dialog(self.model, prefix, self.options.latent_options(), self.options.injection == "on", grid)

    def _report(
        self, session: Session, verdict: Verdict, probability: float, details: DefectDetails
    ) -> InspectionReport:
        context = session.context
        summary, size = context.summary, context.image.image_hw
        shown = () if context.evidence is None or verdict == "normal" else context.evidence.regions(size)
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
            regions=shown,
            evidence=summary,
            citations=context.citations,
            versions={"reason-iad": __version__, self.model.info.name: self.model.info.version},
        )


def _promise(num_references: int, held_out: int, max_overkill: float) -> str:
    """Whether the references support the false-alarm rate asked for, in plain words."""
    if held_out:
        return describe_promise(held_out, max_overkill)
    needed = 2 * normals_needed(max_overkill)
    return (
        f"A false-alarm rate of {max_overkill:.1%} cannot be promised with {num_references} references: from "
        f"{HOLD_OUT_FROM} on, every second one is held out to check it, and {needed} promise it."
    )


class Clock:
    """Milliseconds by stage, in the order they ran."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; a repeated one adds up."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = (time.monotonic() - started) * 1000
            self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + spent, 1)


def _load(source: ImageSource) -> LoadedImage:
    return from_pixels(source) if isinstance(source, np.ndarray) else read_image(source)


def _answer(dialog: Dialog, question: str, choices: Sequence[str], trace: LatentTrace) -> tuple[Answer, LatentTrace]:
    """Answer the user's question; the trace shown is that of the question where it has choices."""
    if not choices:
        return dialog.tell(question), trace
    reply = dialog.choose(question, choices)
    return reply.answer, reply.trace
