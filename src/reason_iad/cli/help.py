"""How the command line helps and refuses: in the language spoken, and in one line where something is wrong."""

from __future__ import annotations

import argparse
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from reason_iad.languages import LANGUAGES, _, from_environment, language, speak, told

BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    """Reports usage errors in one line, as all other errors are; helps in the language spoken."""

    def __init__(self, **more: Any) -> None:
        """Take what argparse takes, and help in our own form."""
        super().__init__(**{**more, "formatter_class": _Help})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and end."""
        said = _("{message}; see '{help}'", message=told(message), help=f"{self.prog} --help")
        self.exit(BAD_INPUT, f"reason-iad: {_('error: {message}', message=said)}\n")


class _Help(argparse.HelpFormatter):
    """Translates what it is given; keeps the lines of a text that has several."""

    def add_text(self, text: str | None) -> None:
        super().add_text(told(text) if text and text is not argparse.SUPPRESS else text)

    def start_section(self, heading: str | None) -> None:
        super().start_section(told(heading) if heading else heading)

    def add_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Iterable[Any], prefix: str | None = None
    ) -> None:
        super().add_usage(usage, actions, groups, _("usage: ") if prefix is None else prefix)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return told(action.help.replace("%%", "%")).replace("%", "%%") if action.help else action.help

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text.strip():
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return "\n".join(indent + line for line in self._split_lines(text, width))

    def _split_lines(self, text: str, width: int) -> list[str]:
        words = " ".join(text.split())
        return list(_lines(words, width)) if language() in ("zh", "ja") else textwrap.wrap(words, width)


def _lines(text: str, width: int) -> Iterator[str]:
    """Break text of Chinese and Japanese: between any letters, which take two places, but within no Latin word.

    >>> list(_lines("既定：always、ロット、auto", 12))
    ['既定：', 'always、ロッ', 'ト、auto']
    """
    line, taken = "", 0
    for piece in re.findall(r"[!-~]+[。、，；：）」]*|.[。、，；：）」]*", text):
        wide = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in piece)
        if line and taken + wide > width:
            yield line.strip()
            line, taken = "", 0
        line, taken = line + piece, taken + wide
    if line.strip():
        yield line.strip()


def speak_as_asked(argv: Sequence[str]) -> None:
    """Speak the language of `--language` or of the environment, before arguments are read that may ask for help."""
    code = from_environment()
    for position, word in enumerate(argv):
        name, _equals, value = word.partition("=")
        if name == "--language":
            asked = value or "".join(argv[position + 1 : position + 2])
            code = asked if asked in LANGUAGES else code
    speak(code)
