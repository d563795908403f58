"""What one server takes, learned from its refusals: parameters that it does not know, pictures in one message.

Servers differ: some refuse log-probabilities or a temperature, some want `max_completion_tokens` for `max_tokens`, some
take one picture a message. What one refuses is left out, or put otherwise, from then on.
"""

from __future__ import annotations

import re
from typing import Any

# What may be left out, and how servers name it in a refusal.
_OPTIONAL = {
    "top_logprobs": r"top_?logprobs",
    "logprobs": r"logprobs?\b",
    "temperature": r"temperature",
    "seed": r"\bseed\b",
    "response_format": r"response_format|json_schema|json schema|grammar",
    "guided_choice": r"guided_choice|guided decoding|guided_",
    "structured_outputs": r"structured_outputs|structured outputs?",
    "reasoning_effort": r"reasoning_effort|reasoning effort",
    "chat_template_kwargs": r"chat_template_kwargs|enable_thinking|thinking_budget",
    "thinking_budget_tokens": r"thinking_budget_tokens|thinking_budget",
}
_SINGLE = re.compile(  # how servers say that they take one picture only
    r"(?:at most|only|max(?:imum)?(?: of)?|up to) (?:1|one|a single)\b[^.]{0,40}\b(?:image|picture)s?"
    r"|(?:multiple|several|more than one|too many)\b[^.]{0,20}\b(?:image|picture)s?"
    r"|(?:image|picture)s?\b[^.]{0,40}\b(?:at most|limit(?:ed)? (?:is|to|of)?) ?(?:1|one)\b",
    re.IGNORECASE,
)


class ServerLimits:
    """What a server has refused so far, and requests as it takes them.

    Attributes:
        refused: parameters that it does not take.
        pictures_apart: 1 where each picture needs a message of its own, 2 where it takes one alone.
    """

    def __init__(self) -> None:
        """Nothing is known before the first refusal."""
        self.refused: set[str] = set()
        self.pictures_apart = 0
        self._most_logprobs: int | None = None  # alternatives of a token that it gives at most, where known
        self._counts_completion = False  # whether it wants max_completion_tokens

    def fitted(self, content: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
        """A request as this server takes it."""
        sent = {name: value for name, value in settings.items() if name not in self.refused}
        if "logprobs" not in sent:
            sent.pop("top_logprobs", None)
        if self._most_logprobs is not None and "top_logprobs" in sent:
            sent["top_logprobs"] = min(sent["top_logprobs"], self._most_logprobs)
        if self._counts_completion and "max_tokens" in sent:
            sent["max_completion_tokens"] = sent.pop("max_tokens")
        return {**sent, "messages": messages(content, self.pictures_apart)}

    def learn(self, words: str, sent: dict[str, Any], content: list[dict[str, Any]]) -> bool:
        """Note what a refusal is about; False where it is about nothing that can be left out or put otherwise.

        Whatever is learned shortens the request or takes pictures apart, so that asking again comes to an end.
        """
        if _num_pictures(content) > 1 and _SINGLE.search(words):
            if sent["messages"] != messages(content, self.pictures_apart):  # another thread has learned it meanwhile
                return True
            if self.pictures_apart < 2:
                self.pictures_apart += 1
                return True
        said = words.casefold()
        if "max_tokens" in sent and re.search(r"max_?(?:completion_)?tokens", said) and "max_completion_tokens" in said:
            self._counts_completion = True
            return True
        most = re.search(r"(?:between \d+ and|at most|less than or equal to|<=|max(?:imum)?(?: \w+){0,3}) ?(\d+)", said)
        if "top_logprobs" in sent and "logprobs" in said and most and int(most[1]) < sent["top_logprobs"]:
            self._most_logprobs = int(most[1])
            return True
        for name, pattern in _OPTIONAL.items():
            if name in sent and re.search(pattern, said):
                self.refused.add(name)
                return True
        return False


def _num_pictures(content: list[dict[str, Any]]) -> int:
    return sum(part.get("type") == "image_url" for part in content)


def messages(content: list[dict[str, Any]], apart: int) -> list[dict[str, Any]]:
    """One message; or one a picture, each acknowledged; or one with the last picture alone.

    >>> text, picture = {"type": "text", "text": "a"}, {"type": "image_url"}
    >>> [len(messages([text, picture, text, picture, text], apart)) for apart in (0, 1, 2)]
    [1, 3, 1]
    """
    if not apart or _num_pictures(content) < 2:
        return [{"role": "user", "content": content}]
    places = [place for place, part in enumerate(content) if part.get("type") == "image_url"]
    if apart > 1:
        kept = [part for place, part in enumerate(content) if place == places[-1] or place not in places]
        return [{"role": "user", "content": kept}]
    sent: list[dict[str, Any]] = []
    for first, last in zip([0, *(place + 1 for place in places[:-2])], places[:-1], strict=True):
        sent += [
            {"role": "user", "content": content[first : last + 1]},
            {"role": "assistant", "content": "Seen."},
        ]
    return [*sent, {"role": "user", "content": content[places[-2] + 1 :]}]
