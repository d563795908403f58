"""The plan of a run on disk, and the records joined with it.

The plan says what is asked, where it belongs and what is right; records say what was answered. They meet by the key
alone, at every summary anew: a corrected answer counts at once, a duplicate takes the answer of what it repeats, and
what left the plan is reported and not counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.benchmark.record_log import Record, Records, read_records
from reason_iad.errors import InputError
from reason_iad.files import write_whole


@dataclass(frozen=True)
class Plan:
    """What is to be asked, in the order of the data.

    Attributes:
        source: where it comes from: the files, their hashes, what was left out.
        rows: one a question: key, id, image and what is right.
    """

    source: Mapping[str, Any]
    rows: tuple[Record, ...]


@dataclass(frozen=True)
class Joined:
    """A run's records with what is right, as the plan has it now.

    Attributes:
        records: one for each planned question that was asked, in the order of the plan.
        unasked: planned questions without a record.
        left: ids of records that the plan no longer has: not counted.
        duplicates: planned questions that repeat another's image, question and options: counted, asked once.
        notes: what else is to be said.
    """

    records: Records
    unasked: int = 0
    left: tuple[str, ...] = ()
    duplicates: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a reader of the figures must know, in plain words."""
        found = list(self.notes)
        if self.unasked:
            found.append(f"{self.unasked} entries of the plan were not asked yet and are not counted")
        if self.left:
            shown = ", ".join(self.left[:3]) + (" ..." if len(self.left) > 3 else "")
            found.append(f"{len(self.left)} records are no longer in the plan and are not counted: {shown}")
        if self.duplicates:
            found.append(f"{self.duplicates} entries repeat another one and count with its answer")
        return found


def write_plan(folder: Path, shard: str, source: Mapping[str, Any], rows: Iterable[Record]) -> None:
    """Write one process's part of the plan, in place of the one before; parts of another division are taken away.

    Args:
        folder: of the run.
        shard: the part's name, as "0-of-2".
        source: where it comes from.
        rows: in the order of the data, each with its place there as "order".
    """
    path = folder / f"plan-{shard}.jsonl"
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in ({"source": dict(source)}, *rows))
    write_whole(path, "".join(lines))
    count = shard.rpartition("-")[2]
    for other in folder.glob("plan-*.jsonl"):
        if other.stem.rpartition("-")[2] != count:
            other.unlink(missing_ok=True)


def read_plan(folder: Path) -> Plan | None:
    """The whole plan of a run; None for one of an older version, whose records hold the truth themselves.

    Raises:
        InputError: a part is damaged, or the parts are of different question files.
    """
    sources: list[Mapping[str, Any]] = []
    rows: list[Record] = []
    for path in sorted(folder.glob("plan-*.jsonl")):
        try:
            head, *found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            sources.append(head["source"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error}); repeat the command that made the run") from error
        rows += found
    if not sources:
        return None
    if len({json.dumps([one.get("sha256"), one.get("limit")]) for one in sources}) > 1:
        raise InputError(
            f"the shards of {folder} were planned from different data or with different --limit; "
            "repeat the command of each shard"
        )
    rows.sort(key=lambda row: (row.get("order", 0), row["id"]))
    return Plan(sources[0], tuple(rows))


def read_joined(folder: Path, plan: Plan | None = None) -> Joined:
    """Records of a run, with what is right as its plan has it.

    Args:
        folder: of the run.
        plan: in place of the one that lies there.

    Raises:
        InputError: the plan is damaged.
    """
    found = read_records(folder)
    plan = plan or read_plan(folder)
    if plan is None:
        return _read_old(found)
    by_key = {record["key"]: record for record in found.records}
    records = tuple(
        {**by_key[row["key"]], **{name: value for name, value in row.items() if name != "order"}}
        for row in plan.rows
        if row["key"] in by_key
    )
    planned = {row["key"] for row in plan.rows}
    return Joined(
        Records(records, found.keys, found.damaged),
        unasked=sum(row["key"] not in by_key for row in plan.rows),
        left=tuple(record["id"] for record in found.records if record["key"] not in planned),
        duplicates=len(plan.rows) - len(planned),
    )


def _read_old(found: Records) -> Joined:
    """Records of 0.1.0, which hold the truth of the day they were asked: the latest of each question."""
    by_id: dict[str, Record] = {}
    for record in found.records:
        earlier = by_id.get(record["id"])
        if earlier is None or "error" not in record or "error" in earlier:
            by_id[record["id"]] = record
    kept = tuple(record for _, record in sorted(by_id.items()))
    if kept and not all("target" in record or "defective" in record for record in kept):
        raise InputError("the run has records and no plan; repeat the command that made it, which writes the plan")
    note = "a run of an older version: which answers are right is as it was when they were asked"
    return Joined(Records(kept, found.keys, found.damaged), notes=(note,) if kept else ())
