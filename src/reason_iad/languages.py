"""The language people are spoken to in: English, German, Chinese, Japanese.

    with speaking("de"):
        _("{count} parts", count=3)

Text is marked where it is written, by `_` and `several`, and translated by gettext catalogs under `locale/`
(`python -m reason_iad.locale.catalogs` brings them up to date). What is kept, sent or given to a model stays English:
reports, records, the interface, prompts. Sentences that a report keeps, messages of errors and lines of the terminal
are written in English as plain f-strings and put into the reader's language when they are shown, by `told` and `say`,
which find the sentence they were made from; `locale/extract.py` reads those sentences off the source. What has no
translation is shown in English.
"""

from __future__ import annotations

import functools
import gettext
import os
import re
import string
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from reason_iad.errors import InputError

LANGUAGES = {"en": "English", "de": "Deutsch", "zh": "中文", "ja": "日本語"}
CATALOGS = Path(__file__).parent / "locale"
DOMAIN = "reason_iad"
_current: ContextVar[str] = ContextVar("reason_iad_language", default="en")
_VERBATIM = frozenset({
    "path", "file", "folder", "image", "name", "host", "url", "id", "identifier", "who", "client", "origin", "user",
    "model", "target", "filename", "out", "data",
})  # fmt: skip  # holes that hold what somebody named, which is shown as it is
_NUMBER = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?%?|[-+]?\d+\.\d+%?|\d+%")
_COUNTS = re.compile(r"(?<=\w), (?=\d)")  # 3 .txt, 1 hidden file
_ENDS = (re.compile(r"(?<=[.?!]) (?=\S)"), re.compile(r"(?<=[;:]) (?=\S)"))  # of sentences, then of their parts


def language() -> str:
    """The language that is spoken now."""
    return _current.get()


def speak(code: str) -> None:
    """Speak a language from now on, in this thread or task."""
    _current.set(_known(code))


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak a language for a while."""
    token = _current.set(_known(code))
    try:
        yield
    finally:
        _current.reset(token)


def _known(code: str) -> str:
    if code not in LANGUAGES:
        raise InputError(f"the language is {code!r}; expected one of {', '.join(LANGUAGES)}")
    return code


def from_environment(environment: Mapping[str, str] = os.environ) -> str:
    """The language of a terminal, by REASON_IAD_LANGUAGE, LC_ALL, LC_MESSAGES and LANG, as gettext reads them.

    >>> from_environment({"LANG": "de_AT.UTF-8"}), from_environment({"LANG": "C"}), from_environment({"LANG": "fr_FR"})
    ('de', 'en', 'en')
    """
    for name in ("REASON_IAD_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            code = value[:2].lower()
            return code if code in LANGUAGES else "en"
    return "en"


def from_header(accepted: str) -> str:
    """The language that a browser likes best of those that are spoken here.

    >>> from_header("fr-FR,ja;q=0.8,de;q=0.9,en;q=0.1"), from_header(""), from_header("zh-Hant-TW")
    ('de', 'en', 'zh')
    """
    liked = []
    for position, part in enumerate(accepted[:500].split(",")):
        code, _sep, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if (short := code[:2].lower()) in LANGUAGES and weight > 0:
            liked.append((-weight, position, short))
    return min(liked)[2] if liked else "en"


@functools.cache
def _catalog(code: str) -> gettext.NullTranslations:
    if code == "en":
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, CATALOGS, [code])


def _(text: str, **values: Any) -> str:
    """A text of the program in the language spoken, its {holes} filled with `values`."""
    found = _catalog(_current.get()).gettext(text)
    return found.format(**values) if values else found


def several(one: str, many: str, count: int, **values: Any) -> str:
    """A text about a number of things: `one` or `many`, by the rules of the language; {count} is the number."""
    return _catalog(_current.get()).ngettext(one, many, count).format(count=number(count), **values)


def translatable(text: str) -> str:
    """The text as it is: marks one that is translated where it is shown, not where it is written."""
    return text


def number(value: float, digits: int = 0) -> str:
    """A number with so many digits behind the point, as the language writes it.

    >>> number(1234.5, 2)
    '1,234.50'
    """
    return localized(f"{value:,.{digits}f}")


def localized(text: str) -> str:
    """A number that was written as Python does, as the language writes it."""
    return text.translate({ord(","): ".", ord("."): ","}) if _current.get() == "de" else text


def moment(value: Any, form: str = "medium") -> str:
    """A moment (datetime) with its day and time, as the language writes it."""
    from babel.dates import format_datetime

    return str(format_datetime(value, form, locale=_current.get()))


def date_words(day: Any) -> str:
    """A day (date) with the month in words, as the language writes it.

    >>> import datetime
    >>> date_words(datetime.date(2026, 5, 12))
    '12 May 2026'
    """
    if _current.get() == "en":
        return f"{day.day} {day:%B %Y}"
    from babel.dates import format_date

    return str(format_date(day, "long", locale=_current.get()))


def told(text: str, lexicon: Mapping[str, str] | None = None, own: bool = False) -> str:
    """A sentence that was made elsewhere in English, in the language spoken; as it is where it is not known.

    Holes of the sentence keep what they were filled with: words among it are translated, numbers written as usual.

    Args:
        text: in English.
        lexicon: translations besides those of the program, which go before them.
        own: that it is certainly one of the program's, so that little fixed text tells it.
    """
    if _current.get() == "en":
        return text
    return _told(text, _current.get(), lexicon) if lexicon else _remembered(text, _current.get(), own)


def say(text: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a line for people, written in English, in the language spoken."""
    print(told(text), file=file or sys.stdout, end=end, flush=True)


def note(text: str) -> None:
    """Tell people something beside the result, on standard error and after the program's name."""
    sys.stderr.write(f"reason-iad: {told(text)}\n")
    sys.stderr.flush()


@functools.lru_cache(4096)
def _remembered(text: str, code: str, own: bool) -> str:
    return _told(text, code, {}, inside=own)


def _told(text: str, code: str, lexicon: Mapping[str, str], deep: int = 0, inside: bool = False) -> str:
    if not text or text in lexicon:
        return lexicon.get(text, text)
    catalog = _catalog(code)
    if (found := catalog.gettext(text)) != text:
        return found
    if _NUMBER.fullmatch(text):
        return localized(text).replace("%", " %" if code == "de" else "%")
    if (named := _option(text, code, lexicon)) is not None:
        return named
    for longest, fixed, source in _sentences(code):
        if longest in text and all(part in text for part in fixed) and (match := _pattern(source).fullmatch(text)):
            if _is_loose(source, fixed) and (not inside or len(text.split()) > 9):
                continue  # free words of a model may hold "from" and "to", too
            values = {
                name: value if deep > 2 or _is_verbatim(name) else _told(value, code, lexicon, deep + 1, True)
                for name, value in match.groupdict().items()
            }
            return catalog.gettext(source).format(**values)
    if len(parts := _COUNTS.split(text)) > 1 and text[0].isdigit():
        return (", " if code == "de" else "、").join(_told(part, code, lexicon, deep + 1) for part in parts)
    for end in _ENDS if deep < 3 else ():
        if len(parts := end.split(text)) > 1:
            spoken = [_told(part, code, lexicon, deep + 1) for part in parts]
            close = code in ("zh", "ja") and all(one != part for one, part in zip(spoken, parts, strict=True))
            return ("" if close else " ").join(spoken)
    return text


def _option(text: str, code: str, lexicon: Mapping[str, str]) -> str | None:
    """A name that stands as a sentence, such as an answer's "Chipped edge."; None where it is not known."""
    for bare in (text[:-1], text[:1].lower() + text[1:-1]) if len(text) > 1 and text.endswith(".") else ():
        found = lexicon.get(bare) or _catalog(code).gettext(bare)
        if found != bare:
            return found[:1].upper() + found[1:] + ("。" if code in ("zh", "ja") else ".")
    return None


def _is_loose(source: str, fixed: tuple[str, ...]) -> bool:
    """Whether a sentence is open at both ends and holds so little text that any other may look like it."""
    return source[0] == "{" and source[-1] == "}" and sum(map(len, fixed)) < 15


def _is_verbatim(hole: str) -> bool:
    return hole.rstrip("23456789") in _VERBATIM


@functools.cache
def _sentences(code: str) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """Sentences with holes, and the text between these with its longest part before it.

    Those that begin with text go first, since a hole at the beginning takes whatever stands there, such as another
    sentence's beginning; of either kind the one with the most text goes first.
    """
    found = []
    for source in _messages(code):
        if "{" in source:
            fixed = tuple(text for text, _name, _form, _kind in string.Formatter().parse(source) if text)
            if sum(map(len, fixed)) > (5 if source[0] == "{" else 4):
                found.append((max(fixed, key=len), fixed, source))
    return tuple(sorted(found, key=lambda one: (one[2][0] == "{", -sum(map(len, one[1])))))


@functools.lru_cache(1024)
def _pattern(source: str) -> re.Pattern[str]:
    """Matches whatever fills a sentence's holes."""
    parts: list[str] = []
    seen: set[str] = set()
    for fixed, name, _form, _kind in string.Formatter().parse(source):
        parts.append(re.escape(fixed))
        if name is not None:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return re.compile("".join(parts), re.DOTALL)


def _messages(code: str) -> dict[str, str | list[str]]:
    """Every translation of a language: a text, or its forms by number."""
    found: dict[str, Any] = {}
    for key, value in getattr(_catalog(code), "_catalog", {}).items():
        if isinstance(key, tuple):
            found.setdefault(key[0], {})[key[1]] = value
        elif key:
            found[key] = value
    return {
        key: [value[n] for n in sorted(value)] if isinstance(value, dict) else value for key, value in found.items()
    }


def messages(code: str) -> dict[str, str | list[str]]:
    """The catalog as a page takes it; empty for English."""
    return {} if code == "en" else _messages(code)
