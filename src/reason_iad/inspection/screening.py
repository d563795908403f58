"""Good parts that the evidence clears alone: the language model is asked only where its answer could change a verdict.

How far an answer can go is known from images that trained nothing: where the comparison with good parts found nothing,
the model's log-odds of a defect stayed within a range. That range, widened, and the weights of the fusion bound the
probability of a defect. Where even the highest one is that of a normal part, asking changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.inspection.dialog import Dialog, Reply, answer_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import clean
from reason_iad.inspection.verdict import Fusion, VerdictOptions, decide, logit, sigmoid
from reason_iad.types import Answer, EvidenceSummary, LatentTrace

SLACK = 0.5  # log-odds beyond what was seen, at either end
NOT_ASKED = "The language model was not asked (--reason never); the verdict rests on the comparison with good parts."


@dataclass(frozen=True)
class AnswerRange:
    """What a model answered, asked for a defect, on images of which the evidence said that they are like good ones.

    Attributes:
        calm: the largest anomaly score of these images, against two or more references.
        lowest: smallest log-odds of a defect.
        middle: their median.
        highest: the largest.
        images: how many they were.
    """

    calm: float
    lowest: float
    middle: float
    highest: float
    images: int

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> AnswerRange | None:
        """Read what is stored with a model's adapter; None where nothing is.

        Raises:
            ModelError: what is stored is no range.
        """
        stored = settings.get("answers")
        if stored is None:
            return None
        try:
            calm, lowest, middle, highest = (float(stored[n]) for n in ("calm", "lowest", "middle", "highest"))
            found = cls(calm, lowest, middle, highest, int(stored["images"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("the model's settings hold no range of answers; reinstall the package") from error
        if not found.lowest <= found.middle <= found.highest:
            raise ModelError("the model's settings hold a range of answers that is empty; reinstall the package")
        return found

    def less_any(self) -> AnswerRange:
        """The range of the same answers less those on good parts, which lie in it themselves, wherever they lie."""
        span = self.highest - self.lowest
        return AnswerRange(self.calm, -span, 0.0, span, self.images)


@dataclass(frozen=True)
class Cleared:
    """A part that is normal whatever the model would say.

    Attributes:
        probability: of a defect, were the model to answer as it usually does.
        highest: the largest that its answer could bring.
        note: says so, and by what margin.
    """

    probability: float
    highest: float
    note: str


def screen(
    fusion: Fusion,
    evidence: EvidenceSummary | None,
    limits: VerdictOptions,
    answers: AnswerRange | None,
    unsuitable: str | None = None,
) -> Cleared | None:
    """Whether the evidence clears a part alone; None where the model has to be asked.

    Args:
        fusion: of the model's answer and the evidence.
        evidence: the comparison, where there was one.
        limits: of the verdict.
        answers: how far the model's answers go; without one nothing is cleared.
        unsuitable: why the image is no picture of the product; None where it is one.
    """
    if answers is None or evidence is None or evidence.num_references < 2 or evidence.anomaly_score > answers.calm:
        return None
    found = []
    for odds in (answers.lowest - SLACK, answers.highest + SLACK, answers.middle):
        model = sigmoid(odds)
        probability = fusion.probability(model, evidence.anomaly_score)
        verdict, _ = decide(probability, evidence, limits, fusion.alone(model, evidence.anomaly_score), unsuitable)
        if verdict != "normal":
            return None
        found.append(probability)
    most = round(max(found), 2)  # rounded first, so that the parts of a lot share a few notes
    margin = logit(limits.lower) - logit(most)
    note = (
        f"Cleared by the comparison with good parts alone: whatever the language model had answered, the probability "
        f"of a defect would be at most {most:.2f}, and up to {limits.lower} is normal (a margin of {margin:.2f} "
        f"in log-odds; the range of its answers is that of {answers.images} images). It was not asked."
    )
    return Cleared(found[-1], max(found), note)


class LazyDialog:
    """A dialog that begins with the first question, if one comes; implements `Dialog`."""

    def __init__(self, start: Callable[[], Dialog]) -> None:
        self._start = start
        self._dialog: Dialog | None = None

    @property
    def _begun(self) -> Dialog:
        if self._dialog is None:
            self._dialog = self._start()
        return self._dialog

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Begin, and let it read what will be asked."""
        self._begun.read_ahead(questions)

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; see `Dialog`."""
        return self._begun.choose(question, options, think)

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words; see `Dialog`."""
        return self._begun.tell(question, max_new_tokens, on_text)

    def under(self, options: InspectorOptions) -> Dialog:
        """The same image, asked under other settings."""
        return self._begun.under(options)


class SilentDialog:
    """No model is asked: every option is as likely, so that evidence and knowledge alone have a say."""

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Do nothing: nobody is asked."""

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Even probabilities; see `Dialog`."""
        options = [clean(option) for option in options]
        even = (1 / len(options),) * len(options)
        return Reply(answer_of(question, options, even), _no_thought(even))

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Say that nobody was asked."""
        return Reply(Answer(clean(question), NOT_ASKED), _no_thought(()))

    def under(self, options: InspectorOptions) -> SilentDialog:
        """Itself: nobody is asked under other settings, either."""
        return self


def _no_thought(answer: tuple[float, ...]) -> LatentTrace:
    return LatentTrace("off", (), None, None, answer, answer, "off", False)
