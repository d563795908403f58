"""Questions about one prepared image: the prefix stands, every question extends it and is read from probabilities.

`Dialog` is what a session asks; `open_dialog.OpenDialog` answers it from a model whose inside is open,
`served.ServedDialog` from one on a server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import clean
from reason_iad.types import Answer, LatentTrace, OptionProbability


@dataclass(frozen=True)
class Reply:
    """An answer and how it was reached."""

    answer: Answer
    trace: LatentTrace

    def probability_of(self, text: str) -> float:
        """Probability of one option."""
        return next(o.probability for o in self.answer.options if o.text == text)


class Dialog(Protocol):
    """One image, many questions."""

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Say which questions, with their options, are about to be asked: an open model reads them in one pass."""
        ...

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; `think` lets the model reason in latents, where it can.

        Raises:
            InputError: the options are not answerable.
            ModelError: the model does not answer.
        """
        ...

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words; `on_text` gets the answer as far as it stands.

        Raises:
            ModelError: the model does not answer.
        """
        ...

    def under(self, options: InspectorOptions) -> Dialog:
        """The same prepared image, asked under other settings of latents and injection."""
        ...


def answer_of(question: str, options: Sequence[str], probabilities: Sequence[float]) -> Answer:
    """The likeliest option with the probabilities of all, and how undecided they are."""
    best = max(range(len(options)), key=probabilities.__getitem__)
    pairs = tuple(OptionProbability(o, p) for o, p in zip(options, probabilities, strict=True))
    return Answer(clean(question), options[best], pairs, relative_entropy(probabilities))


def relative_entropy(probabilities: Sequence[float]) -> float:
    """Entropy of a distribution divided by that of the even one: 0 sure, 1 undecided.

    >>> relative_entropy([0.5, 0.5]), relative_entropy([1.0, 0.0])
    (1.0, 0.0)
    """
    entropy = -sum(p * math.log(max(p, 1e-12)) for p in probabilities)
    return round(abs(entropy) / math.log(len(probabilities)), 6)
