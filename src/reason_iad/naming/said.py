"""Which type of defect a person's words name: "it is a scratch", "Kratzer am Rand", "これは傷です"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reason_iad.languages import LANGUAGES, speaking, told

# Words after which a name says what it is not; a question leaves it open, too.
_DENIED = re.compile(
    r"\b(?:no|not|never|without|neither|cannot|kein\w*|nicht|ohne|weder)\b|n['\u2019]t\b|\?|\uff1f|"
    r"ない|なし|無し|ありません|では(?:な|あり)|じゃ(?:な|あり)|不是|没有|沒有|没|并非|無|无|非",
    re.IGNORECASE,
)
_ENDING = "(?:s|es|e|n|en)?"  # of several
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u3040-\u30ff]")  # scripts without blanks between words


@dataclass(frozen=True)
class Said:
    """What was understood.

    Attributes:
        named: types that the words name, in the order of the known ones.
        denied: whether the words may deny or ask what they name.
    """

    named: tuple[str, ...] = ()
    denied: bool = False

    @property
    def defect_type(self) -> str | None:
        """The type where the words leave no doubt, else None."""
        return self.named[0] if len(self.named) == 1 and not self.denied else None


def type_said(words: str, types: Mapping[str, Iterable[str]]) -> Said:
    """Find the types that some words name; a name inside a longer one that is named does not count.

    Args:
        words: of a person, in any language.
        types: the types that are known, each with the ways it is written.

    >>> type_said("It is a scratch.", {"scratch": ["scratch"], "dent": ["dent"]}).defect_type
    'scratch'
    >>> type_said("no scratch", {"scratch": ["scratch"]}).defect_type is None
    True
    """
    spans = [
        (*match.span(), name)
        for name, spellings in types.items()
        for spelling in {s.strip() for s in spellings if s.strip()}
        for match in _pattern(spelling).finditer(words)
    ]
    kept = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    found = {name for _, _, name in kept}
    return Said(tuple(name for name in types if name in found), bool(found and _DENIED.search(words)))


def spellings(name: str, identifier: str | None = None) -> tuple[str, ...]:
    """A type's name as it is kept, and as it is shown in every language."""
    found = {name, (identifier or name).replace("_", " ")}
    for code in LANGUAGES:
        with speaking(code):
            found |= {told(one) for one in tuple(found)}
    return tuple(sorted(found))


def _pattern(spelling: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in re.split(r"[\s_-]+", spelling) if part]
    body = r"[\s_-]*".join(parts) if _UNSPACED.search(spelling) else r"[\s_-]+".join(parts)
    if _UNSPACED.search(spelling):
        return re.compile(body, re.IGNORECASE)
    return re.compile(rf"(?<!\w){body}{_ENDING}(?!\w)", re.IGNORECASE)
