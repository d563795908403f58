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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad import __version__
from reason_iad.errors import InputError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.conformal import describe_promise, normals_needed, smallest_rate
from reason_iad.evidence.looks import measure_look
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.paired import compare_paired, is_template
from reason_iad.evidence.profile import CategoryProfile
from reason_iad.evidence.profile_store import find_profile
from reason_iad.images import LoadedImage, Pixels, from_pixels, read_image
from reason_iad.inspection.details import DefectDetails, describe_defect, describe_normal
from reason_iad.inspection.dialog import Dialog
from reason_iad.inspection.nearest import Compared, show_nearest
from reason_iad.inspection.option_fusion import OptionFusion
from reason_iad.inspection.prompts import citation_notes, context_parts
from reason_iad.inspection.remote import CLOSED, RemoteDialog
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES, Context, Session
from reason_iad.inspection.verdict import UNCALIBRATED, Fusion, VerdictOptions, decide, fusion_key
from reason_iad.knowledge.entries import ANY_PRODUCT
from reason_iad.knowledge.retrieve import KnowledgeBase, RetrievalOptions, tell_encoding
from reason_iad.models.base import MultimodalModel, Prefix
from reason_iad.models.loading import LoadOptions
from reason_iad.models.openai_compatible import OpenAICompatible
from reason_iad.models.vision_cache import CachedVision
from reason_iad.reasoning.latents import LatentOptions
from reason_iad.recognition.learned import LearnedPrototypes
from reason_iad.recognition.prototypes import CategoryPrototypes, image_embedding
from reason_iad.types import (
    Answer,
    CategorySource,
    InspectionReport,
    KnowledgeMode,
    LatentMode,
    LatentTrace,
    Verdict,
)

ImageSource = str | Path | bytes | Pixels | LoadedImage
PAIRED_NOTE = "The reference shows this very object, so the image was compared with it pixel by pixel."
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
    loading: LoadOptions = field(default_factory=LoadOptions)  # of an open model; the bundled one needs none

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        allowed: dict[str, tuple[str, ...]] = {
            "knowledge": ("none", "retrieved", "oracle"), "latents": ("off", "paper", "on"),
            "injection": ("off", "on"), "evidence": ("off", "on", "set", "paired"),
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
    session: Session | None = None  # the image as it was looked at, for questions that follow


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
        self._banks: OrderedDict[tuple[str, ...], MemoryBank] = OrderedDict()
        self._profiles: dict[Path, tuple[int, CategoryProfile]] = {}
        self._learned = LearnedPrototypes()

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
        vision = CachedVision(BundledVision.load(exact=options.loading.dtype == "float32"))
        say(f"loading model {options.model}")
        model, settings = load_model(options.model, vision, options.loading, say)
        if isinstance(model, OpenAICompatible) and options.latents == "paper":
            raise InputError(f"found --latents paper. {CLOSED.format(name=options.model)} Leave the option out")
        say("loading knowledge")
        knowledge = KnowledgeBase.load(progress=tell_encoding(say))
        return cls(options, model, vision, knowledge, CategoryPrototypes.load(), settings)

    def with_options(self, options: InspectorOptions) -> Inspector:
        """Another inspector over the same loaded parts; the model stays the same."""
        if options.model != self.options.model:
            raise InputError(f"the loaded model is {self.options.model}, not {options.model}; load another inspector")
        view = Inspector(options, self.model, self.vision, self.knowledge, self._prototypes, self._settings)
        view._banks, view._profiles, view._learned = self._banks, self._profiles, self._learned
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
        on_stage: Callable[[str], None] | None = None,
    ) -> Inspection:
        """Inspect one image.

        Args:
            image: path, bytes of an image file, pixels (H, W, 3), or an image that was read before.
            category: what it shows, as the knowledge base names it; recognized where None.
            references: images of good parts to compare with.
            question: asked besides the verdict.
            choices: options of the question; free words where empty.
            on_stage: called with the name of each stage as it begins.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known, or the choices are not answerable.
        """
        if choices and not question:
            raise InputError("choices were given without a question; add --question")
        clock = Clock(on_stage)
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
                details = describe_defect(session.choose, context.knowledge, context.place, context.look, verdict)
        answers, trace = [reply.answer, *details.answers], reply.trace
        if question:
            with clock.stage("question"):
                answer, trace = _answer(session, question, choices, trace)
            answers.insert(0, answer)
        report = self._report(session, verdict, probability, details)
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
            notes=(*context.notes, *reasons),
            milliseconds=clock.milliseconds,
        )
        anomaly_map = None if context.evidence is None else context.evidence.anomaly_map
        return Inspection(report, context.image.pixels, anomaly_map, goods, session)

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
        key = fusion_key(0 if context.summary is None else context.summary.num_references)
        fusion = Fusion.from_settings(self._settings, key) if "fusion" in self._settings else UNCALIBRATED
        return Session(context, dialog, fusion, OptionFusion.from_settings(self._settings), self.knowledge)

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
        if isinstance(self.model, OpenAICompatible) and self.options.latents != "off":
            notes.append(CLOSED.format(name=self.model.info.name))
        name, source, certainty = self._name_category(loaded, category, clock)
        evidence, compared, rate = None, None, self.options.max_overkill
        profile = None if goods or self.options.evidence == "off" else self._profile_of(category, name)
        if profile is not None:
            with clock.stage("evidence"):
                evidence = profile.compare(loaded.pixels, self.vision)
                compared = Compared(profile.bank, tuple(profile.references))
                notes.extend((*profile.warnings, *evidence.warnings))
                notes.append(profile.verdict(evidence, rate).promise + ".")
                if profile.bank.normal_scores:
                    rate = max(rate, smallest_rate(len(profile.bank.normal_scores)))
        elif self._is_paired(loaded, goods):
            with clock.stage("evidence"):
                evidence = compare_paired(loaded.pixels, goods[0].pixels)
                notes.extend((PAIRED_NOTE, *evidence.warnings))
        elif goods and self.options.evidence != "off":
            with clock.stage("evidence"):
                bank = self._bank_for(goods)
                evidence = compare(loaded.pixels, bank, self.vision)
                compared = Compared(bank, tuple(g.pixels for g in (goods[::2] if bank.normal_scores else goods)))
                notes.extend((*bank.warnings, *evidence.warnings))
                notes.append(_promise(len(goods), len(bank.normal_scores), rate))
                if bank.normal_scores:
                    rate = max(rate, smallest_rate(len(bank.normal_scores)))
        elif not goods and self.options.evidence != "off":
            notes.append(
                "No normal references were given, so nothing was compared; "
                "the verdict rests on the model alone. Add --reference with images of good parts."
            )
        with clock.stage("knowledge"):
            limits = RetrievalOptions(top_k=self.options.top_k)
            query = question or f"defects of the {name.replace('_', ' ')}"
            citations = self.knowledge.retrieve(query, name, self.options.knowledge, limits)
            known = self.knowledge.knowledge_of(name) or self.knowledge.knowledge_of(ANY_PRODUCT)
        shown = () if profile is None else profile.references[:4]
        pixels = tuple(good.pixels for good in goods) or tuple(member.preview for member in shown)
        said = tuple(notes)
        look = None if evidence is None else measure_look(loaded.pixels, evidence.heat)
        others = self._learned_categories() if source == "unknown" else ()
        return Context(
            loaded, name, source, certainty, known, evidence, citations, pixels, said, rate, compared, look, others
        )

    def _is_paired(self, image: LoadedImage, references: Sequence[LoadedImage]) -> bool:
        """Whether the one reference is the golden template of the image."""
        if len(references) != 1 or self.options.evidence not in ("on", "paired"):
            return False
        return self.options.evidence == "paired" or is_template(image.pixels, references[0].pixels)

    def _name_category(
        self, image: LoadedImage, category: str | None, clock: Clock
    ) -> tuple[str, CategorySource, float | None]:
        if category is not None:
            learned = find_profile(category)  # reported by its own name, though it be an alias in the starter knowledge
            return learned.name if learned else self.knowledge.check_category(category), "given", None
        if self._prototypes is None:
            return "unknown", "unknown", None
        with clock.stage("recognize"):
            prototypes = self._learned.extend(self._prototypes)
            name, certainty = prototypes.recognize(image_embedding(image.pixels, self.vision))
        return name, "unknown" if name == "unknown" else "recognized", certainty

    def _learned_categories(self) -> tuple[str, ...]:
        """What recognition would have named, as far as the knowledge knows it."""
        if self._prototypes is None:
            return ()
        found = (self.knowledge.find_category(name) for name in self._learned.extend(self._prototypes).categories)
        return tuple(name for name in found if name is not None)

    def _profile_of(self, *names: str | None) -> CategoryProfile | None:
        """The profile of the first of `names` that has one, read again when it has changed."""
        folder = next((found for name in names if name and (found := find_profile(name)) is not None), None)
        if folder is None:
            return None
        changed = (folder / "profile.json").stat().st_mtime_ns
        kept = self._profiles.get(folder)
        if kept is None or kept[0] != changed:
            kept = self._profiles[folder] = (changed, CategoryProfile.load(folder))
        return kept[1]

    def _bank_for(self, references: Sequence[LoadedImage]) -> MemoryBank:
        """The references' memory bank; recent ones are kept, since the images of a batch share their references."""
        key = tuple(reference.sha256 for reference in references)
        if key not in self._banks:
            pixels = [reference.pixels for reference in references]
            held_out = pixels[1::2] if len(pixels) >= HOLD_OUT_FROM else []
            bank = MemoryBank.build(pixels[::2] if held_out else pixels, self.vision)
            self._banks[key] = bank.with_held_out(held_out, self.vision) if held_out else bank
            if len(self._banks) > MAX_BANKS:
                self._banks.popitem(last=False)
        return self._banks[key]

    def _start_dialog(self, context: Context) -> Dialog:
        """Process everything that all questions about the image share."""
        info, evidence = self.model.info, context.evidence
        if isinstance(self.model, OpenAICompatible):
            notes = citation_notes(context.citations)
            return RemoteDialog(self.model, context.image.pixels, notes, context.line, context.references[:4])
        tokens = self.model.encode_image(context.image.pixels, None if evidence is None else evidence.anomaly_map)
        shown = [self.model.encode_image(r) for r in context.references[:4]] if info.sees_references else []
        parts = context_parts(info, tokens, citation_notes(context.citations), context.line, shown)
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
            check_next=details.check_next,
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

    def __init__(self, on_stage: Callable[[str], None] | None = None) -> None:
        self.milliseconds: dict[str, float] = {}
        self._on_stage = on_stage

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; a repeated one adds up."""
        if self._on_stage is not None:
            self._on_stage(name)
        started = time.monotonic()
        try:
            yield
        finally:
            spent = (time.monotonic() - started) * 1000
            self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + spent, 1)


def _load(source: ImageSource) -> LoadedImage:
    if isinstance(source, LoadedImage):
        return source
    return from_pixels(source) if isinstance(source, np.ndarray) else read_image(source)


def _answer(session: Session, question: str, choices: Sequence[str], trace: LatentTrace) -> tuple[Answer, LatentTrace]:
    """Answer the user's question; the trace shown is that of the question where it has choices."""
    if not choices:
        return session.dialog.tell(question), trace
    reply = session.choose(question, choices)
    return reply.answer, reply.trace
