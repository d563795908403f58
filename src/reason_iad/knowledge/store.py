"""Ranking entries for a query: BM25 and dense similarity, fused by reciprocal rank.

The index lives in memory and is exact: every query is compared with every entry. `EntryIndex` is what retrieval asks
for, so a store on disk for very large bases can stand in without a change elsewhere. Vectors are cached on disk under
the hash of their text, so that a start re-encodes only what was edited.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.encoders import Encoder, Vectors, encode_query
from reason_iad.knowledge.entries import Entry, check_unique

RRF_K = 60  # Cormack, Clarke and Buettcher, SIGIR 2009: the constant hardly matters, 60 is theirs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """An entry and why it was found."""

    entry: Entry
    score: float  # sum of 1 / (60 + rank) over the rankings that hold it
    bm25_rank: int | None = None  # from 1; None where no word of the query occurs
    dense_rank: int | None = None  # from 1
    bm25: float = 0.0
    similarity: float = 0.0  # cosine, in [-1, 1]


class EntryIndex(Protocol):
    """Ranks entries for a query."""

    def rank(self, query: str, categories: Sequence[str] | None = None) -> tuple[Hit, ...]:
        """All entries of `categories` (or of the whole base), best first."""
        ...


class HybridIndex:
    """Exact BM25 and dense search over entries in memory."""

    def __init__(self, entries: Sequence[Entry], encoder: Encoder, cache: Path | None = None) -> None:
        """Index `entries`; vectors come from the folder `cache` where they are known (default: none).

        Raises:
            KnowledgeError: no entries, or two with one id.
        """
        if not entries:
            raise KnowledgeError("the knowledge base has no entries; expected at least one: see docs/knowledge.md")
        check_unique(entries)
        self.entries = tuple(entries)
        self.encoder = encoder
        self._cache = cache
        self._categories = np.array([entry.category for entry in entries])

    def rank(self, query: str, categories: Sequence[str] | None = None) -> tuple[Hit, ...]:
        """All entries of `categories` (or of the whole base) by fused score, best first; ties in order of id."""
        chosen = np.arange(len(self.entries))
        if categories is not None:
            chosen = chosen[np.isin(self._categories, list(categories))]
        bm25 = self._bm25_scores(query)[chosen]
        dense = (self.vectors @ encode_query(self.encoder, query))[chosen]
        bm25_ranks, dense_ranks = _ranks(bm25), _ranks(dense)
        hits = []
        for place, index in enumerate(chosen):
            lexical = int(bm25_ranks[place]) if bm25[place] > 0 else None
            semantic = int(dense_ranks[place])
            score = 1 / (RRF_K + semantic) + (1 / (RRF_K + lexical) if lexical else 0.0)
            hits.append(
                Hit(self.entries[index], score, lexical, semantic, float(bm25[place]), float(dense[place]))
            )  # fmt: skip
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.entry.id)))

    @cached_property
    def vectors(self) -> Vectors:
        """One vector per entry: (n, d) of unit length."""
        texts = [entry.text for entry in self.entries]
        if self._cache is None:
            return self.encoder.encode(texts)
        return encode_cached(texts, self.encoder, self._cache)

    def _bm25_scores(self, query: str) -> npt.NDArray[np.float32]:
        words = tokenize(query)
        if not words:
            return np.zeros(len(self.entries), np.float32)
        return np.asarray(self._bm25.get_scores(words), np.float32)

    @cached_property
    def _bm25(self) -> Any:
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG, past the program's own level
        index = bm25s.BM25(k1=1.2, b=0.75)
        index.index([tokenize(entry.text) for entry in self.entries], show_progress=False)
        return index


_STOP_TEXT = """
a an the of on in at to for from by with without and or but not no is are was were be been being it its this
that these those there here what which who how why when where can could may might do does did has have had
will would shall should as if than then so such any some all into over under between i we you they my our your
their
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


def tokenize(text: str) -> list[str]:
    """Words of a text for BM25: lower case, no stop words, plural and verb endings cut.

    >>> tokenize("Are there scratches on the light_guide_plate?")
    ['scratch', 'light', 'guide', 'plate']
    """
    words = re.findall(r"[^\W_]+", text.casefold())
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def _stem(word: str) -> str:
    """Cut the commonest English endings; both sides are cut alike, so only the collisions matter."""
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + rest
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def _ranks(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Rank of each of the scores (n,), the best 1; equal scores share the best rank: (n,)."""
    ordered = np.sort(-scores)
    return np.searchsorted(ordered, -scores, side="left").astype(np.int64) + 1


def encode_cached(texts: Sequence[str], encoder: Encoder, folder: Path) -> Vectors:
    """Encode texts, taking from the cache what it knows under the same encoder: (n, d) float32.

    The cache only saves time: where it is damaged it is rebuilt, and where the folder cannot be written the vectors
    are the same, only computed again next time.
    """
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', encoder.name)}.safetensors"
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    known = _read_cache(path, encoder.name)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        fresh = np.asarray(encoder.encode(list(missing.values())), np.float32)
        if known and next(iter(known.values())).shape != fresh[0].shape:
            _log.warning("%s holds vectors of another width; it is rebuilt", path)
            path.unlink(missing_ok=True)
            return encode_cached(texts, encoder, folder)
        known |= dict(zip(missing, fresh, strict=True))
        try:
            _write_cache(path, known, encoder.name)
        except OSError as error:
            _log.warning("%s cannot be written (%s); vectors are computed again next time", path, error)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _read_cache(path: Path, encoder_name: str) -> dict[str, Vectors]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(str(path), "numpy") as file:
            if (file.metadata() or {}).get("encoder") != encoder_name:
                return {}
            keys, vectors = file.get_tensor("keys"), file.get_tensor("vectors")
    except (SafetensorError, OSError) as error:
        _log.warning("%s is damaged (%s); it is rebuilt", path, error)
        return {}
    if vectors.ndim != 2 or keys.shape != (len(vectors), 32) or not np.isfinite(vectors).all():
        _log.warning("%s does not hold the expected vectors; it is rebuilt", path)
        return {}
    return {bytes(key).hex(): vector for key, vector in zip(keys, vectors, strict=True)}


def _write_cache(path: Path, vectors: dict[str, Vectors], encoder_name: str) -> None:
    from safetensors.numpy import save

    keys = np.frombuffer(bytes.fromhex("".join(vectors)), np.uint8).reshape(-1, 32)
    tensors: dict[str, npt.NDArray[Any]] = {"keys": keys.copy(), "vectors": np.stack(list(vectors.values()))}
    write_atomically(path, save(tensors, {"encoder": encoder_name}))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one, even when two processes write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
