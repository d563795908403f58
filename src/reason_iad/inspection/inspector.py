"""The inspector: one request in, one typed report out.

    inspector = Inspector.load(InspectorOptions())
    report = inspector.inspect("part.png", category="hazelnut", references=["good1.png", "good2.png"])

Stages: read, recognize, evidence, knowledge, prefix, verdict, details, question, nearest. Each is timed in the report.
What does the work is imported when it is first needed, so that the name costs a fifth of a second and no torch.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.options import InspectorOptions
from reason_iad.types import InspectionReport, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage
    from reason_iad.inspection.compose import Inspection
    from reason_iad.inspection.judge import Judge, Judged
    from reason_iad.inspection.session import Session
    from reason_iad.inspection.sources import EvidenceSources
    from reason_iad.knowledge.retrieve import KnowledgeBase
    from reason_iad.models.base import Model
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.recognition.prototypes import CategoryPrototypes
    from reason_iad.types import ImageSource


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
        from reason_iad.inspection.categories import Categories
        from reason_iad.inspection.offset import Offsets
        from reason_iad.inspection.sources import EvidenceSources

        self.options, self.model, self.vision, self.knowledge = options, model, vision, knowledge
        self._categories, self._settings = Categories(knowledge, prototypes), settings or {}
        self._sources, self._offsets = sources or EvidenceSources(vision), Offsets()

    @classmethod
    def load(cls, options: InspectorOptions | None = None, progress: Callable[[str], None] | None = None) -> Inspector:
        """Load weights and knowledge, fetching what is missing; of several models a panel of them.

        Raises:
            WeightsError: a part cannot be fetched.
            InputError: the model is not known, or cannot do what the options ask for.
        """
        from reason_iad.inspection.served import CLOSED
        from reason_iad.knowledge.retrieve import KnowledgeBase, tell_encoding
        from reason_iad.models.registry import JOINT, load_model
        from reason_iad.models.vision import BundledVision
        from reason_iad.models.vision_cache import CachedVision
        from reason_iad.recognition.prototypes import CategoryPrototypes

        options = options or InspectorOptions()
        say = progress or (lambda _: None)
        if JOINT in options.model:
            from reason_iad.inspection.panel_inspector import load_panel

            return load_panel(options, say)
        say("loading vision towers")
        vision = CachedVision(BundledVision.load(options.bundled_device, exact=options.dtype == "float32"))
        say(f"loading model {options.model}")
        model, settings = load_model(options.model, vision, options.loading, say)
        if not model.capabilities.latents and options.latents not in ("off", "on"):
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
        from reason_iad.inspection.compose import compose
        from reason_iad.inspection.served import served_notes, spent_by

        clock, before = Clock(on_stage), spent_by(self.model)
        found = compose(self.judge(request, clock), request, self.model.info, self.vision, clock)
        after = spent_by(self.model)
        if before is None or after is None:
            return found
        notes = (*found.report.notes, *served_notes(self.model))
        return dataclasses.replace(found, report=dataclasses.replace(found.report, cost=after - before, notes=notes))

    def judge(self, request: InspectionRequest, clock: Clock | None = None) -> Judged:
        """Look at an image and reach a verdict, asking the model where `reason` says so.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known, or nothing would be asked or compared.
        """
        return self._judge.judge(request, clock or Clock())

    def open(self, request: InspectionRequest, clock: Clock | None = None) -> Session:
        """Look at an image once, for any number of questions.

        Raises:
            ImageError: the image or a reference cannot be used.
            InputError: the category is not known.
        """
        return self._judge.open(request, clock or Clock())

    def compare_lot(self, images: Iterable[LoadedImage], progress: Callable[[int, int], None]) -> None:
        """Compare 20 or more images of one product with each other; each is then inspected without references.

        Args:
            images: of the lot, taken one by one.
            progress: told how many of how many are compared.

        Raises:
            EvidenceError: there are too few.
        """
        self._sources.compare_lot(self.options, images, progress)

    @property
    def _judge(self) -> Judge:
        """The parts that a verdict comes from."""
        from reason_iad.inspection.judge import Judge

        return Judge(
            self.options,
            self.model,
            self.vision,
            self.knowledge,
            self._categories,
            self._sources,
            self._settings,
            self._offsets,
        )
