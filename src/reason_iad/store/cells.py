"""Tables that spreadsheets open: they begin with the mark of UTF-8, and no cell is run as a formula."""

from __future__ import annotations

MARK = "\ufeff"  # without it Excel takes UTF-8 for the code page of the machine
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")


def safe_cell(value: object) -> str:
    """Text of a cell that no spreadsheet runs as a formula.

    >>> safe_cell("=1+1"), safe_cell(-0.5), safe_cell("part.png")
    ("'=1+1", '-0.5', 'part.png')
    """
    text = str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) else text
