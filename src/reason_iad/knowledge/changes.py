"""Changing the files of a base: all of a change or nothing of it, and one writer at a time.

New content is written beside the files first, then a journal that lists what moves where. From the moment the journal
stands, the change is decided: whoever opens the base next finishes it. Before that moment it never happened.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reason_iad.errors import KnowledgeError
from reason_iad.files import write_whole

JOURNAL = ".change.json"
_STAGE = ".change-"
WAIT_SECONDS = 10.0


@contextmanager
def writing(base: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the base for writing; a second writer waits, then is refused.

    Raises:
        KnowledgeError: another process holds it, or the folder cannot be written.
    """
    import filelock

    try:
        base.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(base / ".write.lock", timeout=wait)
        with lock:
            _finish(base)
            yield
    except filelock.Timeout as error:
        raise KnowledgeError(
            f"{base} is being changed by another process for over {wait:g} s; expected one writer at a time: let it "
            "finish and try again"
        ) from error
    except OSError as error:
        raise KnowledgeError(
            f"{base} cannot be written ({error.strerror or error}); choose a folder of yours, or make room"
        ) from error


def apply_changes(base: Path, files: Mapping[str, str | None]) -> None:
    """Write or remove (None) files, named relative to the base, as one change; call it inside `writing`."""
    stage = base / f"{_STAGE}{secrets.token_hex(6)}"
    stage.mkdir()
    moves: list[tuple[str, str]] = []
    try:
        for number, (name, text) in enumerate(sorted(files.items())):
            if text is not None:
                write_whole(stage / str(number), text.encode())
            moves.append((f"{stage.name}/{number}" if text is not None else "", name))
        write_whole(base / JOURNAL, json.dumps(moves).encode())
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    _finish(base)


def recover(base: Path) -> None:
    """Finish a change that was decided but interrupted, unless its writer is still at it."""
    if not (base / JOURNAL).exists():
        return
    import filelock

    try:
        with filelock.FileLock(base / ".write.lock", timeout=WAIT_SECONDS):
            _finish(base)
    except (filelock.Timeout, OSError) as error:
        raise KnowledgeError(f"{base} holds an unfinished change; let its writer finish and try again") from error


def _finish(base: Path) -> None:
    journal = base / JOURNAL
    if journal.exists():
        for source, name in json.loads(journal.read_text("utf-8")):
            target = base / name
            if not source:
                target.unlink(missing_ok=True)
            elif (base / source).exists():  # else moved before the interruption
                target.parent.mkdir(parents=True, exist_ok=True)
                (base / source).replace(target)
        journal.unlink()
    for stage in base.glob(f"{_STAGE}*"):
        if stage.is_dir():
            shutil.rmtree(stage, ignore_errors=True)
    for half in base.glob(f".{JOURNAL}.*"):  # a journal that was not written to its end
        half.unlink(missing_ok=True)
