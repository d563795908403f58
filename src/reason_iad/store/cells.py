"""Tables that spreadsheets open: they begin with the mark of UTF-8, and no cell is run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from reason_iad.files import table_separator

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")


def table_line(cells: Iterable[object]) -> str:
    """One line of a table, its cells as `cell_text` writes them.

    Raises:
        InputError: the separator that the environment names does not exist.
    """
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=table_separator(), lineterminator="\r\n").writerow(map(cell_text, cells))
    return out.getvalue()


def cell_text(value: object) -> str:
    """A cell: empty for None, numbers with a decimal comma where cells are split by ";", texts never as formulas."""
    if isinstance(value, float):
        return str(value).replace(".", "," if table_separator() == ";" else ".")
    return "" if value is None else safe_cell(value)


def safe_cell(value: object) -> str:
    """Text of a cell that no spreadsheet runs as a formula.

    >>> safe_cell("=1+1"), safe_cell(-0.5), safe_cell("part.png")
    ("'=1+1", '-0.5', 'part.png')
    """
    text = str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) else text
