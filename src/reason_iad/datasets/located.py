"""JSON with the line of every value, and without losing what stands twice.

Question files are written by hand and by scripts; a fault in one of 40,000 entries is found by its line, not by its
number. A name that stands twice in an object is a fault of data that `json.loads` would hide.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Member:
    """One name of an object with its value.

    Attributes:
        name: of the member.
        value: parsed.
        start: where the value stands in the text.
        repeated: names that stand more than once in one object inside the value.
    """

    name: str
    value: Any
    start: int
    repeated: tuple[str, ...]


class LocatedJson:
    """The text of a JSON file whose outermost value is an object."""

    def __init__(self, text: str) -> None:
        self.text = text

    def members(self) -> Iterator[Member]:
        """Every member of the outermost object, in order, those with one name all of them.

        Raises:
            ValueError: the text is no JSON object; says line and column.
        """
        text, repeated = self.text, []

        def notice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) < len(pairs):
                names = [name for name, _ in pairs]
                repeated.extend(sorted({name for name in names if names.count(name) > 1}))
            return found

        decoder = json.JSONDecoder(object_pairs_hook=notice)
        at = self._space(0)
        if text[at : at + 1] != "{":
            raise json.JSONDecodeError("expected an object that maps images to entries", text, at)
        at = self._space(at + 1)
        if text[at : at + 1] == "}":
            self._end(at + 1)
            return
        while True:
            if text[at : at + 1] != '"':
                raise json.JSONDecodeError("expected a name in double quotes", text, at)
            name, at = decoder.raw_decode(text, at)
            at = self._space(at)
            if text[at : at + 1] != ":":
                raise json.JSONDecodeError("expected ':' after a name", text, at)
            start = self._space(at + 1)
            repeated.clear()
            value, at = decoder.raw_decode(text, start)
            yield Member(name, value, start, tuple(repeated))
            at = self._space(at)
            if text[at : at + 1] == "}":
                self._end(at + 1)
                return
            if text[at : at + 1] != ",":
                raise json.JSONDecodeError("expected ',' or '}' after a value", text, at)
            at = self._space(at + 1)

    def line(self, start: int, *path: str | int) -> int:
        """Line of what `path` leads to from the value at `start`, as far as the path goes."""
        at = start
        for step in path:
            found = self._step(at, step)
            if found is None:
                break
            at = found
        return bisect.bisect_right(self._newlines, at - 1) + 1

    def _step(self, at: int, step: str | int) -> int | None:
        """Where a member of the object, or an element of the list, at a place begins; None where there is none."""
        text, decoder = self.text, json.JSONDecoder()
        closing = {"{": "}", "[": "]"}.get(text[at : at + 1])
        if closing is None or (closing == "]") != isinstance(step, int):
            return None
        found, number = None, 0
        at = self._space(at + 1)
        while text[at : at + 1] not in ("", closing):
            name: str | int = number
            if closing == "}":
                name, at = decoder.raw_decode(text, at)
                at = self._space(self._space(at) + 1)
            if name == step:
                found = at  # the last, as json.loads takes it
            _, at = decoder.raw_decode(text, at)
            at = self._space(at)
            at = self._space(at + 1) if text[at : at + 1] == "," else at
            number += 1
        return found

    def _space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()

    def _end(self, at: int) -> None:
        if self._space(at) != len(self.text):
            raise json.JSONDecodeError("expected nothing after the object", self.text, self._space(at))

    @cached_property
    def _newlines(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]
