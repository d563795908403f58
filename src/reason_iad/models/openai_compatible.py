"""Models behind an OpenAI-compatible server: vLLM, SGLang, Ollama, llama.cpp, or a cloud.

A server takes text and pictures and gives text back, with log-probabilities of the answer's first token where it
offers them. Knowledge, evidence and report work with that; latents and injection run inside a model, so they cannot
(`capabilities`). The address and the key come from the environment alone.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.images import Pixels, encode_jpeg, resize
from reason_iad.models.base import Capabilities, ChatTemplate, Choice, ModelInfo
from reason_iad.models.chat_client import ChatClient, Connection, host_of
from reason_iad.models.fingerprint import of_served
from reason_iad.models.letters import (
    LETTERS,
    content_of,
    letter_probabilities,
    read_json_letter,
    read_letter,
    without_thought,
)
from reason_iad.models.turns import Gate
from reason_iad.types import ServerCost

_LONGEST_SIDE = 1600  # pixels; servers scale larger pictures down themselves
_TOP = 20  # alternatives of a token that servers give at most
_SAMPLES = 5  # answers drawn where no log-probability can be trusted
_MOST_DOUBTS = 3  # after which log-probabilities are not asked for again
_SHORT, _LONG = 32, 2048  # tokens of an answer by letter, and of one that a thought or much prose comes before


class OpenAICompatible:
    """A model on a server; implements `ServedModel`."""

    def __init__(
        self,
        model: str,
        connection: Connection,
        sleep: Callable[[float], None] = time.sleep,
        thinking: int | None = None,
    ) -> None:
        """Connect with the first question, not before.

        Args:
            model: its name there.
            connection: where it is.
            sleep: waits between tries.
            thinking: most tokens of a thought before an answer, 0 for none; what the server does by itself where None.
        """
        self._thinking = thinking
        self._client, self._address = ChatClient(model, connection, sleep), connection.url
        self._doubts = 0  # answers in a row whose log-probabilities could not be trusted
        self._forms = list(_FORMS)  # of constraint, that the server may keep to
        self._room = _SHORT + (thinking or 0)  # tokens that an answer by letter needs
        self.info = ModelInfo(
            name=model,
            version=f"server {host_of(connection.url)}",
            hidden_size=0,
            num_layers=0,
            context_length=0,
            answer_style="letters",
            lists_options=True,
            answer_scale=1.0,
            sees_references=True,
            template=ChatTemplate("", "\n", "", "", ""),
        )

    @property
    def capabilities(self) -> Capabilities:
        """Answers alone; their probabilities are exact where the server gives log-probabilities."""
        return Capabilities(latents=False, attention=False, option_probabilities=self._doubts < _MOST_DOUBTS)

    @property
    def spent(self) -> ServerCost:
        """Requests and tokens of this thread so far."""
        return self._client.spent

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the server was asked."""
        said = {
            1: "The server takes one picture a message: references and image were sent one by one.",
            2: "The server takes one picture alone: it was shown the image, not the references.",
        }
        apart = self._client.limits.pictures_apart
        return (said[apart],) if apart else ()

    def ask_at_once(self, most: int) -> None:
        """Let up to `most` requests be under way, as several threads need."""
        self._client.gate = Gate(most)

    @property
    def fingerprint(self) -> str:
        """Hash of address and name: what lies behind them, a server does not tell."""
        return of_served(self.info.name, self._address)

    @classmethod
    def from_environment(cls, model: str, thinking: int | None = None) -> OpenAICompatible:
        """Connect to the server that the environment names; `thinking` as above.

        Raises:
            ModelError: it names none.
        """
        return cls(model, Connection.from_environment(), thinking=thinking)

    def choose(self, parts: Sequence[str | Pixels], num_options: int, options: Sequence[str] = ()) -> Choice:
        """Probabilities of the option letters that the prompt lists.

        They are read from the log-probabilities of the answer's first token, where letters hold most of it; then from
        answers that the server constrains to the letters; else they are the shares of a few answers drawn at
        temperature 1. Shares are smoothed by half an answer an option.

        Args:
            parts: texts and pictures of the prompt.
            num_options: how many letters it lists.
            options: their texts, so that an answer in an option's words is read too.

        Raises:
            ModelError: the server does not answer, or no answer names a letter.
        """
        letters, content = LETTERS[:num_options], [_part(part) for part in parts]
        if self._doubts < _MOST_DOUBTS:
            room = 8 if self._room == _SHORT else self._room
            answer = self._ask(content, max_tokens=room, temperature=0.0, logprobs=True, top_logprobs=_TOP)
            if _is_thought(answer) and self._room < _LONG and self._thinking is None:
                self._room = _LONG  # a model that thinks: the choice is read after its thought
                answer = self._ask(content, max_tokens=_LONG, temperature=0.0, logprobs=True, top_logprobs=_TOP)
            if (found := letter_probabilities(answer, letters, options)) is not None:
                self._doubts = 0
                return Choice(found, "logprobs")
            self._doubts += 1 if answer.get("logprobs") else _MOST_DOUBTS
        return self._constrained(content, letters) or self._sampled(content, letters, options)

    def _ask(self, content: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
        """An answer, with the budget of a thought where one was set, in every form that servers know it by."""
        if self._thinking is not None:
            switch: dict[str, Any] = {"enable_thinking": self._thinking > 0}
            if self._thinking:
                switch["thinking_budget"] = self._thinking
            settings |= {"chat_template_kwargs": switch, "thinking_budget_tokens": self._thinking}
            settings["reasoning_effort"] = "low" if self._thinking else "none"
        return self._client.ask(content, **settings)

    def _constrained(self, content: list[dict[str, Any]], letters: str) -> Choice | None:
        """What the server answers where it may only name a letter; None where it keeps to no form of constraint."""
        while self._forms:
            settings, read = form_pair = self._forms[0]
            form = settings(letters)
            answer = self._try_form(content, form, logprobs=True, top_logprobs=_TOP, temperature=0.0)
            if answer is not None and read(content_of(answer), letters) is not None:
                if (found := letter_probabilities(answer, letters)) is not None:
                    return Choice(found, "logprobs")
                drawn = (self._try_form(content, form, temperature=1.0, seed=number) for number in range(_SAMPLES))
                said = [read(content_of(one), letters) for one in drawn if one is not None]
                kept = [letter for letter in said if letter is not None]
                if kept and len(kept) == len(said):
                    return Choice(_shares(kept, letters), "constrained samples")
            if form_pair in self._forms:  # another thread may have dropped it meanwhile
                self._forms.remove(form_pair)
        return None

    def _try_form(self, content: list[dict[str, Any]], form: dict[str, Any], **settings: Any) -> dict[str, Any] | None:
        """An answer under a constraint, or None where the server refuses it."""
        answer = self._ask(content, max_tokens=self._room, **settings, **form)
        if any(name in self._client.limits.refused for name in form):
            return None
        if _is_cut(answer) and self._room < _LONG:  # a thought came before the answer
            self._room = _LONG
            return self._try_form(content, form, **settings)
        return answer

    def _sampled(self, content: list[dict[str, Any]], letters: str, options: Sequence[str]) -> Choice:
        read: list[str] = []
        texts: list[str] = []
        for number in range(_SAMPLES):
            answer = self._ask(content, max_tokens=self._room, temperature=1.0, seed=number)
            letter = read_letter(content_of(answer), letters, options)
            if letter is None and _is_cut(answer) and self._room < _LONG:
                self._room = _LONG
                answer = self._ask(content, max_tokens=self._room, temperature=1.0, seed=number)
                letter = read_letter(content_of(answer), letters, options)
            texts.append(_said(answer))
            read += [] if letter is None else [letter]
        if not read:
            raise ModelError(
                f"{self.info.name} answered {texts[0]} to a choice among {', '.join(letters)}; expected one of "
                "them: take a model that follows instructions, and turn its thinking off where it thinks"
            )
        return Choice(_shares(read, letters), "samples")

    def complete(self, parts: Sequence[str | Pixels], max_new_tokens: int) -> str:
        """A greedy answer in free words.

        Raises:
            ModelError: the server does not answer, or its answer holds nothing but a thought.
        """
        content = [_part(part) for part in parts]
        answer = self._ask(content, max_tokens=max_new_tokens, temperature=0.0)
        text = without_thought(content_of(answer))
        if not (text or "").strip() and _is_cut(answer):
            answer = self._ask(content, max_tokens=max_new_tokens + _LONG, temperature=0.0)
            text = without_thought(content_of(answer))
        if not (text or "").strip():
            raise ModelError(
                f"{self.info.name} answered {_said(answer)}; expected words: turn its thinking off or ask another"
            )
        return str(text).strip()


def _schema(letters: str) -> dict[str, Any]:
    """The constraint that most servers know: an answer in JSON, its one field being a letter."""
    fields = {"answer": {"type": "string", "enum": list(letters)}}
    schema = {"type": "object", "properties": fields, "required": ["answer"], "additionalProperties": False}
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    }


def _exact(text: str, letters: str) -> str | None:
    said = (without_thought(text) or "").strip()
    return said[1] if said in _marked(letters) else None


def _marked(letters: str) -> list[str]:
    return [f"({letter})" for letter in letters]


_Form = tuple[Callable[[str], dict[str, Any]], Callable[[str, str], str | None]]
# What is sent, and how the answer is read; vLLM's choice has two names, by its age. Its letters stand in parentheses:
# so the answer shows whether the server has heard of the constraint.
_FORMS: tuple[_Form, ...] = (
    (_schema, read_json_letter),
    (lambda letters: {"structured_outputs": {"choice": _marked(letters)}}, _exact),
    (lambda letters: {"guided_choice": _marked(letters)}, _exact),
)


def _shares(read: Sequence[str], letters: str) -> tuple[float, ...]:
    total = len(read) + 0.5 * len(letters)
    return tuple((read.count(letter) + 0.5) / total for letter in letters)


def _is_cut(choice: dict[str, Any]) -> bool:
    """Whether an answer ended because its tokens were used up, or in the middle of a thought."""
    return choice.get("finish_reason") == "length" or without_thought(content_of(choice)) is None


def _is_thought(choice: dict[str, Any]) -> bool:
    """Whether an answer ended in, or was nothing but, a thought."""
    message = choice.get("message")
    apart = isinstance(message, dict) and (message.get("reasoning_content") or message.get("reasoning"))
    return without_thought(content_of(choice)) is None or bool(apart and not content_of(choice).strip())


def _said(choice: dict[str, Any]) -> str:
    """An answer as messages quote it."""
    text, message = content_of(choice), choice.get("message")
    if text:
        return repr(" ".join(text.split())[:60])
    thought = isinstance(message, dict) and (message.get("reasoning_content") or message.get("reasoning"))
    return "with a thought and no answer" if thought else "nothing"


def _part(part: str | Pixels) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    longest = max(part.shape[:2])
    if longest > _LONGEST_SIDE:
        scale = _LONGEST_SIDE / longest
        part = resize(part, (max(1, round(part.shape[0] * scale)), max(1, round(part.shape[1] * scale))))
    data = base64.b64encode(encode_jpeg(part, 95)).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
