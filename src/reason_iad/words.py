"""Numbers and lists in words, for messages, and their place on the terminal."""

from __future__ import annotations

import unicodedata


def counted(count: int, noun: str, several: str | None = None) -> str:
    """Write a number with its noun; `several` is the plural of one that does not just take an s.

    >>> counted(1, "image"), counted(1200, "image"), counted(0, "entry", "entries")
    ('1 image', '1,200 images', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def padded(text: str, width: int) -> str:
    """Text filled with blanks to a width on the terminal, where letters of Chinese and Japanese take two places.

    >>> padded("不良", 6), padded("ok", 6)
    ('不良  ', 'ok    ')
    """
    taken = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
    return text + " " * (width - taken)
