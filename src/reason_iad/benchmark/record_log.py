"""Records on disk: one JSON object a line, appended whole, read back after any kill.

A line is written by one call, so a killed process leaves at most one torn line, the last; opening the file for more
takes it away. Lines that were damaged otherwise are listed and their questions asked again; nothing else is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError
from reason_iad.files import write_whole

Record = dict[str, Any]
RUN_FILE = "run.json"
FORMAT = 2  # of runs; 1, of reason-iad 0.1.0, had the right answers in its records and fewer things in its keys
VOLATILE = ("milliseconds", "image_milliseconds", "worker")  # what differs between runs that say the same


class RecordLog:
    """The file that one process appends its records to; no second process may have it open."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open `records-NAME.jsonl` in the folder of a run.

        Raises:
            InputError: another process writes it.
        """
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"records-{name}.jsonl"
        self._lock = FileLock(folder / f".{name}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self.path} is being written by another process; expected one at a time: "
                "wait for it, or give each its own --shard"
            ) from error
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        self._size = _end_of_last_line(self._file)
        os.ftruncate(self._file, self._size)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, whole or not at all.

        Raises:
            OSError: there is no room; what was written before stays readable.
        """
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._size + written)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += len(line)

    def close(self) -> None:
        """Bring everything to the disk and let others write."""
        os.fsync(self._file)
        os.close(self._file)
        self._lock.release()


def _end_of_last_line(file: int) -> int:
    size = os.fstat(file).st_size
    end, step = size, 65536
    while end > 0:
        start = max(0, end - step)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


@dataclass(frozen=True)
class Records:
    """What a run has recorded.

    Attributes:
        records: one a key, in the order of their ids; an answer counts more than an error, the later more than the
            earlier.
        keys: of everything recorded, errors too.
        damaged: lines that are no record, as "file:line".
    """

    records: tuple[Record, ...]
    keys: frozenset[str]
    damaged: tuple[str, ...]

    @property
    def answered(self) -> tuple[Record, ...]:
        """Records without an error."""
        return tuple(record for record in self.records if "error" not in record)

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of questions that could not be asked."""
        return tuple(record for record in self.records if "error" in record)


def read_records(folder: Path) -> Records:
    """Read all records of a run, whatever processes wrote them."""
    by_key: dict[str, Record] = {}
    damaged: list[str] = []
    for path in sorted(folder.glob("records-*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not line:
                continue
            record = _parse(line)
            if record is None:
                damaged.append(f"{path.name}:{number}")
                continue
            earlier = by_key.get(record["key"])
            if earlier is None or "error" not in record or "error" in earlier:
                by_key[record["key"]] = record
    ordered = sorted(by_key.values(), key=lambda record: (record["id"], record["key"]))
    return Records(tuple(ordered), frozenset(by_key), tuple(damaged))


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    complete = isinstance(record, dict) and isinstance(record.get("key"), str) and isinstance(record.get("id"), str)
    return record if complete else None


def same_content(records: Iterable[Record]) -> list[Record]:
    """Records without what differs between runs that say the same: times and the worker."""
    return [{name: value for name, value in record.items() if name not in VOLATILE} for record in records]


def write_run_file(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what a run is, or check that the run in the folder is the same.

    Raises:
        InputError: the folder holds another run.
    """
    from reason_iad.benchmark.content import differences

    path = folder / RUN_FILE
    if path.exists():
        held = read_run_file(folder)
        if held.get("format") != FORMAT:
            raise InputError(
                f"{folder} holds a run of reason-iad {held.get('version', '0.1.0')}, whose records do not say which "
                "knowledge and profiles they were asked with; expected a new folder: choose another --out "
                "(`benchmark report` still reads the old run)"
            )
        for name in ("task", "setting"):
            if held.get(name) != facts.get(name):
                raise InputError(
                    f"{folder} holds a run with {name} {held.get(name)!r}; expected {facts.get(name)!r}: "
                    "choose another --out, or repeat the command that began it"
                )
        if changed := differences(held.get("content", {}), facts.get("content", {})):
            raise InputError(
                f"{folder} holds a run with other content: {'; '.join(changed)} changed since. Its answers cannot be "
                "mixed with new ones: choose another --out"
            )
        return
    write_whole(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def read_run_file(folder: Path) -> dict[str, Any]:
    """Read what a run is.

    Raises:
        InputError: the folder holds no run.
    """
    path = folder / RUN_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no run ({error}); expected a folder written by `benchmark mmad`") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path} holds a {type(facts).__name__}; expected an object")
    return facts
