"""Ranking entries for a query: BM25 and dense similarity, fused by reciprocal rank.

The index is exact: every query is compared with every entry. Its arrays are built in memory here, or mapped from the
files of `database.py`. `EntryIndex` is what retrieval asks for, so that another store can stand in without a change
elsewhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reason_iad.errors import KnowledgeError
from reason_iad.files import sha256, write_whole
from reason_iad.knowledge.encoders import Encoder, Vectors, encode_query
from reason_iad.knowledge.entries import Entry, check_unique

_log = logging.getLogger(__name__)

MOST_ENCODED = 4096  # short texts whose vectors are kept, 1.5 kB each


@dataclass(frozen=True)
class Fusion:
    """How the two rankings are joined: `bm25 / (k + rank) + dense / (k + rank)`.

    The form is that of Cormack, Clarke and Buettcher (SIGIR 2009), who use k = 60 and equal weights.
    """

    k: int
    bm25: float
    dense: float = 1.0


# Among all products words say which one is meant; within one they say little that the meaning does not. Chosen on one
# half of the labeled questions and reported on the other (`benchmarks/knowledge.py`).
AMONG_PRODUCTS = Fusion(5, 1.25)
WITHIN_A_PRODUCT = Fusion(5, 0.5)


@dataclass(frozen=True)
class Hit:
    """An entry and why it was found."""

    entry: Entry
    score: float  # sum of weight / (k + rank) over the rankings that hold it
    bm25_rank: int | None = None  # from 1; None where no word of the query occurs
    dense_rank: int | None = None  # from 1
    bm25: float = 0.0
    similarity: float = 0.0  # cosine, in [-1, 1]


class EntryIndex(Protocol):
    """Ranks entries for a query."""

    def rank(
        self,
        query: str,
        categories: Sequence[str] | None = None,
        limit: int | None = None,
        kinds: Sequence[str] | None = None,
    ) -> tuple[Hit, ...]:
        """The `limit` best entries (default: all) of some categories and kinds (default: the whole base)."""
        ...

    def closeness(self, texts: Sequence[str], category: str, names: Sequence[str] = ()) -> Vectors:
        """Cosine of each text to the entry of a category, or to the one of its names, that is closest: (n,)."""
        ...

    def vectors_of(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of unit length of short texts that come again and again."""
        ...


class HybridIndex:
    """Exact BM25 and dense search over entries; the arrays lie in memory or are mapped from a file."""

    def __init__(
        self,
        entries: Sequence[Entry],
        encoder: Encoder | Callable[[], Encoder],
        cache: Path | None = None,
        *,
        vectors: Vectors | None = None,
        bm25: Any | None = None,
        fusion: Fusion | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Index `entries`.

        Args:
            entries: what can be found.
            encoder: for questions, and for entries without given vectors; a function loads it when first needed.
            cache: folder of vectors that are known already (default: none).
            vectors: one per entry, (n, d) of unit length, where they are known.
            bm25: a `bm25s.BM25` over the entries' words, where it is built already.
            fusion: weights of the two rankings; None for those above, by how many products are asked for.
            names: other names by category, which BM25 finds its entries by as well.

        Raises:
            KnowledgeError: no entries, or two with one id.
        """
        if not entries:
            raise KnowledgeError("the knowledge base has no entries; expected at least one: see docs/knowledge.md")
        check_unique(entries)
        self.entries = tuple(entries)
        self._fusion = fusion
        self._names = names or {}
        self._encoder = encoder
        self._cache = cache
        self._vector_of = lru_cache(MOST_ENCODED)(lambda text: self.encoder.encode([text])[0])
        self._categories = np.array([entry.category for entry in entries])
        self._kinds = np.array([entry.kind for entry in entries])
        if vectors is not None:
            self.__dict__["vectors"] = vectors  # takes the place of the cached property
        if bm25 is not None:
            self.__dict__["_bm25"] = bm25

    @cached_property
    def encoder(self) -> Encoder:
        """What turns questions into vectors."""
        return self._encoder if isinstance(self._encoder, Encoder) else self._encoder()

    def rank(
        self,
        query: str,
        categories: Sequence[str] | None = None,
        limit: int | None = None,
        kinds: Sequence[str] | None = None,
    ) -> tuple[Hit, ...]:
        """The `limit` best entries of some categories and kinds by fused score, best first; ties in order of id.

        Ranks are counted within the chosen entries. With a limit, entries outside the best 1,000 (at least four times
        the limit) of both rankings are not looked at: none of them can reach the score of the entries before them.
        """
        one = categories is not None and len(set(categories)) == 1
        fusion = self._fusion or (WITHIN_A_PRODUCT if one else AMONG_PRODUCTS)
        rows = self._rows(categories, kinds)
        if not len(rows):
            return ()
        every = len(rows) == len(self.entries)
        vectors = self.vectors if every else self.vectors[rows]
        bm25 = self._bm25_scores(query)
        bm25 = bm25 if every else bm25[rows]
        dense = vectors @ encode_query(self.encoder, query)
        places = _best(bm25, dense, limit)
        # Rounded, or the last bit, which depends on where a row lies in memory, would decide between equals.
        bm25_ranks, dense_ranks = _ranks(np.round(bm25, 4), places), _ranks(np.round(dense, 6), places)
        lexical = np.where(bm25[places] > 0, fusion.bm25 / (fusion.k + bm25_ranks), 0.0)
        scores = lexical + fusion.dense / (fusion.k + dense_ranks)
        if limit is not None and limit < len(scores):  # only these can be among the best, ties included
            first = np.flatnonzero(scores >= -np.partition(-scores, limit - 1)[limit - 1])
        else:
            first = np.arange(len(scores))
        hits = []
        for i in sorted(first, key=lambda i: (-scores[i], self.entries[rows[places[i]]].id))[:limit]:
            place = places[i]
            found = int(bm25_ranks[i]) if bm25[place] > 0 else None
            hits.append(
                Hit(
                    self.entries[rows[place]], float(scores[i]), found, int(dense_ranks[i]), float(bm25[place]),
                    float(dense[place]),
                )
            )  # fmt: skip
        return tuple(hits)

    def closeness(self, texts: Sequence[str], category: str, names: Sequence[str] = ()) -> Vectors:
        """Cosine of each text to the entry of a category, or to the one of its names, that is closest: (n,).

        Raises:
            KnowledgeError: neither entries nor names to compare with.
        """
        known = np.concatenate([self.vectors[self._rows([category], None)], self.vectors_of(names)])
        if not len(known):
            raise KnowledgeError(f"the category {category!r} has neither entries nor names to compare texts with")
        closest: Vectors = (self.vectors_of(texts) @ known.T).max(1)
        return closest

    def vectors_of(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of short texts that come again and again, such as options and names."""
        return np.stack([self._vector_of(t) for t in texts]) if texts else np.zeros((0, self.vectors.shape[1]), "f")

    def _rows(self, categories: Sequence[str] | None, kinds: Sequence[str] | None) -> npt.NDArray[np.intp]:
        chosen = np.ones(len(self.entries), bool)
        if categories is not None:
            chosen &= np.isin(self._categories, list(categories))
        if kinds is not None:
            chosen &= np.isin(self._kinds, list(kinds))
        return np.flatnonzero(chosen)

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
        return build_bm25(self.entries, self._names)


def build_bm25(entries: Sequence[Entry], names: Mapping[str, str]) -> Any:
    """A `bm25s.BM25` over texts and their categories' other names, in Lucene's form, with k1 = 1.2 and b = 0.75."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG, past the program's own level
    index = bm25s.BM25(k1=1.2, b=0.75)
    words = [tokenize(f"{entry.text} {names.get(entry.category, '')}") for entry in entries]
    index.index(words, show_progress=False)
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


def _best(
    bm25: npt.NDArray[np.float32], dense: npt.NDArray[np.float32], limit: int | None, least: int = 1000
) -> npt.NDArray[np.intp]:
    """Places of the entries that can be among the `limit` best of two score lists (n,): all, or the best of each."""
    width = max(least, 4 * limit) if limit is not None else len(dense)
    if width >= len(dense):
        return np.arange(len(dense))
    best = [np.argpartition(-scores, width)[:width] for scores in (bm25, dense)]
    return np.unique(np.concatenate(best))


def _ranks(scores: npt.NDArray[np.float32], places: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Rank among all scores (n,) of those at some places (m,), the best 1; equal scores share the best rank: (m,)."""
    ordered = np.sort(-scores)
    return np.searchsorted(ordered, -scores[places], side="left").astype(np.int64) + 1


def encode_cached(texts: Sequence[str], encoder: Encoder, folder: Path) -> Vectors:
    """Encode texts, taking from the cache what it knows under the same encoder: (n, d) float32.

    The cache only saves time: where it is damaged it is rebuilt, and where the folder cannot be written the vectors
    are the same, only computed again next time.
    """
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', encoder.name)}.safetensors"
    keys = [sha256(text) for text in texts]
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
    write_whole(path, save(tensors, {"encoder": encoder_name}))
