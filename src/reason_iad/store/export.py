"""Take inspections out of the record: one archive with a table, every report, the feedback and the evidence files."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError
from reason_iad.files import TABLE_MARK, replacing
from reason_iad.store.cells import table_line
from reason_iad.store.record import Filter, Record
from reason_iad.store.store import Store

COLUMNS = (
    "id", "created_at", "state", "name", "image_sha256", "category", "verdict", "probability", "defect_type", "who",
    "origin", "feedback", "error",
)  # fmt: skip


def export(store: Store, target: Path, wanted: Filter | None = None, files: bool = True) -> int:
    """Write the inspections that match into the ZIP archive `target`; returns how many.

    It holds `inspections.csv`, `inspections.jsonl` (everything the record knows, a line each) and `files/<sha256>`.

    Raises:
        InputError: the archive cannot be written.
    """
    try:
        with replacing(target) as draft:
            draft.touch(mode=0o600)  # photographs of products are not for every user of the machine
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
                count = _fill(archive, store, wanted, files)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}); choose another place") from error
    return count


def as_json(record: Record) -> str:
    """Everything the record knows about one inspection, on one line."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, default=_plain)


def as_row(record: Record) -> list[Any]:
    """One line of the table."""
    values: dict[str, Any] = dataclasses.asdict(record)
    values["feedback"] = ", ".join(said.kind for said in record.feedback)
    return [_plain(values[name]) for name in COLUMNS]


def _fill(archive: zipfile.ZipFile, store: Store, wanted: Filter | None, files: bool) -> int:
    rows, lines, seen = [table_line(COLUMNS)], [], set()
    for record in store.records(wanted):
        rows.append(table_line(as_row(record)))
        lines.append(as_json(record))
        for digest in record.files.values() if files else ():
            if digest not in seen:
                seen.add(digest)
                archive.writestr(zipfile.ZipInfo(f"files/{digest}"), store.files.get(digest))
    archive.writestr("inspections.csv", TABLE_MARK + "".join(rows))
    archive.writestr("inspections.jsonl", "".join(f"{line}\n" for line in lines))
    return len(lines)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
