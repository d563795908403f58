"""Ranking: BM25 and dense against formulas written out here, fusion, and the vector cache."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.entries import Entry, load_entries
from reason_iad.knowledge.store import Fusion, HybridIndex, encode_cached, tokenize


def entry(number: int, text: str, category: str = "part") -> Entry:
    return Entry(f"{category}/defect/{number}", category, "defect", text, "a test", f"type{number}")


TEXTS = ["crack in the rim", "dark hole in the rim, hole again", "scratch", "crack crack along the whole long body"]


def bm25_by_hand(texts: list[str], query: str, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Robertson's BM25 as Lucene scores it, written from the formula."""
    documents = [tokenize(text) for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for term in tokenize(query):
            holding = sum(term in document for document in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            frequency = words.count(term)
            score += idf * frequency / (frequency + k1 * (1 - b + b * len(words) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", ["crack", "hole in rim", "crack crack rim", "nothing known"])
def test_bm25_follows_the_formula(encoder: Any, query: str) -> None:
    entries = [entry(number, text) for number, text in enumerate(TEXTS)]
    hits = {hit.entry.id: hit.bm25 for hit in HybridIndex(entries, encoder).rank(query)}
    expected = bm25_by_hand(TEXTS, query)
    assert [hits[e.id] for e in entries] == pytest.approx(expected, abs=1e-5)


def test_the_fused_score_is_the_sum_of_reciprocal_ranks(encoder: Any) -> None:
    entries = [entry(number, text) for number, text in enumerate(TEXTS)]
    hits = HybridIndex(entries, encoder, fusion=Fusion(60, 1.0, 1.0)).rank("crack in the rim")
    bm25 = bm25_by_hand(TEXTS, "crack in the rim")
    query = encoder.encode(["crack in the rim"])[0]
    cosines = [float(encoder.encode([text])[0] @ query) for text in TEXTS]
    for hit in hits:
        number = int(hit.entry.id[-1])
        lexical = 1 + sum(other > bm25[number] for other in bm25)
        semantic = 1 + sum(round(other, 6) > round(cosines[number], 6) for other in cosines)
        expected = 1 / (60 + semantic) + (1 / (60 + lexical) if bm25[number] > 0 else 0)
        assert hit.score == pytest.approx(expected)
        assert hit.similarity == pytest.approx(cosines[number], abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].entry.id == "part/defect/0"


def test_words_that_occur_nowhere_leave_only_the_dense_ranking(encoder: Any) -> None:
    hits = HybridIndex([entry(0, "crack"), entry(1, "hole")], encoder).rank("???")
    assert all(hit.bm25_rank is None and hit.dense_rank for hit in hits)


def test_a_category_limits_the_ranking_and_its_ranks(encoder: Any) -> None:
    entries = [entry(0, "crack", "a"), entry(1, "crack crack", "b"), entry(2, "hole", "b")]
    hits = HybridIndex(entries, encoder).rank("crack", ["b"])
    assert [hit.entry.id for hit in hits] == ["b/defect/1", "b/defect/2"]
    assert hits[0].bm25_rank == 1
    assert hits[0].dense_rank == 1
    assert HybridIndex(entries, encoder).rank("crack", ["none"]) == ()


def test_order_does_not_depend_on_the_order_of_entries(encoder: Any) -> None:
    entries = list(load_entries())
    query = "dark spot on the surface"
    forward = HybridIndex(entries, encoder).rank(query)
    backward = HybridIndex(entries[::-1], encoder).rank(query)
    assert [hit.entry.id for hit in forward] == [hit.entry.id for hit in backward]


def test_weights_of_the_fusion_count_as_stated(encoder: Any) -> None:
    entries = [entry(number, text) for number, text in enumerate(TEXTS)]
    for hit in HybridIndex(entries, encoder, fusion=Fusion(7, 2.0, 0.5)).rank("crack in the rim"):
        expected = 0.5 / (7 + (hit.dense_rank or 0)) + (2.0 / (7 + hit.bm25_rank) if hit.bm25_rank else 0.0)
        assert hit.score == pytest.approx(expected)


def test_within_one_product_words_weigh_less_than_among_all(encoder: Any) -> None:
    entries = [*(entry(number, text) for number, text in enumerate(TEXTS)), entry(9, "crack", "other")]
    index = HybridIndex(entries, encoder)
    for categories, words in ((None, 1.25), (["part", "other"], 1.25), (["part"], 0.5)):
        for hit in index.rank("crack in the rim", categories):
            expected = 1 / (5 + (hit.dense_rank or 0)) + (words / (5 + hit.bm25_rank) if hit.bm25_rank else 0.0)
            assert hit.score == pytest.approx(expected)


def test_words_find_a_category_by_its_other_names(encoder: Any) -> None:
    entries = [entry(0, "crack", "a"), entry(1, "crack", "b")]
    hits = HybridIndex(entries, encoder, names={"b": "sprocket"}).rank("sprocket")
    assert [(hit.entry.category, hit.bm25_rank) for hit in hits] == [("b", 1), ("a", None)]


def test_an_empty_base_and_shared_ids_are_refused(encoder: Any) -> None:
    with pytest.raises(KnowledgeError, match="no entries"):
        HybridIndex([], encoder)
    with pytest.raises(KnowledgeError, match="two entries have the id 'part/defect/0'"):
        HybridIndex([entry(0, "a"), entry(0, "b")], encoder)


def test_the_cache_gives_the_same_vectors_and_encodes_only_what_is_new(make_encoder: Any, tmp_path: Path) -> None:
    first, second = make_encoder(), make_encoder()
    plain = make_encoder().encode(TEXTS)
    assert np.array_equal(encode_cached(TEXTS, first, tmp_path), plain)
    again = encode_cached([*TEXTS[::-1], "new text"], second, tmp_path)
    assert np.array_equal(again[:4], plain[::-1])
    assert second.encoded == ["new text"]
    assert [path.name for path in tmp_path.iterdir()] == ["hashing.safetensors"]


def test_another_encoder_does_not_read_the_cache(make_encoder: Any, tmp_path: Path) -> None:
    encode_cached(TEXTS, make_encoder("a b"), tmp_path)
    other = make_encoder("a-b")  # the same file name, another encoder
    encode_cached(TEXTS, other, tmp_path)
    assert other.encoded == TEXTS


@pytest.mark.parametrize("damage", ["truncated", "text", "other width"])
def test_a_damaged_cache_is_rebuilt(
    make_encoder: Any, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    encode_cached(TEXTS, make_encoder(width=16 if damage == "other width" else 256), tmp_path)
    path = tmp_path / "hashing.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "text":
        path.write_bytes(b"not a tensor file")
    with caplog.at_level(logging.WARNING):
        vectors = encode_cached([*TEXTS, "new"], make_encoder(), tmp_path)
    assert np.array_equal(vectors, make_encoder().encode([*TEXTS, "new"]))
    assert "rebuilt" in caplog.text
    after = make_encoder()
    encode_cached(TEXTS, after, tmp_path)
    assert after.encoded == []


def test_a_cache_that_cannot_be_written_changes_no_vector(
    make_encoder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        vectors = encode_cached(TEXTS, make_encoder(), blocked)
    assert np.array_equal(vectors, make_encoder().encode(TEXTS))
    assert "cannot be written" in caplog.text
