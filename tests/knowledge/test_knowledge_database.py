"""The embedded store: in step with its entries, versions, another encoder, damage, kills and two processes."""

from __future__ import annotations

import logging
import multiprocessing
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge import database as module
from reason_iad.knowledge.database import KnowledgeDatabase, fingerprint, text_hash
from reason_iad.knowledge.entries import Entry
from reason_iad.knowledge.store import HybridIndex

WORDS = ("crack", "hole", "rim", "scratch", "dark", "bright", "edge", "pore", "thread", "bent")


def entry(number: int, text: str | None = None, category: str = "part") -> Entry:
    words = " ".join(WORDS[(number * step) % 10] for step in (1, 3, 7)) + f" n{number}"
    return Entry(f"{category}/defect/{number}", category, "defect", text or words, "a test", f"type{number}")


ENTRIES = tuple(entry(number) for number in range(40))


def test_the_stored_index_answers_like_the_one_in_memory(encoder: Any, tmp_path: Path) -> None:
    stored = KnowledgeDatabase(tmp_path).index(ENTRIES, encoder, "hashing")
    again = KnowledgeDatabase(tmp_path).index(ENTRIES, encoder, "hashing")
    memory = HybridIndex(ENTRIES, encoder)
    for query in ("crack at the rim", "bent thread", "???"):
        expected = memory.rank(query)
        assert stored.rank(query) == expected
        assert again.rank(query) == expected
        assert again.rank(query, limit=3) == expected[:3]


def test_a_base_in_step_encodes_nothing_and_an_edit_only_what_is_new(make_encoder: Any, tmp_path: Path) -> None:
    KnowledgeDatabase(tmp_path).index(ENTRIES, make_encoder(), "hashing")

    def refuse() -> Any:
        raise AssertionError("the encoder was loaded")

    KnowledgeDatabase(tmp_path).index(ENTRIES, refuse, "hashing")
    second = make_encoder()
    index = KnowledgeDatabase(tmp_path).index((*ENTRIES[1:], entry(0, "new words")), second, "hashing")
    assert second.encoded == ["new words"]
    assert index.rank("new words")[0].entry.text == "new words"


def test_vectors_that_came_with_the_program_are_not_computed(make_encoder: Any, tmp_path: Path) -> None:
    texts = [e.text for e in ENTRIES]
    known = dict(zip(map(text_hash, texts), make_encoder().encode(texts), strict=True))
    encoder = make_encoder()
    index = KnowledgeDatabase(tmp_path).index(ENTRIES, encoder, "hashing", lambda: known)
    assert encoder.encoded == []
    assert index.rank("crack") == HybridIndex(ENTRIES, encoder).rank("crack")


def test_another_encoder_is_noticed_and_everything_encoded_anew_with_progress(
    make_encoder: Any, tmp_path: Path
) -> None:
    database = KnowledgeDatabase(tmp_path)
    database.index(ENTRIES, make_encoder(), "hashing")
    other = make_encoder("other", 64)
    told: list[tuple[int, int]] = []
    index = database.index(ENTRIES, other, "other", progress=lambda done, total: told.append((done, total)))
    assert sorted(other.encoded) == sorted(e.text for e in ENTRIES)
    assert told[-1] == (40, 40)
    assert index.vectors.shape == (40, 64)
    assert [version.encoder for version in database.versions()] == ["hashing", "other"]


def test_versions_tell_what_the_base_said_at_each_time(encoder: Any, tmp_path: Path) -> None:
    database = KnowledgeDatabase(tmp_path)
    first, second = ENTRIES[:3], (entry(0, "changed"), *ENTRIES[1:2], entry(9))
    database.index(first, encoder, "hashing")
    database.index(second, encoder, "hashing")
    database.index(first, encoder, "hashing")
    assert [(v.version, v.entries, v.added, v.removed) for v in database.versions()] == [
        (1, 3, 3, 0), (2, 3, 2, 2), (3, 3, 2, 2),
    ]  # fmt: skip
    by_id = lambda entries: tuple(sorted(entries, key=lambda e: e.id))  # noqa: E731
    assert database.entries_of(1) == database.entries_of(3) == by_id(first)
    assert database.entries_of(2) == by_id(second)


def test_the_fingerprint_sees_every_field_and_no_order() -> None:
    a, b = ENTRIES[:2]
    assert fingerprint([a, b]) == fingerprint([b, a])
    changes = {"text": "x", "source": "x", "category": "x", "defect_type": None, "language": "de", "id": "x"}
    for field, value in changes.items():
        changed = Entry(**{**{f: getattr(a, f) for f in Entry.__dataclass_fields__}, field: value})
        assert fingerprint([changed, b]) != fingerprint([a, b]), field
    assert fingerprint([a, b], {"part": "piece"}) != fingerprint([a, b])


@pytest.mark.parametrize("damage", ["database", "vectors", "order", "arrays gone"])
def test_a_damaged_store_is_rebuilt_from_the_entries(
    encoder: Any, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = KnowledgeDatabase(tmp_path)
    expected = database.index(ENTRIES, encoder, "hashing").rank("crack at the rim")
    arrays = next(path for path in tmp_path.iterdir() if path.is_dir())
    if damage == "database":
        for path in tmp_path.glob("knowledge.db*"):
            path.write_bytes(b"not a database " * 300)
    elif damage == "vectors":
        (arrays / "vectors.npy").write_bytes(b"\x93NUMPY")
    elif damage == "order":
        (arrays / "order.json").write_text("[")
    else:
        for path in arrays.iterdir():
            path.unlink()
    with caplog.at_level(logging.WARNING):
        assert database.index(ENTRIES, encoder, "hashing").rank("crack at the rim") == expected
    assert "rebuilt" in caplog.text


KILLED = """
import os, sys
import numpy as np
from pathlib import Path
from reason_iad.knowledge.database import KnowledgeDatabase
from reason_iad.knowledge.entries import Entry
class Dying:
    name = "dying"
    calls = 0
    def encode(self, texts):
        Dying.calls += 1
        if Dying.calls == 3: os._exit(9)
        return np.eye(len(texts), 8, dtype=np.float32) + 1e-3
entries = [Entry(f"p/defect/{i}", "p", "defect", f"text {i}", "s", f"t{i}") for i in range(300)]
KnowledgeDatabase(Path(sys.argv[1])).index(entries, Dying(), "dying")
"""


def test_a_killed_build_leaves_the_version_before_and_keeps_the_vectors_it_had(
    make_encoder: Any, tmp_path: Path
) -> None:
    old = [Entry("p/defect/0", "p", "defect", "text 0", "s", "t0")]
    database = KnowledgeDatabase(tmp_path)
    database.index(old, make_encoder("dying", 8), "dying")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], check=False)
    assert done.returncode == 9
    refused = make_encoder("dying", 8)
    database.index(old, refused, "dying")
    assert refused.encoded == []  # still the published version
    assert len(database.versions()) == 1
    second = make_encoder("dying", 8)
    entries = [Entry(f"p/defect/{i}", "p", "defect", f"text {i}", "s", f"t{i}") for i in range(300)]
    database.index(entries, second, "dying")
    assert len(second.encoded) == 300 - 1 - 2 * module.BATCH  # two batches were kept
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 1  # nothing is left of the killed build


def test_processes_that_build_at_once_all_get_their_own_entries(tmp_path: Path) -> None:
    from tiny_encoder import build  # by a name that a spawned process can import too

    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        sizes = pool.starmap(build, [(str(tmp_path), number) for number in range(6)])
    assert sizes == [60, 61, 60, 61, 60, 61]
    with sqlite3.connect(tmp_path / "knowledge.db") as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_build_that_is_locked_for_too_long_says_so(
    encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    tmp_path.mkdir(exist_ok=True)
    with filelock.FileLock(tmp_path / "build.lock"), pytest.raises(KnowledgeError, match="built by another process"):
        KnowledgeDatabase(tmp_path).index(ENTRIES, encoder, "hashing")


def test_a_limit_gives_the_first_of_the_exact_order_in_a_large_base(make_encoder: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 4)) + f" {rng.integers(50)}" for _ in range(3000)]
    entries = [entry(number, text) for number, text in enumerate(texts)]
    index = HybridIndex(entries, make_encoder())
    for query in ("dark crack 7", "bright pore at the edge"):
        exact = index.rank(query)
        assert [hit.score for hit in index.rank(query, limit=10)] == [hit.score for hit in exact[:10]]
