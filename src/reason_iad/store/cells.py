"""Tables that spreadsheets open: they begin with the mark of UTF-8, and no cell is run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from reason_iad.files import TABLE_MARK, table_separator

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a heading; None becomes an empty cell, and numbers have a decimal comma where cells are split by ";".

    Raises:
        InputError: the separator that the environment names does not exist.
    """
    separator = table_separator()
    out = io.StringIO(newline="")
    out.write(TABLE_MARK)
    writer = csv.writer(out, delimiter=separator, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value, "," if separator == ";" else ".") for value in row])
    return out.getvalue()


def _cell(value: object, point: str) -> str:
    if isinstance(value, float):
        return str(value).replace(".", point)
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
