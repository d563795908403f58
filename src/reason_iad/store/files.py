"""Files of evidence, named by the SHA-256 of their bytes: the same image is kept once, and never altered.

They lie in a folder, which several machines may mount, or in an object store (`objects`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.files import sha256, write_whole

EVIDENCE_VARIABLE = "REASON_IAD_EVIDENCE"
IDENTITY = ".record"  # holds the id of the record that the files belong to
CLOCK = ".clock"  # written to learn what time it is there
LEAST_FREE = 16 * 1024 * 1024  # bytes, below which there is no room for the next inspections
_DIGEST = re.compile(r"[0-9a-f]{64}")


class EvidenceFiles(Protocol):
    """Where files lie by their content; every method may be called from several threads and machines."""

    @property
    def place(self) -> str:
        """Where that is, for people."""
        ...

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its SHA-256 in hexadecimal.

        Raises:
            RecordUnavailableError: it cannot be written now.
        """
        ...

    def get(self, digest: str) -> bytes:
        """The bytes kept under `digest`.

        Raises:
            InputError: there is no such file, or its bytes are no longer those that were kept.
            RecordUnavailableError: it cannot be read now.
        """
        ...

    def remove(self, digest: str, before: float = float("inf")) -> int:
        """Forget a file unless it was kept or asked for since a moment of `now`; returns the bytes that went."""
        ...

    def digests(self) -> Iterator[str]:
        """Every digest that is there."""
        ...

    def now(self) -> float:
        """Seconds since 1970 by the clock that ages of files are measured with, whatever this machine's says."""
        ...

    def ping(self) -> None:
        """Check that files could be kept now.

        Raises:
            RecordUnavailableError: they could not.
        """
        ...

    def identity(self) -> str | None:
        """Id of the record whose files these are; None where there is none yet."""
        ...

    def identify(self, record: str) -> None:
        """Note whose files these are."""
        ...


def open_files(place: str | Path) -> EvidenceFiles:
    """The files at a place: a folder, or an address such as s3://bucket/prefix?endpoint=https://host.

    Raises:
        InputError: the address cannot be used, or its library is not installed.
    """
    if "://" not in str(place):
        return FolderFiles(Path(place))
    from reason_iad.store.objects import ObjectFiles

    return ObjectFiles.open(str(place))


def checked_digest(digest: str) -> str:
    """A digest as it came; never a path from outside.

    Raises:
        InputError: it is none.
    """
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"{digest[:80]!r} is no SHA-256; expected 64 hexadecimal digits")
    return digest


def checked_bytes(digest: str, data: bytes) -> bytes:
    """The bytes of a file, if they are those that were kept.

    Raises:
        InputError: they are others.
    """
    if sha256(data) != digest:
        raise InputError(f"the evidence file {digest} was altered; restore it from a backup")
    return data


@dataclass(frozen=True)
class FolderFiles:
    """A folder of files by content hash; `put` is atomic, `get` checks what it reads."""

    folder: Path

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def put(self, data: bytes) -> str:
        """Keep `data`; see `EvidenceFiles`."""
        digest = sha256(data)
        target = self._path(digest)
        with contextlib.suppress(OSError):
            os.utime(target)  # young again, so that a clean-up at this moment leaves it alone
            return digest
        self._write(target, data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes kept under `digest`; see `EvidenceFiles`."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"the evidence file {digest} is missing; it may have been removed by hand") from error
        except OSError as error:
            raise RecordUnavailableError(
                f"{self.folder} cannot be read ({error.strerror}); check that it is mounted and try again"
            ) from error
        return checked_bytes(digest, data)

    def remove(self, digest: str, before: float = float("inf")) -> int:
        """Forget an old file; see `EvidenceFiles`."""
        path = self._path(digest)
        try:
            status = path.stat()
            if status.st_mtime >= before:
                return 0
            path.unlink()
        except FileNotFoundError:
            return 0
        return status.st_size

    def digests(self) -> Iterator[str]:
        """Every digest on disk."""
        for path in self.folder.glob("??/*"):
            if _DIGEST.fullmatch(path.name):
                yield path.name

    def now(self) -> float:
        """The time by the clock of the disk, which may be another machine's."""
        self._write(self.folder / CLOCK, b"")
        return (self.folder / CLOCK).stat().st_mtime

    def ping(self) -> None:
        """Check that the folder is there and has room."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise RecordUnavailableError(f"{self.folder} cannot be used ({error.strerror}); mount it") from error
        if free < LEAST_FREE:
            raise RecordUnavailableError(
                f"{self.folder} has {free // 1024:,} KiB free; expected room for evidence files: free some"
            )

    def identity(self) -> str | None:
        """Id of the record whose files these are."""
        try:
            return (self.folder / IDENTITY).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordUnavailableError(f"{self.folder} cannot be read ({error.strerror}); mount it") from error

    def identify(self, record: str) -> None:
        """Note whose files these are."""
        self._write(self.folder / IDENTITY, record.encode())

    def _write(self, target: Path, data: bytes) -> None:
        try:
            write_whole(target, data, mode=0o600)
        except OSError as error:
            raise RecordUnavailableError(
                f"{self.folder} cannot be written ({error.strerror}); expected room for evidence files: free some, or "
                "choose another place"
            ) from error

    def _path(self, digest: str) -> Path:
        return self.folder / checked_digest(digest)[:2] / digest
