"""Models behind an OpenAI-compatible server: vLLM, SGLang, Ollama, llama.cpp, or a cloud.

A server takes text and pictures and gives text back, with log-probabilities of the answer's first token where it
offers them. Knowledge, evidence and report work with that; latents and injection run inside a model, so they cannot
(`capabilities`). The address and the key come from the environment alone.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import random
import re
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from reason_iad.errors import ModelError
from reason_iad.images import Pixels, encode_jpeg, resize
from reason_iad.models.base import Capabilities, ChatTemplate, Choice, ModelInfo

if TYPE_CHECKING:
    import httpx

URL_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}  # what may pass
_LONGEST_SIDE = 1600  # pixels; servers scale larger pictures down themselves
_TOP = 20  # alternatives of a token that servers give at most
_SAMPLES = 5  # answers drawn where a server gives no log-probabilities


@dataclass(frozen=True)
class Connection:
    """Where a server is and how patient we are; the key stays out of every message."""

    url: str
    key: str | None = field(default=None, repr=False)
    connect_seconds: float = 10.0
    answer_seconds: float = 120.0
    retries: int = 4
    backoff_seconds: float = 0.5  # before the first retry; doubled before each further one
    longest_wait: float = 30.0


class OpenAICompatible:
    """A model on a server; implements `ServedModel`."""

    def __init__(self, model: str, connection: Connection, sleep: Callable[[float], None] = time.sleep) -> None:
        self._model, self._connection, self._sleep = model, connection, sleep
        self._gives_logprobs: bool | None = None  # not known before the first answer
        self._client: httpx.Client | None = None
        self.info = ModelInfo(
            name=model,
            version=f"server {_host(connection.url)}",
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
        return Capabilities(latents=False, attention=False, option_probabilities=self._gives_logprobs is not False)

    @property
    def fingerprint(self) -> str:
        """Hash of address and name: what lies behind them, a server does not tell."""
        return hashlib.sha256(f"{self._connection.url} {self._model}".encode()).hexdigest()[:16]

    @classmethod
    def from_environment(cls, model: str) -> OpenAICompatible:
        """Connect to the server that the environment names.

        Raises:
            ModelError: it names none.
        """
        url = os.environ.get(URL_VARIABLE, "").strip()
        if not url.startswith(("http://", "https://")):
            raise ModelError(
                f"{URL_VARIABLE} is {url!r}; expected the address of an OpenAI-compatible server, such as "
                f"http://localhost:8000/v1 (a key, where it wants one, in {KEY_VARIABLE})"
            )
        return cls(model, Connection(url.rstrip("/"), os.environ.get(KEY_VARIABLE) or None))

    def choose(self, parts: Sequence[str | Pixels], num_options: int) -> Choice:
        """Probabilities of the option letters that the prompt lists.

        They are read from the log-probabilities of the answer's first token; where the server offers none, they are
        the shares of a few answers drawn at temperature 1, smoothed by half an answer an option.

        Raises:
            ModelError: the server does not answer, or no answer names a letter.
        """
        letters = LETTERS[:num_options]
        if self._gives_logprobs is not False:
            answer = self._ask(parts, max_tokens=4, temperature=0.0, logprobs=True, top_logprobs=_TOP)
            found = _letter_logprobs(answer, letters)
            self._gives_logprobs = found is not None
            if found is not None:
                return Choice(found, "logprobs")
        texts = [_text(self._ask(parts, max_tokens=16, temperature=1.0, seed=number)) for number in range(_SAMPLES)]
        read = [letter for text in texts if (letter := read_letter(text, letters)) is not None]
        if not read:
            raise ModelError(
                f"{self.info.name} answered {texts[0][:60]!r} to a choice among {', '.join(letters)}; expected one of "
                "them: take a model that follows instructions"
            )
        total = len(read) + 0.5 * num_options
        return Choice(tuple((read.count(letter) + 0.5) / total for letter in letters), "samples")

    def complete(self, parts: Sequence[str | Pixels], max_new_tokens: int) -> str:
        """A greedy answer in free words.

        Raises:
            ModelError: the server does not answer.
        """
        return _text(self._ask(parts, max_tokens=max_new_tokens, temperature=0.0)).strip()

    def _ask(self, parts: Sequence[str | Pixels], **settings: Any) -> dict[str, Any]:
        content = [_part(part) for part in parts]
        body = {"model": self._model, "messages": [{"role": "user", "content": content}], **settings}
        answer = self._post(body)
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise ModelError(f"{self._where} answered without choices; expected an OpenAI-compatible chat completion")
        return choices[0]

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request, again after what may pass, with growing pauses."""
        import httpx

        connection, trouble = self._connection, ""
        for attempt in range(connection.retries + 1):
            wait = connection.backoff_seconds * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries
            try:
                response = self._open().post(f"{connection.url}/chat/completions", json=body)
            except httpx.TimeoutException:
                trouble = f"gave no answer within {connection.answer_seconds:g} s"
            except httpx.TransportError as error:
                trouble = f"cannot be reached ({error})"
            else:
                if response.status_code < 400:
                    return self._parsed(response)
                if response.status_code == 400 and "logprobs" in body and "logprob" in response.text:
                    return self._post({k: v for k, v in body.items() if "logprobs" not in k})
                if response.status_code not in _AGAIN:
                    self._refused(response)
                trouble = f"answered {response.status_code} ({_reason(response)})"
                wait = max(wait, _asked_wait(response))
            if attempt < connection.retries:
                self._sleep(min(wait, connection.longest_wait))
        raise ModelError(
            f"{self._where} {trouble}, {connection.retries + 1} times; check that it runs, or try again later"
        )

    def _open(self) -> httpx.Client:
        if self._client is None:
            import httpx

            key = self._connection.key
            self._client = httpx.Client(
                timeout=httpx.Timeout(self._connection.answer_seconds, connect=self._connection.connect_seconds),
                headers={} if key is None else {"Authorization": f"Bearer {key}"},
            )
            weakref.finalize(self, self._client.close)
        return self._client

    def _parsed(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ModelError(f"{self._where} answered something that is no JSON object; check {URL_VARIABLE}")
        return answer

    def _refused(self, response: httpx.Response) -> NoReturn:
        advice = {
            401: f"set {KEY_VARIABLE} to a key that it accepts",
            403: f"set {KEY_VARIABLE} to a key that may use {self._model}",
            404: f"check {URL_VARIABLE} (it usually ends in /v1) and the model's name {self._model!r}",
            413: "the pictures are too large for it: use fewer references",
        }.get(response.status_code, "check that the model reads pictures and that the prompt fits its context")
        raise ModelError(f"{self._where} answered {response.status_code} ({_reason(response)}); {advice}")

    @property
    def _where(self) -> str:
        return f"the server {_host(self._connection.url)}"


def read_letter(text: str, letters: str) -> str | None:
    """The letter that an answer opens with, alone or marked off; None where it names none.

    >>> read_letter("B. The left one", "ABC"), read_letter(" (C)", "ABC"), read_letter("A scratch", "ABC")
    ('B', 'C', None)
    """
    match = re.match(rf"[\s(*\"']*([{letters}])(?=$|[.):*\"'\n]|\s*$)", text)
    return match.group(1) if match else None


def _letter_logprobs(choice: dict[str, Any], letters: str) -> tuple[float, ...] | None:
    """Probabilities among letters from the first token that may be one of them; None without log-probabilities."""
    tokens = (choice.get("logprobs") or {}).get("content") or []
    for token in tokens:
        mass = dict.fromkeys(letters, 0.0)
        for other in [*(token.get("top_logprobs") or []), *([] if token.get("top_logprobs") else [token])]:
            letter = str(other.get("token", "")).strip(" .():*\"'\n▁Ġ")
            if letter in mass and letter:
                mass[letter] += math.exp(float(other.get("logprob", -math.inf)))
        if (total := sum(mass.values())) > 0:
            return tuple(value / total for value in mass.values())
    return None


def _text(choice: dict[str, Any]) -> str:
    """The text of an answer, without what a thinking model put before it."""
    content = (choice.get("message") or {}).get("content") or ""
    return str(content).rpartition("</think>")[2]


def _part(part: str | Pixels) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    longest = max(part.shape[:2])
    if longest > _LONGEST_SIDE:
        scale = _LONGEST_SIDE / longest
        part = resize(part, (max(1, round(part.shape[0] * scale)), max(1, round(part.shape[1] * scale))))
    data = base64.b64encode(encode_jpeg(part, 95)).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def _asked_wait(response: httpx.Response) -> float:
    """Seconds that the server asks us to wait, 0 where it asks for none."""
    try:
        return float(response.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0


def _reason(response: httpx.Response) -> str:
    """What the server says about a refusal, in one short line."""
    try:
        error = response.json()["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = response.text
    return " ".join(text.split())[:200] or response.reason_phrase


def _host(url: str) -> str:
    """Host and port of an address, without what a user may have put before them."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]
