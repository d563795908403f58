"""Questions to a model on a server: the same words in the same order as for an open model, sent as one message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from reason_iad.errors import InputError
from reason_iad.images import Pixels
from reason_iad.inspection.dialog import Reply, answer_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import clean, context_parts, question_text
from reason_iad.models.base import ImageTokens, Model, ServedModel
from reason_iad.types import Answer, LatentTrace, ServerCost

CLOSED = (
    "The model {name} runs on a server, which gives no access to its inside: latent reasoning and injection, which "
    "need it, were off. Knowledge, evidence and report are as for any model."
)


class ServedDialog:
    """A dialog with a model on a server; it cannot reason in latents, and an inspection says so."""

    def __init__(
        self,
        model: ServedModel,
        image: Pixels,
        knowledge: Sequence[str] = (),
        evidence: str | None = None,
        references: Sequence[Pixels] = (),
    ) -> None:
        """Hold what every question about the image is sent with."""
        self._model = model
        pictures = cast("Sequence[ImageTokens]", [*references, image])  # they stand in the same places
        parts = context_parts(model.info, pictures[-1], knowledge, evidence, pictures[:-1])
        self._context = cast("list[str | Pixels]", parts)

    def under(self, options: InspectorOptions) -> ServedDialog:
        """Itself: what other settings would change, a server does not do."""
        return self

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Do nothing: a server keeps no prompt for us."""

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; see `Dialog`."""
        from reason_iad.reasoning.answers import check_options

        options = [clean(option) for option in options]
        check_options(options)
        text = question_text(self._model.info, question, options)
        found = self._model.choose([*self._context, text], len(options), options).probabilities
        return Reply(answer_of(question, options, found), _no_thought(found))

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words; see `Dialog`."""
        text = self._model.complete([*self._context, question_text(self._model.info, question)], max_new_tokens)
        if on_text is not None:
            on_text(text)
        return Reply(Answer(clean(question), text), _no_thought(()))


def _no_thought(answer: tuple[float, ...]) -> LatentTrace:
    return LatentTrace(
        mode="off", steps=(), start_reward=None, best_reward=None, base_answer=answer, answer=answer, stopped="off",
        unstable=False,
    )  # fmt: skip


def spent_by(model: Model) -> ServerCost | None:
    """Requests and tokens that a model on a server was asked in this thread so far; None where nothing counts them."""
    found = getattr(model, "spent", None)
    return found if isinstance(found, ServerCost) else None


def served_notes(model: Model) -> tuple[str, ...]:
    """What a person should know about how a server was asked."""
    return tuple(getattr(model, "notes", ()))


def ask_at_once(inspector: object, most: int) -> None:
    """Let several threads have requests under way.

    Raises:
        InputError: the model runs here, where threads would only wait for each other.
    """
    let = getattr(getattr(inspector, "model", None), "ask_at_once", None)
    if let is None:
        raise InputError(f"found --parallel {most} with a model that runs here; expected openai:NAME: use processes")
    let(most)
