"""Questions to a model on a server: the same words in the same order as for an open model, sent as one message."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from reason_iad.errors import InputError, ModelError, ModelUnavailableError
from reason_iad.images import Pixels
from reason_iad.inspection.dialog import Reply, answer_of
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import clean, context_parts, question_text
from reason_iad.models.base import ImageTokens, Model, ServedModel
from reason_iad.types import Answer, LatentTrace, ServerCost

if TYPE_CHECKING:
    from reason_iad.reasoning.details import Detail

T = TypeVar("T")

CLOSED = (
    "The model {name} runs on a server, which gives no access to its inside: latent reasoning and injection, which "
    "need it, were off. Knowledge, evidence and report are as for any model."
)


class ServedDialog:
    """A dialog with a model on a server; it cannot reason in latents, and an inspection says so.

    Details, where they are on, are sent as further pictures: of the places that the comparison found odd.
    """

    def __init__(
        self,
        model: ServedModel,
        image: Pixels,
        knowledge: Sequence[str] = (),
        evidence: str | None = None,
        references: Sequence[Pixels] = (),
        options: InspectorOptions | None = None,
        details: Callable[[str], Sequence[Detail]] = lambda name: (),
    ) -> None:
        """Hold what every question about the image is sent with.

        Args:
            model: what answers.
            image: the inspected one (H, W, 3).
            knowledge: notes about the product.
            evidence: what the comparison found, in words.
            references: good parts that the model is shown.
            options: say whether details are sent; they are off where None.
            details: gives the places to send, by the name that the settings know their finder by.
        """
        self._model, self._find, self._notes = model, details, list[str]()
        pictures = cast("Sequence[ImageTokens]", [*references, image])  # they stand in the same places
        parts = context_parts(model.info, pictures[-1], knowledge, evidence, pictures[:-1])
        self._context = cast("list[str | Pixels]", parts)
        self._finder = "off" if options is None else options.details
        self._details = tuple(details(self._finder))

    def under(self, options: InspectorOptions) -> ServedDialog:
        """The same image with or without details; what other settings would change, a server does not do."""
        if options.details == self._finder:
            return self
        view = copy.copy(self)
        view._notes, view._finder = [], options.details
        view._details = tuple(self._find(options.details))
        return view

    def read_ahead(self, questions: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Do nothing: a server keeps no prompt for us."""

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; see `Dialog`."""
        from reason_iad.reasoning.answers import check_options

        options = [clean(option) for option in options]
        check_options(options)
        text = question_text(self._model.info, question, options)
        found = self._ask(lambda parts: self._model.choose([*parts, text], len(options), options)).probabilities
        return Reply(answer_of(question, options, found), self._trace(found))

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer a question in free words; see `Dialog`."""
        asked = question_text(self._model.info, question)
        text = self._ask(lambda parts: self._model.complete([*parts, asked], max_new_tokens))
        if on_text is not None:
            on_text(text)
        return Reply(Answer(clean(question), text), self._trace(()))

    def _ask(self, ask: Callable[[list[str | Pixels]], T]) -> T:
        """Ask with the details behind the image; without, where the server takes no more pictures, and say so.

        Raises:
            ModelError: the model does not answer.
        """
        if not self._details:
            return ask(self._context)
        from reason_iad.reasoning.details import parts_of

        try:
            return ask([*self._context, *(part for one in self._details for part in parts_of(one))])
        except ModelUnavailableError:
            raise
        except ModelError as error:
            found = ask(self._context)
            self._notes.append(
                f"{len(self._details)} details were left out, with which the model did not answer: {error}"
            )
            self._details = ()
            return found

    def _trace(self, answer: tuple[float, ...]) -> LatentTrace:
        from reason_iad.reasoning.details import tried_detail

        told = tuple(tried_detail(detail, 0, True) for detail in self._details)
        return LatentTrace(
            mode="off", steps=(), start_reward=None, best_reward=None, base_answer=answer, answer=answer,
            stopped="off", unstable=False, details=told, notes=tuple(self._notes),
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
