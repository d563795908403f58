"""Questions to a model on a server: the same words in the same order as for an open model, sent as one message."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from reason_iad.images import Pixels
from reason_iad.inspection.dialog import Dialog, Reply
from reason_iad.inspection.prompts import clean, context_parts, question_text
from reason_iad.models.base import ImageTokens
from reason_iad.models.openai_compatible import OpenAICompatible
from reason_iad.reasoning.answers import check_options
from reason_iad.types import Answer, LatentTrace, OptionProbability

CLOSED = (
    "The model {name} runs on a server, which gives no access to its inside: latent reasoning and injection, which "
    "need it, were off. Knowledge, evidence and report are as for any model."
)


class RemoteDialog(Dialog):
    """One image, many questions; takes the place of `Dialog` where the model is closed; shares none of its state."""

    def __init__(
        self,
        model: OpenAICompatible,
        image: Pixels,
        knowledge: Sequence[str] = (),
        evidence: str | None = None,
        references: Sequence[Pixels] = (),
    ) -> None:
        """Hold what every question about the image is sent with."""
        self._server = model
        pictures = cast("Sequence[ImageTokens]", [*references, image])  # they stand in the same places
        parts = context_parts(model.info, pictures[-1], knowledge, evidence, pictures[:-1])
        self._context = cast("list[str | Pixels]", parts)

    def __getattr__(self, name: str) -> Any:
        """A server keeps its prefix to itself: whoever asks for it is told what the model cannot do."""
        if name == "prefix":
            self._server.extend()
        raise AttributeError(name)

    def choose(self, question: str, options: Sequence[str], think: bool = True) -> Reply:
        """Answer a question with given options; `think` is heard and cannot be followed.

        Raises:
            InputError: the options are not answerable.
            ModelError: the server does not answer.
        """
        options = [clean(option) for option in options]
        check_options(options)
        text = question_text(self._server.info, question, options)
        found = self._server.choose([*self._context, text], len(options), options).probabilities
        best = max(range(len(options)), key=found.__getitem__)
        pairs = tuple(OptionProbability(option, p) for option, p in zip(options, found, strict=True))
        entropy = -sum(p * math.log(max(p, 1e-12)) for p in found) / math.log(len(options))
        trace = LatentTrace(
            mode="off", steps=(), start_reward=None, best_reward=None, base_answer=found, answer=found, stopped="off",
            unstable=False,
        )  # fmt: skip
        return Reply(Answer(clean(question), options[best], pairs, round(entropy, 6)), trace)

    def tell(self, question: str, max_new_tokens: int = 64, on_text: Callable[[str], None] | None = None) -> Answer:
        """Answer a question in free words.

        Raises:
            ModelError: the server does not answer.
        """
        text = self._server.complete([*self._context, question_text(self._server.info, question)], max_new_tokens)
        if on_text is not None:
            on_text(text)
        return Answer(clean(question), text)
