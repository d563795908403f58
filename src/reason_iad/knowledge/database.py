"""The embedded store under the knowledge files: SQLite for what must be safe, mapped arrays for what must be fast.

    index/knowledge.db      files as last parsed, every entry that ever was with the versions it lived in, vectors
    index/<version>/        vectors.npy and the BM25 arrays of that version, mapped into memory when searched

The files are the truth and the store is derived: it can be deleted at any time. A version is published by one SQLite
transaction after its arrays are complete on disk, so a build that is killed leaves the version before it, and the
vectors computed so far are kept. Builders exclude each other with a lock; readers need none.
"""

from __future__ import annotations

import datetime
import json
import logging
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.errors import KnowledgeError
from reason_iad.files import sha256
from reason_iad.knowledge.encoders import Encoder, Vectors
from reason_iad.knowledge.entries import Entry, field_names
from reason_iad.knowledge.store import HybridIndex, build_bm25

Progress = Callable[[int, int], None]  # texts encoded, texts to encode

SCHEMA = 1
LOCK_SECONDS = 60.0
BATCH = 64  # texts encoded between two commits: what a kill can cost
_TABLES = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists files (path text primary key, size int, changed int, content text not null);
create table if not exists entries (
    row integer primary key autoincrement, hash text not null, id text not null, category text not null,
    kind text not null, text text not null, source text not null, defect_type text, language text not null,
    since int not null, until int
);
create unique index if not exists living on entries (id) where until is null;
create table if not exists vectors (hash text not null, encoder text not null, vector blob not null,
    primary key (hash, encoder));
create table if not exists versions (version integer primary key, at text not null, encoder text not null,
    entries int not null, added int not null, removed int not null);
"""
_FIELDS = ", ".join(field_names(Entry))
_values = attrgetter(*field_names(Entry))  # `dataclasses.astuple` copies deeply: 20 times as long

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """One published state of the base."""

    version: int
    at: str  # ISO 8601, UTC
    encoder: str
    entries: int
    added: int
    removed: int


class KnowledgeDatabase:
    """The store in one folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is opened or made before the first use."""
        self.folder = folder

    def parsed(self) -> dict[str, tuple[int, int, str]]:
        """What every file was parsed into: size, time of change in nanoseconds and content by path; empty if none."""
        try:
            with self._connect() as connection:
                rows = connection.execute("select path, size, changed, content from files").fetchall()
        except (sqlite3.Error, OSError):
            return {}
        return {path: (size, changed, content) for path, size, changed, content in rows}

    def keep_parsed(self, files: Mapping[str, tuple[int, int, str]]) -> None:
        """Replace what is known about the files; a store that cannot be written only costs time at the next start."""
        try:
            with self._connect() as connection, connection:
                connection.execute("begin immediate")
                connection.execute("delete from files")
                connection.executemany("insert into files values (?, ?, ?, ?)", [(p, *f) for p, f in files.items()])
        except (sqlite3.Error, OSError) as error:
            _log.debug("%s cannot be written (%s)", self.folder, error)

    def versions(self) -> tuple[Version, ...]:
        """Every published version, the oldest first."""
        with self._connect() as connection:
            return tuple(Version(*row) for row in connection.execute("select * from versions order by version"))

    def entries_of(self, version: int) -> tuple[Entry, ...]:
        """The entries as they were in a version, in order of id."""
        query = f"select {_FIELDS} from entries where since <= ? and (until is null or until > ?) order by id"  # noqa: S608
        with self._connect() as connection:
            return tuple(Entry(*row) for row in connection.execute(query, (version, version)))

    def index(
        self,
        entries: Sequence[Entry],
        encoder: Encoder | Callable[[], Encoder],
        encoder_name: str,
        known: Callable[[], Mapping[str, Vectors]] | None = None,
        progress: Progress | None = None,
        names: Mapping[str, str] | None = None,
    ) -> HybridIndex:
        """An index over exactly these entries, from the store where it is in step and rebuilt where it is not.

        Args:
            entries: what the files hold now, with unique ids.
            encoder: used, or loaded, only for texts without a vector and for questions.
            encoder_name: identity of the encoder; another than the store's means that vectors are computed anew.
            known: gives vectors that came with the program, by hash of their text; asked only when building.
            progress: told of every batch of texts that is encoded.
            names: other names by category, which BM25 finds its entries by as well.

        Raises:
            KnowledgeError: another process builds for longer than a minute.
            OSError: the folder cannot be written.
        """
        for _ in range(2):
            try:
                found = self._open(entries, encoder, encoder_name, names or {})
                if found is None:
                    with self._locked():
                        self._build(entries, encoder, encoder_name, known() if known else {}, progress, names or {})
                    found = self._open(entries, encoder, encoder_name, names or {})
                if found is not None:
                    return found
            except sqlite3.OperationalError as error:  # locked, full or not writable: nothing to repair here
                raise OSError(f"{self.folder}: {error}") from error
            except sqlite3.DatabaseError as error:
                _log.warning("%s is damaged (%s); it is rebuilt from the knowledge files", self.folder, error)
                for path in self.folder.glob("knowledge.db*"):
                    path.unlink(missing_ok=True)
        raise KnowledgeError(f"{self.folder} changes while it is read; let the other process finish and try again")

    def _open(
        self,
        entries: Sequence[Entry],
        encoder: Encoder | Callable[[], Encoder],
        encoder_name: str,
        names: Mapping[str, str],
    ) -> HybridIndex | None:
        """The published index if it is one over `entries`, else None."""
        with self._connect() as connection:
            facts = dict(connection.execute("select name, value from facts"))
        expected = {"schema": str(SCHEMA), "encoder": encoder_name, "fingerprint": fingerprint(entries, names)}
        if any(facts.get(name) != value for name, value in expected.items()):
            return None
        import bm25s

        folder = self.folder / facts["arrays"]
        try:
            vectors = np.load(folder / "vectors.npy", mmap_mode="r")
            order = json.loads((folder / "order.json").read_text("utf-8"))
            bm25 = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)
        except (OSError, ValueError, KeyError) as error:
            _log.warning("%s is damaged (%s); it is rebuilt", folder, error)
            return None
        if vectors.shape[:1] != (len(entries),) or len(order) != len(entries):
            return None
        by_id = {entry.id: entry for entry in entries}
        ordered = [by_id[name] for name in order]
        return HybridIndex(ordered, encoder, vectors=vectors, bm25=bm25)

    def _build(
        self,
        entries: Sequence[Entry],
        encoder: Encoder | Callable[[], Encoder],
        encoder_name: str,
        known: Mapping[str, Vectors],
        progress: Progress | None,
        names: Mapping[str, str],
    ) -> None:
        """Compute what is missing, write the arrays, and publish them as the next version."""
        ordered = sorted(entries, key=lambda entry: entry.id)
        hashes = [text_hash(entry.text) for entry in ordered]
        with self._connect() as connection:
            facts = dict(connection.execute("select name, value from facts"))
            if facts.get("encoder", encoder_name) != encoder_name:
                _log.warning("the encoder changed from %s to %s: vectors are made anew", facts["encoder"], encoder_name)
            vectors = self._vectors(connection, ordered, hashes, encoder, encoder_name, known, progress)
            arrays = self._write_arrays(ordered, vectors, names)
            with connection:
                connection.execute("begin immediate")
                version, added, removed = _publish(connection, ordered, encoder_name)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                row = (version, now, encoder_name, len(ordered), added, removed)
                connection.execute("insert into versions values (?, ?, ?, ?, ?, ?)", row)
                facts = {
                    "schema": str(SCHEMA), "encoder": encoder_name, "fingerprint": fingerprint(entries, names),
                    "arrays": arrays,
                }  # fmt: skip
                connection.executemany("insert or replace into facts values (?, ?)", facts.items())
                connection.execute("delete from vectors where encoder != ?", (encoder_name,))
        for old in self.folder.iterdir():
            if old.is_dir() and old.name != arrays:
                shutil.rmtree(old, ignore_errors=True)  # a reader that maps it keeps what it has

    def _vectors(
        self,
        connection: sqlite3.Connection,
        entries: Sequence[Entry],
        hashes: Sequence[str],
        encoder: Encoder | Callable[[], Encoder],
        encoder_name: str,
        known: Mapping[str, Vectors],
        progress: Progress | None,
    ) -> Vectors:
        """One vector per entry (n, d): known, stored, or computed in batches that are kept at once."""
        query = "select hash, vector from vectors where encoder = ?"
        stored = {name: np.frombuffer(blob, np.float32) for name, blob in connection.execute(query, (encoder_name,))}
        stored |= {name: np.asarray(known[name], np.float32) for name in set(hashes) & set(known) - set(stored)}
        missing = {name: entry.text for name, entry in zip(hashes, entries, strict=True) if name not in stored}
        todo = list(missing.items())
        if todo and not isinstance(encoder, Encoder):
            encoder = encoder()
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            assert isinstance(encoder, Encoder)  # loaded above
            fresh = np.asarray(encoder.encode([text for _, text in batch]), np.float32)
            rows = [(name, encoder_name, vector.tobytes()) for (name, _), vector in zip(batch, fresh, strict=True)]
            with connection:
                connection.execute("begin immediate")
                connection.executemany("insert or replace into vectors values (?, ?, ?)", rows)
            stored |= {name: vector for (name, _), vector in zip(batch, fresh, strict=True)}
            if progress:
                progress(start + len(batch), len(todo))
        return np.stack([stored[name] for name in hashes])

    def _write_arrays(self, entries: Sequence[Entry], vectors: Vectors, names: Mapping[str, str]) -> str:
        name = secrets.token_hex(8)
        folder = self.folder / name
        folder.mkdir()
        np.save(folder / "vectors.npy", vectors)
        (folder / "order.json").write_text(json.dumps([entry.id for entry in entries]), "utf-8")
        build_bm25(entries, names).save(str(folder), show_progress=False)
        return name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import filelock

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / "build.lock", timeout=LOCK_SECONDS):
                yield
        except filelock.Timeout as error:
            raise KnowledgeError(
                f"{self.folder} is being built by another process for over {LOCK_SECONDS:.0f} s; let it finish and try "
                "again"
            ) from error

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.folder / "knowledge.db", timeout=LOCK_SECONDS, isolation_level=None)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_TABLES)
            yield connection
        finally:
            connection.close()


def text_hash(text: str) -> str:
    """The name under which a text's vector is kept."""
    return sha256(text)


def fingerprint(entries: Sequence[Entry], names: Mapping[str, str] | None = None) -> str:
    """One hash over all fields of all entries, whatever their order, and the names they are found by."""
    lines = sorted(json.dumps(_values(entry), ensure_ascii=False) for entry in entries)
    lines.append(json.dumps(names or {}, sort_keys=True))
    return sha256("\n".join(lines))


def _publish(connection: sqlite3.Connection, entries: Sequence[Entry], encoder_name: str) -> tuple[int, int, int]:
    """End the rows of entries that changed or went and start new ones: the version, entries added and removed."""
    version = int(connection.execute("select coalesce(max(version), 0) + 1 from versions").fetchone()[0])
    query = "select id, hash from entries where until is null"
    living: dict[str, str] = dict(connection.execute(query))
    now = {entry.id: (text_hash(json.dumps(_values(entry), ensure_ascii=False)), entry) for entry in entries}
    gone = [name for name, mark in living.items() if name not in now or now[name][0] != mark]
    new = [(mark, entry) for name, (mark, entry) in now.items() if living.get(name) != mark]
    connection.executemany(
        "update entries set until = ? where id = ? and until is null", [(version, name) for name in gone]
    )
    marks = ", ".join("?" * (len(field_names(Entry)) + 2))
    rows: list[tuple[Any, ...]] = [(mark, *_values(entry), version) for mark, entry in new]
    connection.executemany(f"insert into entries (hash, {_FIELDS}, since) values ({marks})", rows)  # noqa: S608
    return version, len(new), len(gone)
