"""Profiles and knowledge of a machine, kept as those in the record (`serve --mirror`).

Servers whose machines share no disk learn from each other this way: what changed here is put into the record, what
changed there is written here, within seconds and file by file, so that a reader sees the old folder or the new one.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from reason_iad import files
from reason_iad.errors import ReasonIADError
from reason_iad.files import sha256, sha256_of_file, write_whole
from reason_iad.store.shelf import Shelved
from reason_iad.store.store import Store

STATE = ".mirror.json"  # which version of the record each folder here was last the same as
LAST = "profile.json"  # names the version that counts: written when all it names is there
KNOWLEDGE = "knowledge"
_KINDS = {".yaml", ".yml", ".jsonl"}  # of knowledge: what it is made of, not what is made from it
_log = logging.getLogger("reason_iad.server")


class Mirror:
    """The folders of this machine's home that are kept as in the record."""

    def __init__(self, store: Store, home: Path | None = None) -> None:
        self._store, self._home = store, home or files.home()
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}  # of files, by their size and time
        self._lock = threading.Lock()

    def sync(self) -> tuple[str, ...]:
        """Put what changed here, take what changed elsewhere; gives the names of what was taken.

        Where both changed, the record's is taken and what was here is set aside.

        Raises:
            RecordUnavailableError: the record or its files cannot be reached.
        """
        with self._lock:
            state, taken = self._read_state(), []
            versions, here = self._store.shelf.versions(), dict(self._folders())
            for name in sorted({*versions, *here}):
                version, digest = state.get(name, (0, ""))
                manifest = self._manifest(name) if name in here else {}
                changed = bool(manifest) and _digest(manifest) != digest
                if versions.get(name, 0) > version:
                    found = self._store.shelf.get(name)
                    assert found is not None
                    if found.manifest != manifest:
                        self._take(found, manifest, aside=changed)
                        taken.append(name)
                    state[name] = (found.version, _digest(found.manifest))
                elif changed:
                    for path in manifest:
                        self._store.files.put((self._home / name / path).read_bytes())
                    put = self._store.shelf.put(name, manifest, version)
                    if put is not None:  # else others came first: theirs is taken next time
                        state[name] = (put, _digest(manifest))
            self._write_state(state)
            return tuple(taken)

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self._home.glob(f"profiles/*/{LAST}")):
            yield f"profiles/{path.parent.name}", path.parent
        if (self._home / KNOWLEDGE).is_dir():
            yield KNOWLEDGE, self._home / KNOWLEDGE

    def _manifest(self, name: str) -> dict[str, str]:
        """The files of a folder by their content; without hidden ones, and of knowledge only what people wrote."""
        folder, found = self._home / name, {}
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if any(part.startswith(".") for part in inside.parts) or not path.is_file():
                continue
            if name != KNOWLEDGE or path.suffix.lower() in _KINDS:
                found[inside.as_posix()] = self._digest_of(path)
        return found

    def _digest_of(self, path: Path) -> str:
        status = path.stat()
        key = (status.st_size, status.st_mtime_ns)
        kept = self._digests.get(path)
        if kept is None or kept[0] != key:
            kept = self._digests[path] = (key, sha256_of_file(path))
        return kept[1]

    def _take(self, found: Shelved, before: dict[str, str], aside: bool) -> None:
        """Write a folder of the record here."""
        import filelock

        folder = self._home / found.name
        if aside:
            kept = self._home / "set-aside" / f"{found.name.replace('/', '-')}-{time.time_ns()}"
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(".*"))
            _log.warning("%s changed here and elsewhere; the record's holds, that of here is in %s", found.name, kept)
        new = {path: self._store.files.get(one) for path, one in found.manifest.items() if before.get(path) != one}
        gone = set(before) - set(found.manifest)
        if found.name == KNOWLEDGE:
            from reason_iad.knowledge.changes import apply_changes, writing

            with writing(folder):
                texts: dict[str, str | None] = {path: data.decode() for path, data in new.items()}
                apply_changes(folder, {**texts, **dict.fromkeys(gone)})
            return
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            for path in sorted(new, key=lambda one: one == LAST):
                write_whole(folder / path, new[path])
            for path in gone:
                (folder / path).unlink(missing_ok=True)

    def _read_state(self) -> dict[str, tuple[int, str]]:
        try:
            kept = json.loads((self._home / STATE).read_text("utf-8"))
            return {str(name): (int(version), str(digest)) for name, (version, digest) in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged: everything is compared anew
            return {}

    def _write_state(self, state: dict[str, tuple[int, str]]) -> None:
        text = json.dumps(state, indent=1, sort_keys=True)
        path = self._home / STATE
        if not path.is_file() or path.read_text("utf-8") != text:
            write_whole(path, text)


def _digest(manifest: dict[str, str]) -> str:
    return sha256(json.dumps(manifest, sort_keys=True))


def sync_quietly(mirror: Mirror) -> None:
    """Sync; what stands in the way now is logged, and tried again soon."""
    try:
        for name in mirror.sync():
            _log.warning("%s was taken from another server", name)
    except (ReasonIADError, OSError) as error:
        _log.warning("profiles and knowledge are not compared with the record now: %s", error)
