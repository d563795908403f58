"""Talking to an OpenAI-compatible server: patience, and its own words about errors, also those inside a 200."""

from __future__ import annotations

import os
import random
import re
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import local
from typing import TYPE_CHECKING, Any, NoReturn

from reason_iad.errors import ModelError, ModelUnavailableError
from reason_iad.models.server_limits import ServerLimits
from reason_iad.models.turns import Gate, letting_others
from reason_iad.types import ServerCost
from reason_iad.words import counted

if TYPE_CHECKING:
    import httpx

URL_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # what may pass
_REFUSING = {400, 422, 500, 501}  # answers of servers to a parameter they do not take
_OVERLOADED = {429, 503, 529}
_USED_UP = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)  # by a thought


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

    @classmethod
    def from_environment(cls) -> Connection:
        """The server that the environment names.

        Raises:
            ModelError: it names none.
        """
        url = os.environ.get(URL_VARIABLE, "").strip()
        if not url.startswith(("http://", "https://")):
            raise ModelError(
                f"{URL_VARIABLE} is {url!r}; expected the address of an OpenAI-compatible server, such as "
                f"http://localhost:8000/v1 (a key, where it wants one, in {KEY_VARIABLE})"
            )
        return cls(url.rstrip("/"), os.environ.get(KEY_VARIABLE) or None)


class ChatClient:
    """Asks one model on one server."""

    def __init__(self, model: str, connection: Connection, sleep: Callable[[float], None] = time.sleep) -> None:
        """Connect with the first question, not before."""
        self._model, self._connection, self._sleep = model, connection, sleep
        self._client: httpx.Client | None = None
        self.limits = ServerLimits()
        self.gate = Gate()
        self._spent = local()  # by the requests of this thread

    def ask(self, content: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
        """The first choice of an answer to one message; what the server refuses of `settings` is left out.

        Raises:
            ModelError: the server does not answer, or answers with an error.
        """
        answer = self._post(content, {"model": self._model, **settings})
        self._count(answer.get("usage"))
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise ModelError(
                f"{self.where} answered {_shortened(answer)} without choices; expected an OpenAI-compatible answer"
            )
        choice: dict[str, Any] = choices[0]
        message = choice.get("message")
        refusal = message.get("refusal") if isinstance(message, dict) else None
        if choice.get("error") or (isinstance(refusal, str) and refusal.strip()):
            said = refusal if isinstance(refusal, str) and refusal.strip() else error_words(choice)
            raise ModelError(f"{self.where} refused to answer: {said}")
        if choice.get("finish_reason") == "content_filter":
            raise ModelError(
                f"{self.where} withheld the answer by its content filter; turn it off, or take another model"
            )
        return choice

    @property
    def where(self) -> str:
        """The server, as messages name it."""
        return f"the server {host_of(self._connection.url)}"

    @property
    def spent(self) -> ServerCost:
        """Requests and tokens of this thread so far."""
        return getattr(self._spent, "cost", ServerCost(0, 0, 0))

    def _count(self, usage: Any) -> None:
        told = usage if isinstance(usage, dict) else {}
        read, written = (told.get(name) for name in ("prompt_tokens", "completion_tokens"))
        counts = [one if isinstance(one, int) and one >= 0 else 0 for one in (read, written)]
        self._spent.cost = self.spent + ServerCost(1, *counts)

    def models(self) -> list[str]:
        """Names of what the server offers.

        Raises:
            ModelError: it does not tell.
        """
        import httpx

        try:
            response = self._open().get(f"{self._connection.url}/models")
            listed: list[dict[str, Any]] = response.raise_for_status().json()["data"]
            return sorted(str(one["id"]) for one in listed)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{self.where} does not list its models ({error or 'another answer'}); expected an OpenAI-compatible "
                f"server: check the address (it usually ends in /v1) and {KEY_VARIABLE}"
            ) from error

    def _post(self, content: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
        """Send a request as the server takes it, again after what may pass, with growing pauses.

        Raises:
            ModelUnavailableError: the server cannot be reached, does not answer, or knows neither us nor the model.
            ModelError: it does not take what was sent.
        """
        import httpx

        connection, trouble, attempt = self._connection, "", 0
        while attempt <= connection.retries:
            wait = connection.backoff_seconds * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries
            attempt += 1
            sent = self.limits.fitted(content, settings)
            try:
                with letting_others(), self.gate.through():
                    response = self._open().post(f"{connection.url}/chat/completions", json=sent)
            except httpx.TimeoutException:
                trouble = f"gave no answer within {connection.answer_seconds:g} s"
            except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError, httpx.TooManyRedirects) as error:
                trouble = f"cannot be reached ({error})"
            else:
                status, answer = self._read(response)
                if status < 400:
                    self.gate.well()
                    return answer
                words = error_words(answer) or " ".join(response.text.split())[:200] or response.reason_phrase
                if status == 400 and _USED_UP.search(words):
                    return {"choices": [{"finish_reason": "length", "message": {"content": None}}]}
                if status in _REFUSING and self.limits.learn(words, sent, content):
                    attempt -= 1
                    continue
                if status not in _AGAIN:
                    self._refuse(status, words, response.status_code < 400)
                trouble = f"answered {status} ({words})"
                wait = max(wait, _asked_wait(response))
                if status in _OVERLOADED:
                    self.gate.overloaded()
            if attempt <= connection.retries:
                with letting_others():
                    self._sleep(min(wait, connection.longest_wait))
        raise ModelUnavailableError(
            f"{self.where} {trouble}, {counted(connection.retries + 1, 'time')}; check that it runs and "
            f"{URL_VARIABLE}, or try again later"
        )

    def _read(self, response: httpx.Response) -> tuple[int, dict[str, Any]]:
        """Status and content of a response; an error inside a 200 has the status that it names, or 400."""
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if response.status_code >= 400:
            return response.status_code, answer if isinstance(answer, dict) else {}
        if not isinstance(answer, dict):
            raise ModelError(f"{self.where} answered something that is no JSON object; check {URL_VARIABLE}")
        if not answer.get("choices") and error_words(answer):
            error = answer.get("error")
            code = error.get("code") if isinstance(error, dict) else answer.get("code")
            return (code if isinstance(code, int) and 400 <= code < 600 else 400), answer
        return response.status_code, answer

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

    def _refuse(self, status: int, words: str, inside: bool) -> NoReturn:
        advice = {
            401: f"set {KEY_VARIABLE} to a key that it accepts",
            402: "its account has no credit left: fill it up, or ask another server",
            403: f"set {KEY_VARIABLE} to a key that may use {self._model}",
            404: f"check {URL_VARIABLE} (it usually ends in /v1) and the model's name {self._model!r}",
            413: "the pictures are too large for it: use fewer references",
        }.get(status)
        if advice is None and re.search(
            r"model\b.*\bnot (?:found|exist)|no such model|unknown model", words.casefold()
        ):
            advice = f"check the model's name {self._model!r}"
        advice = advice or "check that the model reads pictures and that the prompt fits its context"
        how = "with an error, inside a 200" if inside else str(status)
        kind = ModelUnavailableError if status in (401, 402, 403, 404) else ModelError
        raise kind(f"{self.where} answered {how} ({words}); {advice}")


def error_words(answer: dict[str, Any]) -> str:
    """What a server says about an error, in one short line; empty where it says nothing of one.

    >>> error_words({"error": {"message": "no model"}}), error_words({"detail": "bad"}), error_words({"choices": []})
    ('no model', 'bad', '')
    """
    found = answer.get("error")
    if not found and answer.get("object") == "error":
        found = answer.get("message")
    found = found or answer.get("detail")
    if isinstance(found, list):  # as FastAPI says it
        parts = [one.get("msg") or one.get("message") for one in found if isinstance(one, dict)]
        found = "; ".join(str(part) for part in parts if part) or found
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or found.get("msg") or found
    if not found and "choices" not in answer:
        found = answer.get("message")
    return " ".join(str(found).split())[:200] if found else ""


def host_of(url: str) -> str:
    """Host and port of an address, without what a user may have put before them."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


def _shortened(answer: dict[str, Any]) -> str:
    return " ".join(repr(answer).split())[:80]


def _asked_wait(response: httpx.Response) -> float:
    """Seconds that the server asks us to wait, 0 where it asks for none."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0
