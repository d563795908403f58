"""Cells of tables that spreadsheets open."""

from __future__ import annotations


def safe_cell(value: object) -> str:
    """Text of a cell that no spreadsheet runs as a formula.

    >>> safe_cell("=1+1"), safe_cell(-0.5), safe_cell("part.png")
    ("'=1+1", '-0.5', 'part.png')
    """
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not isinstance(value, int | float) else text
