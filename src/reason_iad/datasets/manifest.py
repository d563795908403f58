"""`manifest.csv`: one line an image with its label, mask, license, and whether shipped weights may be trained on it."""

from __future__ import annotations

import csv
from pathlib import Path

from reason_iad.errors import InputError

FILE = "manifest.csv"


def read_rows(root: Path) -> list[tuple[int, dict[str, str]]]:
    """All lines of `root`/manifest.csv with their numbers; a cell that is not there is empty.

    Raises:
        InputError: the file is missing, or lacks a column.
    """
    path = root / FILE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a CSV file with a line an image") from error
    needed = {"image", "category", "split", "label"}
    found = set(rows[0][1]) if rows else set()
    if not needed <= found:
        raise InputError(f"{path} has the columns {sorted(found)}; expected {sorted(needed)}")
    return rows


def seen_categories(root: Path) -> tuple[str, ...] | None:
    """Categories that weights may have been trained on; None where no manifest says so."""
    if not (root / FILE).is_file():
        return None
    rows = [row for _, row in read_rows(root)]
    return tuple(sorted({row["category"] for row in rows if row.get("may_train", "").strip().lower() == "yes"}))
