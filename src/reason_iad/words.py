"""Numbers and lists in words, for messages."""

from __future__ import annotations


def counted(count: int, noun: str, several: str | None = None) -> str:
    """Write a number with its noun; `several` is the plural of one that does not just take an s.

    >>> counted(1, "image"), counted(1200, "image"), counted(0, "entry", "entries")
    ('1 image', '1,200 images', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
