"""One image that was looked at: what is known about it, and questions that are answered from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.looks import Look
from reason_iad.evidence.suitability import why_empty
from reason_iad.images import LoadedImage, Pixels
from reason_iad.inspection.dialog import Dialog, Reply, relative_entropy
from reason_iad.inspection.nearest import Compared
from reason_iad.inspection.option_fusion import OptionFusion, Spoken, measured, strongest
from reason_iad.inspection.options import USUAL_OVERKILL
from reason_iad.inspection.prompts import evidence_line
from reason_iad.inspection.question_kinds import kind_of
from reason_iad.inspection.type_names import Closest, Taught, same_name, with_examples
from reason_iad.inspection.verdict import Fusion, less
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.types import AnswerOffset, CategorySource, Citation, EvidenceSummary
from reason_iad.words import counted

DETECTION, CLASSIFICATION = "Anomaly Detection", "Defect Classification"
DETECTION_QUESTION = "Is there any defect in the object?"
YES, NO = "Yes.", "No."


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
    compared: Compared | None = None  # the references that the evidence comes from
    look: Look | None = None  # of the area that differs most from them
    excluded: tuple[str, ...] = ()  # categories that recognition knows and did not see
    taught: Callable[[], Taught | None] | None = None  # its oddest area by labeled examples; None where there are none
    rate: float = USUAL_OVERKILL  # share of good parts that may be called defective

    @cached_property
    def summary(self) -> EvidenceSummary | None:
        """The evidence about the whole image, where there were references."""
        return None if self.evidence is None else self.evidence.summary(self.image.image_hw)

    @cached_property
    def unsuitable(self) -> str | None:
        """Why the image is no picture of the product, as far as references or the image itself tell; else None."""
        return why_empty(self.image.pixels) if self.evidence is None else self.evidence.unsuitable

    @property
    def place(self) -> str | None:
        """Where the evidence is strongest, in words; None without evidence or where nothing is odd."""
        if self.evidence is None or self.look is None or not self.evidence.anomaly_map.any():
            return None
        regions = self.evidence.regions(self.image.image_hw)
        return regions[0].place if regions else self.look.place

    def line(self, hue: bool) -> str | None:
        """The evidence as the model reads it, with the hue where it has learned that; None without evidence."""
        if self.evidence is None:
            return None
        return evidence_line(self.evidence.text(self.image.image_hw), self.look, hue)


@dataclass(frozen=True, eq=False)
class Session:
    """One image, looked at once; its dialog answers any number of questions from the same stored prompt."""

    context: Context
    dialog: Dialog
    fusion: Fusion
    options: OptionFusion = field(default_factory=OptionFusion)
    knowledge: KnowledgeBase | None = None  # of the inspector; None leaves types of questions untold
    ask_offset: Callable[[], AnswerOffset | None] | None = None  # of the model on good parts; None where it is off

    def choose(self, question: str, options: Sequence[str], kind: str | None = None, think: bool = True) -> Reply:
        """Answer a question with given options, from the model, the evidence and the knowledge.

        Args:
            question: the question.
            options: what can be answered.
            kind: its type, as MMAD names it; told from its words where None.
            think: whether the model may reason in latents.

        Raises:
            InputError: the options are not answerable.
        """
        return self.calibrate(self.dialog.choose(question, options, think), kind)

    def calibrate(self, reply: Reply, kind: str | None = None) -> Reply:
        """The reply with what evidence and knowledge say of its options; its trace keeps what the model said."""
        answer = reply.answer
        if kind is None and self.knowledge is not None:
            kind = kind_of(answer.question, self.knowledge.closest)
        texts = [option.text for option in answer.options]
        model = [option.probability for option in answer.options]
        yes = [i for i, text in enumerate(texts) if text.strip().lower().startswith("yes")]
        closed = len(texts) == 2 and len(yes) == 1
        grounds: list[str] = []
        if closed and kind == DETECTION:
            defect = self.probability(model[yes[0]])
            found = tuple(defect if i == yes[0] else 1 - defect for i in range(2))
            grounds += ["the anomaly score"] if self.context.evidence is not None else []
        else:
            weights, silent = self.options.of(kind), (0.0,) * len(texts)
            spoken = Spoken(model, silent, silent, silent)  # what is known has no say on the words "yes" and "no"
            if not closed:
                known, unlike = self.known(answer.question, texts), self.unlike(answer.question, texts)
                known = self._level(texts, known) if kind == CLASSIFICATION else known
                spoken = Spoken(model, self.measured(texts), known, unlike)
            if weights.evidence and len(set(spoken.evidence)) > 1:
                grounds.append("the measured place and look")
            if weights.knowledge and len(set(spoken.knowledge)) > 1:
                grounds.append(f"the knowledge of the category {self.context.category}")
            if weights.excluded and len(set(spoken.excluded)) > 1:
                grounds.append("the knowledge of learned categories, none of which it shows")
            found = spoken.joined(weights)
            if kind == CLASSIFICATION and (taught := self._by_examples(texts, found)) is not None:
                found = taught
                grounds.append("labeled examples of the category")
        pairs = tuple(replace(o, probability=p) for o, p in zip(answer.options, found, strict=True))
        best = max(pairs, key=lambda pair: pair.probability)
        told = replace(answer, text=best.text, options=pairs, entropy=relative_entropy(found), grounds=tuple(grounds))
        return replace(reply, answer=told)

    def offset(self) -> AnswerOffset | None:
        """What the model says of good parts; None where that is not subtracted, or there is none."""
        return None if self.ask_offset is None else self.ask_offset()

    def probability_note(self, offset: AnswerOffset | None) -> str:
        """How the probability of a defect was calibrated, in plain words."""
        if offset is None:
            return self.fusion.note
        count = counted(len(offset.log_odds), "good part")
        return f"{self.fusion.note}; the model's log-odds on {count}, {offset.mean:+.2f} on average, were subtracted"

    def _level(self, texts: Sequence[str], known: tuple[float, ...]) -> tuple[float, ...]:
        """K with one value for all options that name a kind of defect of the category: it knows all of them alike.

        How close their wordings come to a question says nothing of the image.
        """
        about, base = self.context.knowledge, self.knowledge
        if about is None:
            return known
        closest = None if base is None else base.closest
        own = [i for i, text in enumerate(texts) if self._names_kind(text, about, closest)]
        most = max((known[i] for i in own), default=0.0)
        return tuple(most if i in own else value for i, value in enumerate(known))

    @staticmethod
    def _names_kind(text: str, about: CategoryKnowledge, closest: Closest | None) -> bool:
        return same_name(text.rstrip("."), [kind.name for kind in about.defects], about, closest) is not None

    def _by_examples(self, texts: Sequence[str], found: tuple[float, ...]) -> tuple[float, ...] | None:
        """Probabilities of options that labeled examples join; None where there are none, or none of these types."""
        context, base = self.context, self.knowledge
        said = None if context.taught is None else context.taught()
        if said is None:
            return None
        closest = None if base is None else base.closest
        return with_examples(texts, found, said, lambda name, among: same_name(name, among, context.knowledge, closest))

    def probability(self, model: float) -> float:
        """Calibrated probability of a defect from the model's own, fused with the evidence."""
        summary = self.context.summary
        score = None if summary is None else summary.anomaly_score
        return self.fusion.probability(less(model, self.offset()), score)

    def alone(self, model: float) -> tuple[float, float] | None:
        """What the model's own probability and the evidence would each say by itself; None without evidence."""
        summary = self.context.summary
        return None if summary is None else self.fusion.alone(less(model, self.offset()), summary.anomaly_score)

    def measured(self, texts: Sequence[str]) -> tuple[float, ...]:
        """L of each option: how likely the measured place and look are if it is true; 0 without evidence."""
        summary, look, tables = self.context.summary, self.context.look, self.options.looks
        if summary is None or look is None or tables is None:
            return (0.0,) * len(texts)
        known = self._known_category()
        about = None if known is None else known.knowledge_of(self.context.category)
        return measured(texts, look, summary.anomaly_score, tables, about, None if known is None else known.closest)

    def known(self, question: str, texts: Sequence[str]) -> tuple[float, ...]:
        """K of each option: how close the knowledge of the category comes; 0 where none of it is in the prompt."""
        known = self._known_category()
        return (0.0,) * len(texts) if known is None else known.support(question, texts, self.context.category)

    def unlike(self, question: str, texts: Sequence[str]) -> tuple[float, ...]:
        """U of each option: how close the knowledge of what it is not comes; 0 where nothing is excluded."""
        if self.knowledge is None or not self.context.citations or not self.context.excluded:
            return (0.0,) * len(texts)
        return strongest(self.knowledge, question, texts, self.context.excluded)

    def _known_category(self) -> KnowledgeBase | None:
        """The knowledge, where some of the image's own category stands in the prompt."""
        cited = any(c.category == self.context.category for c in self.context.citations)
        return self.knowledge if cited else None
