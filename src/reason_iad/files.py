"""Files of this program: where its cache lies, writing a file as a whole, and digests of content.

A file appears under its name whole or not at all: it is written beside its place under a hidden name, pushed to disk,
and renamed. Readers see the old file or the new one, also while two processes write at once or one is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError

HOME_VARIABLE = "REASON_IAD_HOME"
SEPARATOR_VARIABLE = "REASON_IAD_CSV_SEPARATOR"
TABLE_MARK = "\ufeff"  # opens a table: without it Excel takes UTF-8 for the code page of the machine
_SEPARATORS = {"": ",", ",": ",", "comma": ",", ";": ";", "semicolon": ";", "\t": "\t", "tab": "\t"}


def home() -> Path:
    """The folder of weights, profiles, knowledge and caches: `$REASON_IAD_HOME`, or `~/.cache/reason-iad`.

    Raises:
        InputError: neither is known.
    """
    try:
        return Path(os.environ.get(HOME_VARIABLE, "") or "~/.cache/reason-iad").expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"the home folder is unknown ({error}); set {HOME_VARIABLE} to a folder that can be written"
        ) from error


def write_whole(path: Path, content: bytes | str, mode: int | None = None, durable: bool = True) -> None:
    """Write a file so that readers see the old one or the whole new one; makes its folder.

    Args:
        path: where it goes.
        content: bytes, or a text that is written in UTF-8 with the line ends it has.
        mode: permissions, as 0o600 for a secret; those of other files by default.
        durable: push it to disk first, so that a power cut cannot leave an empty file; off for what can be made again.

    Raises:
        OSError: it cannot be written; the old file stays and nothing else is left.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable) as draft:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


@contextlib.contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give the path of a draft beside `path` to write to; it takes the place of `path` when the block ends well.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as draft:
    ...         _ = draft.write_text("whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield draft
        if durable:
            sync(draft)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Push a file or folder to disk, so that a crash cannot leave a finished name with unfinished content."""
    if os.name == "nt":  # opens no folders, and syncs none opened for reading
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def table_separator() -> str:
    """What stands between the cells of a table: a comma, or what `$REASON_IAD_CSV_SEPARATOR` says.

    Spreadsheets split by the separator of their language: ";" where numbers have a decimal comma.

    Raises:
        InputError: the variable names none.
    """
    given = os.environ.get(SEPARATOR_VARIABLE, "")
    if given.casefold() not in _SEPARATORS:
        raise InputError(f"{SEPARATOR_VARIABLE} is {given!r}; expected comma, semicolon or tab")
    return _SEPARATORS[given.casefold()]


def sha256(*contents: bytes | str) -> str:
    """SHA-256 of bytes or of texts in UTF-8, one after the other: 64 hexadecimal digits.

    >>> sha256("ab")[:12], sha256(b"a", "b") == sha256("ab")
    ('fb8e20fc2e4c', True)
    """
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.encode() if isinstance(content, str) else content)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(content: Any, sort_keys: bool = False) -> str:
    """SHA-256 of what can be written as JSON; with `sort_keys` the order of a mapping does not matter."""
    return sha256(json.dumps(content, sort_keys=sort_keys))
