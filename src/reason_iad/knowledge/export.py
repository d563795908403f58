"""Entries as a table that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from reason_iad.files import TABLE_MARK, table_separator
from reason_iad.knowledge.entries import Entry, field_names


def dump_csv(entries: Iterable[Entry]) -> str:
    """Entries as CSV with a heading, in order of id; cells that would be computed begin with an apostrophe."""
    names = field_names(Entry)
    out = io.StringIO(newline="")
    out.write(TABLE_MARK)
    writer = csv.writer(out, delimiter=table_separator())
    writer.writerow(names)
    for entry in sorted(entries, key=lambda entry: entry.id):
        writer.writerow([_safe(getattr(entry, name) or "") for name in names])
    return out.getvalue()


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")) else cell
