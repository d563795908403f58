"""Files of evidence on disk, named by the SHA-256 of their bytes: the same image is kept once, and never altered."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.files import sha256, write_whole

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class EvidenceFiles:
    """A folder of files by content hash; `put` is atomic, `get` checks what it reads."""

    folder: Path

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its SHA-256 in hexadecimal.

        Raises:
            RecordUnavailableError: the folder cannot be written.
        """
        digest = sha256(data)
        target = self._path(digest)
        with contextlib.suppress(OSError):
            os.utime(target)  # young again, so that a clean-up at this moment leaves it alone
            return digest
        try:
            write_whole(target, data, mode=0o600)
        except OSError as error:
            raise RecordUnavailableError(
                f"{self.folder} cannot be written ({error.strerror}); expected room for evidence files: free some, or "
                "choose another place"
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes kept under `digest`.

        Raises:
            InputError: there is no such file, or its bytes are no longer those that were kept.
            RecordUnavailableError: the folder cannot be read now.
        """
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"the evidence file {digest} is missing; it may have been removed by hand") from error
        except OSError as error:
            raise RecordUnavailableError(
                f"{self.folder} cannot be read ({error.strerror}); check that it is mounted and try again"
            ) from error
        if sha256(data) != digest:
            raise InputError(f"the evidence file {digest} was altered on disk; restore it from a backup")
        return data

    def remove(self, digest: str, grace: float = 0.0) -> int:
        """Forget a file unless it was kept or asked for within `grace` seconds; returns the bytes that went."""
        path = self._path(digest)
        try:
            status = path.stat()
            if time.time() - status.st_mtime < grace:
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

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):  # never a path from outside
            raise InputError(f"{digest[:80]!r} is no SHA-256; expected 64 hexadecimal digits")
        return self.folder / digest[:2] / digest
