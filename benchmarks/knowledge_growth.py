"""Time by number of entries: the part of benchmarks/knowledge.py behind `--growth`.

Entries are made of the starter knowledge's own words in their own frequencies. Their vectors are random, since encoding
100,000 texts would measure the encoder only; what a query's own encoding costs is stated apart. Named baseline: LanceDB
over the same entries (flat vector search and its full-text index), where it is installed.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.knowledge.base import read_base
from reason_iad.knowledge.bulk import dump_lines
from reason_iad.knowledge.database import KnowledgeDatabase, text_hash
from reason_iad.knowledge.encoders import SentenceEncoder
from reason_iad.knowledge.entries import Entry, load_entries
from reason_iad.knowledge.store import tokenize

QUESTIONS = (
    "thin dark line across the solder joint", "notch at the rim of the bottle", "why does the paint come off",
    "missing ball in the bearing", "what to check when the weld has pores", "bright spot on the panel",
)  # fmt: skip
REPEATS = 60


def growth(sizes: Sequence[int]) -> dict[str, Any]:
    """Build, open and search bases of each size; times in milliseconds unless they say otherwise."""
    encoder = SentenceEncoder.load()
    encoding = _times(lambda i: encoder.encode_query(QUESTIONS[i % len(QUESTIONS)]))
    result: dict[str, Any] = {"encoding a question": encoding}
    for size in sizes:
        entries, vectors = _entries(size)
        result[f"{size:,} entries"] = _measure(entries, vectors, encoder)
        with contextlib.suppress(ImportError):
            result[f"{size:,} entries"]["LanceDB, same entries"] = _lance(entries, vectors, encoder)
    return result


def _measure(entries: Sequence[Entry], vectors: np.ndarray, encoder: SentenceEncoder) -> dict[str, Any]:
    known = dict(zip([text_hash(entry.text) for entry in entries], vectors, strict=True))
    questions = {question: encoder.encode_query(question) for question in QUESTIONS}

    class Ready:
        name = encoder.name

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.stack([questions[text] for text in texts])

    with tempfile.TemporaryDirectory() as folder:
        database = KnowledgeDatabase(Path(folder) / "index")
        began = time.perf_counter()
        database.index(entries, Ready(), encoder.name, lambda: known)
        built = time.perf_counter() - began
        began = time.perf_counter()
        index = database.index(entries, Ready(), encoder.name)
        opened = time.perf_counter() - began
        search = _times(lambda i: index.rank(QUESTIONS[i % len(QUESTIONS)], limit=10))
        scoped = _times(lambda i: index.rank(QUESTIONS[i % len(QUESTIONS)], [entries[i].category], limit=200))
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        (Path(folder) / "bulk.jsonl").write_text(dump_lines(entries), "utf-8")
        began = time.perf_counter()
        read_base(Path(folder), None)
        parsed = time.perf_counter() - began
        began = time.perf_counter()
        read_base(Path(folder), None)
        read = time.perf_counter() - began
    return {
        "search, whole base": search,
        "search, one category": scoped,
        "build, vectors known": f"{built:.2f} s",
        "open": f"{opened:.2f} s",
        "parse the files": f"{parsed:.2f} s, again {read:.2f} s",
        "disk": f"{disk / 1e6:.0f} MB",
        "process so far": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB",
    }


def _lance(entries: Sequence[Entry], vectors: np.ndarray, encoder: SentenceEncoder) -> dict[str, Any]:
    os.environ.setdefault("RUST_LOG", "error")
    began = time.perf_counter()
    import lancedb
    import pyarrow as pa
    from lancedb.index import FTS

    imported = time.perf_counter() - began
    questions = [encoder.encode_query(question) for question in QUESTIONS]
    table = pa.table(
        {
            "id": [entry.id for entry in entries],
            "text": [entry.text for entry in entries],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        }
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        began = time.perf_counter()
        base = lancedb.connect(folder).create_table("entries", table)
        base.create_index("text", config=FTS())
        built = time.perf_counter() - began

        def both(i: int) -> None:
            n = i % len(QUESTIONS)
            base.search(questions[n]).select(["id", "_distance"]).limit(100).to_arrow()
            words = " ".join(tokenize(QUESTIONS[n]))
            base.search(words, query_type="fts").select(["id", "_score"]).limit(100).to_arrow()

        return {
            "search, whole base": _times(both),
            "build": f"{built:.2f} s",
            "import": f"{imported:.2f} s (0 where it was imported before)",
        }


def _entries(size: int) -> tuple[list[Entry], np.ndarray]:
    rng = np.random.default_rng(0)
    words = np.array([word for entry in load_entries() for word in entry.text.split()])
    lengths = [len(entry.text.split()) for entry in load_entries()]
    entries = []
    for number in range(size):
        text = " ".join(words[rng.integers(len(words), size=lengths[number % len(lengths)])])
        category = f"category_{number % max(size // 20, 1)}"
        entries.append(Entry(f"{category}/defect/{number}", category, "defect", text, "made up", f"t{number}"))
    vectors = rng.standard_normal((size, 384)).astype(np.float32)
    return entries, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _times(call: Callable[[int], Any]) -> str:
    call(0)
    taken = []
    for number in range(REPEATS):
        began = time.perf_counter()
        call(number)
        taken.append(1000 * (time.perf_counter() - began))
    return f"{np.median(taken):.2f} ms (95 % under {np.quantile(taken, 0.95):.2f} ms)"
