"""Answers the questions of one image under any settings, from one loaded model.

What settings share is done once: features and banks come from the cache, and settings with the same context (shots,
knowledge, evidence) share the processed prompt and the questions, which an open model reads in one pass. A record
carries the whole cost as if it had been asked alone, but for its share of that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from reason_iad.benchmark.features import StoredBanks, StoredVision, vision_namespace
from reason_iad.benchmark.plan import Job, QuestionJob, QuestionUnit, Unit
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.setting import Setting
from reason_iad.errors import ImageError, ModelUnavailableError, ReasonIADError
from reason_iad.evidence.features import EvidenceOptions
from reason_iad.images import read_image
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.served import spent_by
from reason_iad.inspection.session import DETECTION, Session
from reason_iad.inspection.sources import EvidenceSources
from reason_iad.types import InspectionRequest

if TYPE_CHECKING:
    from reason_iad.evidence.compare import EvidenceMap
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.images import LoadedImage, Pixels


class Solver(Protocol):
    """Whatever answers units of work: the inspector, or a stand-in in tests."""

    def answer(self, unit: Any) -> Iterator[Record]:
        """Yield one record for each job of the unit, errors included."""
        ...


SolverFactory = Callable[[], Solver]


@dataclass(frozen=True, eq=False)
class Opened:
    """An image that was looked at, with its questions read."""

    session: Session
    stages: dict[str, float]  # milliseconds
    share: float  # milliseconds that reading all questions together took, for each of them


class InspectorSolver:
    """The tool itself as it answers questions: the inspector's own session and dialog."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector

    @classmethod
    def load(
        cls, options: InspectorOptions | None = None, cache: Path | None = None, threads: int = 1
    ) -> InspectorSolver:
        """Load the model and, where a cache is given, keep what the towers say there.

        Args:
            options: which model, and how it is loaded; the bundled one where None.
            cache: folder of features, which are float32 whatever the model computes in.
            threads: of this process.

        Raises:
            WeightsError: a part cannot be fetched.
            ModelError: the model is not known.
        """
        import torch

        from reason_iad.knowledge.retrieve import KnowledgeBase
        from reason_iad.models.registry import load_model
        from reason_iad.models.vision import BundledVision
        from reason_iad.models.vision_cache import CachedVision
        from reason_iad.recognition.prototypes import CategoryPrototypes

        options = options or InspectorOptions()
        torch.set_num_threads(threads)
        towers = BundledVision.load(options.bundled_device, exact=True)  # the same records on every machine
        folder = None if cache is None else cache / vision_namespace()
        stored = towers if folder is None else StoredVision(towers, folder)
        vision = CachedVision(stored)
        loaded, settings = load_model(options.model, vision, options.loading)
        banks = None if folder is None else StoredBanks(towers, vision, folder)

        def at_hand(references: Sequence[Pixels], asked: EvidenceOptions) -> MemoryBank | None:
            """The stored bank of a single reference; sets are drawn anew for each question and seldom come again."""
            stored = banks is not None and len(references) == 1 and asked == EvidenceOptions()
            return banks.single(references[0]) if stored and banks is not None else None

        inspector = Inspector(
            options,
            loaded,
            vision,
            KnowledgeBase.load(),
            CategoryPrototypes.load(),
            settings,
            EvidenceSources(vision, at_hand),
        )
        return cls(inspector)

    def answer(self, unit: QuestionUnit) -> Iterator[Record]:
        """Yield one record for each job; an error of one image or question stays with it.

        Raises:
            ModelUnavailableError: the model's server is away; that is no answer to any question.
        """
        contexts: dict[tuple[Any, ...], Opened | Exception] = {}
        views: dict[Setting, Session] = {}
        for job in unit.jobs:
            key = job.setting.context
            if key not in contexts:
                views.clear()
                contexts.clear()  # settings with one context stand side by side; others need their memory
                contexts[key] = self._open(unit, job.setting)
            held = contexts[key]
            if isinstance(held, Exception):
                yield error_record(unit, job, held)
                continue
            try:
                if job.setting not in views:
                    views[job.setting] = self._view(held.session, unit, job.setting)
                yield self._ask(views[job.setting], unit, job, held)
            except ModelUnavailableError:  # nothing was answered: the same run goes on when the server is back
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it stays with this question
                yield error_record(unit, job, error)

    def judge(
        self, image: Path, references: Sequence[Path], seed: int = 0
    ) -> tuple[tuple[EvidenceMap, LoadedImage], float]:
        """Evidence, image and the tool's probability of a defect, all parts of the method on.

        Raises:
            ReasonIADError: image or references cannot be used.
        """
        options = replace(self.inspector.options, seed=seed, reason=self.inspector.options.reason or "auto")
        judged = self.inspector.with_options(options).judge(InspectionRequest(image, references=tuple(references)))
        context = judged.session.context
        assert context.evidence is not None
        return (context.evidence, context.image), judged.probability

    def _open(self, unit: QuestionUnit, setting: Setting) -> Opened | Exception:
        clock = Clock()
        view = self.inspector.with_options(setting.inspector_options(unit.image_sha256))
        try:
            category = unit.sample.category if setting.gives_category else None
            if category is not None and view.knowledge.find_category(category) is None:
                category = None
            session = self._look(view, unit, setting, category, clock)
            if session.context.image.sha256 != unit.image_sha256:
                raise ReasonIADError(f"{unit.sample.image} changed during the run; run the same command again")
            with clock.stage("questions"):  # all of the image, also those answered already: the same numbers always
                session.dialog.read_ahead([(one.question, one.options) for one in unit.sample.questions])
        except Exception as error:  # noqa: BLE001 - recorded with each of its questions
            return error
        stages = clock.milliseconds
        return Opened(session, stages, stages.pop("questions") / max(1, len(unit.sample.questions)))

    def _look(
        self, view: Inspector, unit: QuestionUnit, setting: Setting, category: str | None, clock: Clock
    ) -> Session:
        """Open an image with the references that there are; the record counts them.

        One that cannot be read is passed over like one that is missing; without any the image is asked about alone.
        """

        def look(references: tuple[Path, ...]) -> Session:
            request = InspectionRequest(unit.sample.image, category, references)
            return _with_references(view, references).open(request, clock)

        references = unit.sample.templates(setting.templates, setting.shots)
        try:
            return look(references)
        except ImageError:
            readable = tuple(path for path in references if is_readable(path))
            if readable == references:
                raise
            return look(readable)

    def _view(self, session: Session, unit: QuestionUnit, setting: Setting) -> Session:
        """The same prepared image, asked under another setting of the same context."""
        return replace(session, dialog=session.dialog.under(setting.inspector_options(unit.image_sha256)))

    def _ask(self, session: Session, unit: QuestionUnit, job: QuestionJob, opened: Opened) -> Record:
        began, before = perf_counter(), spent_by(self.inspector.model)
        question = job.question
        kind = None if question.yes is None else DETECTION  # the data says so; other types are told from the words
        reply = session.choose(question.question, question.options, kind)
        spent = (perf_counter() - began) * 1000 + opened.share
        after = spent_by(self.inspector.model)
        cost = {} if before is None or after is None else {"cost": asdict(after - before)}
        probabilities = [option.probability for option in reply.answer.options]
        summary, trace = session.context.summary, reply.trace
        offset = None if kind is None else session.offset()  # asked for with the answer, and kept
        return {
            **unit.head(job),
            "answer": max(range(len(probabilities)), key=probabilities.__getitem__),
            "probabilities": _rounded(probabilities),
            "model": _rounded(reply.trace.answer),
            "base": _rounded(trace.base_answer),
            "references": len(session.context.references),
            "evidence": None if summary is None else round(summary.anomaly_score, 6),
            **({} if offset is None else {"offset": offset.mean, "goods": offset.pairs}),
            "recognized": session.context.category,
            "stopped": trace.stopped,
            "unstable": trace.unstable,
            "rewards": [round(step.best_reward, 4) for step in trace.steps],
            "start_reward": None if trace.start_reward is None else round(trace.start_reward, 4),
            "patches": len(trace.patches),
            "details": [[one.place, one.kept] for one in trace.details],
            "milliseconds": {"answer": round(spent - trace.milliseconds, 1), "thought": round(trace.milliseconds, 1)},
            "image_milliseconds": opened.stages,
            **cost,
        }


def error_record(unit: Unit, job: Job, error: BaseException) -> Record:
    """What is kept of a job that could not be done."""
    return {**unit.head(job), "error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]}


def _with_references(view: Inspector, references: Sequence[Path]) -> Inspector:
    """The inspector, which compares with nothing where there is no reference: not with what a user taught it."""
    return view if references else view.with_options(replace(view.options, evidence="off"))


def is_readable(path: Path) -> bool:
    """Whether an image file can be used."""
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 7) for value in values]
