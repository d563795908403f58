"""Who writes a folder of reports, what its reports were made by, and the rows of its index.

    .reason-iad         lines of JSON: a run with what it was made by, then a row for each image
    .reason-iad.lock    held by the run that writes; the system frees it however that ends
    .reason-iad.owner   who that is, for the message to a second run

Rows are kept on disk and read one by one, so that a lot of any size needs no memory. A run that was killed leaves all
rows but perhaps half of its last one.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from reason_iad.errors import InputError
from reason_iad.images.lot import REPORT_MARK
from reason_iad.reporting.html import IndexRow

FORMAT = 1


@dataclass
class RunLog:
    """The log of one folder, held by one run until it is closed."""

    folder: Path
    made_by: Mapping[str, Any]  # every setting that a report depends on, by its name
    _lock: Any
    _places: list[int] = field(default_factory=list)  # where the rows of this run's index begin
    _earlier: dict[str, int] = field(default_factory=dict)  # the same of earlier rows, by content and name
    _begun: bool = False

    @classmethod
    def claim(cls, folder: Path, made_by: Mapping[str, Any] | None = None) -> RunLog:
        """Become the one run that writes this folder.

        Raises:
            InputError: another run writes it now.
        """
        import filelock

        lock = filelock.FileLock(folder / f"{REPORT_MARK}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise InputError(
                f"the report folder {folder} is written by {_owner(folder)}; expected a folder of its own for each "
                "run: choose another with --out, or wait until that run ends"
            ) from error
        who = f"process {os.getpid()} of {_user()} on {socket.gethostname()}, begun {datetime.now():%Y-%m-%d %H:%M:%S}"
        (folder / f"{REPORT_MARK}.owner").write_text(who, "utf-8")
        return cls(folder, dict(made_by or {}), lock)

    @property
    def path(self) -> Path:
        """The file of lines."""
        return self.folder / REPORT_MARK

    @property
    def count(self) -> int:
        """How many rows the index of this run has so far."""
        return len(self._places)

    def former(self) -> str:
        """What an earlier run left here, in words; empty where nothing."""
        count = sum(bool(record.get("href")) for _, record in self._records()) if self.path.is_file() else 0
        return f"{count:,} report{'' if count == 1 else 's'}" if count else ""

    def resume(self) -> list[str]:
        """Take up what earlier runs left; returns the name of each of their reports.

        Raises:
            InputError: their reports were made by other settings, or nobody knows by which.
        """
        names: list[str] = []
        if not self.path.is_file():
            if any(self.folder.glob("*.json")):
                raise InputError(
                    f"{self.folder} holds reports, but not what they were made by; expected a folder of this version: "
                    "leave out --resume to inspect all images again, or choose another folder with --out"
                )
            return names
        for place, record in self._records():
            if "run" in record:
                self._check(record["run"])
            elif record.get("sha256") and record.get("href"):
                name = record["href"].removesuffix(".html")
                if all((self.folder / f"{name}{ending}").is_file() for ending in (".html", ".json")):
                    self._earlier[_key(record["sha256"], record["name"])] = place
                    names.append(name)
        return names

    def earlier(self, sha256: str, name: str) -> IndexRow | None:
        """The row of an earlier report of the image of this content and name; it is then on this run's index."""
        place = self._earlier.pop(_key(sha256, name), None)
        if place is None:
            return None
        self._places.append(place)
        with self.path.open("rb") as file:
            return self._row(place, file)

    def earlier_rows(self) -> Iterator[tuple[str, IndexRow]]:
        """Content and row of every earlier report; all are then on this run's index."""
        for key in list(self._earlier):
            sha256, _, name = key.partition(" ")
            if (row := self.earlier(sha256, name)) is not None:
                yield sha256, row

    def begin(self) -> None:
        """Begin the log of this run, before it writes its first report: what it replaces is no longer taken over."""
        if self._begun:
            return
        resumed = bool(self._places or self._earlier)
        if resumed:  # what a killed run left of its last line must not swallow the next
            self._write(b"\n")
        else:
            self.path.write_bytes(b"")
        self._write_record({"run": {"format": FORMAT, "made_by": self.made_by}})
        self._begun = True

    def add(self, row: IndexRow, sha256: str = "") -> None:
        """Keep a row."""
        self.begin()
        kept = {key: value for key, value in asdict(row).items() if value is not None}
        self._places.append(self._write_record({"sha256": sha256, **kept}))

    def rows(self) -> Iterator[IndexRow]:
        """The rows of this run's index, read one by one."""
        if not self._places:
            return
        with self.path.open("rb") as file:
            for place in self._places:
                yield self._row(place, file)

    def close(self) -> None:
        """Let another run write here."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                (self.folder / f"{REPORT_MARK}.owner").unlink(missing_ok=True)
            self._lock.release()

    def _check(self, run: Mapping[str, Any]) -> None:
        before = run.get("made_by", {})
        other = [
            key for key in {**before, **self.made_by} if (before.get(key) or None) != (self.made_by.get(key) or None)
        ]
        if other or run.get("format") != FORMAT:
            changes = "; ".join(
                f"{key}: {_short(before.get(key))}, now {_short(self.made_by.get(key))}" for key in other
            )
            raise InputError(
                f"the reports in {self.folder} were made by other settings ({changes or 'another version'}); expected "
                "the same for --resume, so that one index never mixes two: leave out --resume to inspect all images "
                "again, or choose another folder with --out"
            )

    def _write_record(self, record: Mapping[str, Any]) -> int:
        return self._write(json.dumps(record).encode() + b"\n")

    def _write(self, line: bytes) -> int:
        """Append bytes; returns where they begin. Opened each time, so that a run may end in any way."""
        with self.path.open("ab") as file:
            place = file.tell()
            file.write(line)
        return place

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self.path.open("rb") as file:
            place = 0
            for line in file:
                with contextlib.suppress(ValueError):  # a line that a kill cut short
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield place, record
                place += len(line)

    @staticmethod
    def _row(place: int, file: IO[bytes]) -> IndexRow:
        file.seek(place)
        record = json.loads(file.readline())
        record.pop("sha256")
        return IndexRow(**{**record, "cells": tuple(record.get("cells", ()))})


def _key(sha256: str, name: str) -> str:
    return f"{sha256} {name}"


def _short(value: Any) -> str:
    """A setting in a message.

    >>> _short(True), _short(None), _short(["a", "b"])
    ('yes', 'none', '2 (a, ...)')
    """
    if isinstance(value, list) and len(value) > 1:
        return f"{len(value)} ({_short(value[0])}, ...)"
    if value is True or value is False:
        return "yes" if value else "no"
    text = "none" if value in (None, "", []) else str(value[0] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "an unknown user"


def _owner(folder: Path) -> str:
    try:
        return (folder / f"{REPORT_MARK}.owner").read_text("utf-8").strip() or "another run"
    except OSError:
        return "another run"
