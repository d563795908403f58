"""Messages as lines of a file, one a day where its name says so."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from reason_iad.languages import translatable
from reason_iad.line.settings_sinks import JsonlSink
from reason_iad.line.sinks import SinkDownError
from reason_iad.store.outbox import Waiting

TAIL = 1024 * 1024  # bytes at the end of a file that hold its last line


class Jsonl:
    """Appends, and pushes to disk; a line that a kill cut off is ended, and none is written twice."""

    def __init__(self, settings: JsonlSink) -> None:
        self.name, self._pattern = settings.name, settings.path
        self._path: Path | None = None
        self._last = ""  # id of the last message in the file

    def begin(self) -> None:
        """Nothing takes long; see `Sink`."""

    def send(self, message: Waiting) -> None:
        """Append a message; see `Sink`."""
        path = self._path_of(json.loads(message.payload)["at"])
        try:
            if path != self._path:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._last = _mend(path)
                self._path = path
            if message.message_id == self._last:  # written before a kill, and not noted
                return
            with path.open("ab") as file:
                file.write(message.payload.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._path = None
            raise SinkDownError(f"{path} cannot be written ({error.strerror}); expected room for messages") from error
        self._last = message.message_id

    def check(self) -> str:
        """Whether the file can be written; see `Sink`."""
        path = self._path_of(datetime.now().astimezone().isoformat())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise SinkDownError(f"{path} cannot be written ({error.strerror}); expected room for messages") from error
        return translatable(f"{path} can be written")

    def close(self) -> None:
        """Nothing is held; see `Sink`."""

    def _path_of(self, at: str) -> Path:
        """The file of a moment's day; only the days in the name are filled in."""
        from datetime import UTC

        moment, text = datetime.fromisoformat(at).astimezone(UTC), str(self._pattern)
        for code in ("%Y", "%m", "%d"):
            text = text.replace(code, moment.strftime(code))
        return Path(text)


def _mend(path: Path) -> str:
    """End a line that was cut off; the id of the last whole one, or an empty text."""
    if not path.exists() or not path.stat().st_size:
        return ""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        tail = file.read()
        if not tail.endswith(b"\n"):
            keep = tail.rfind(b"\n") + 1
            file.truncate(size - len(tail) + keep)  # its message is still in the outbox
            tail = tail[:keep]
    try:
        return str(json.loads(tail.rstrip(b"\n").rsplit(b"\n", 1)[-1])["id"])
    except (ValueError, KeyError, TypeError):
        return ""
