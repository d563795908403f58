"""Other sentence encoders by name: a miniature that sentence-transformers itself stores and loads."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reason_iad.errors import WeightsError
from reason_iad.knowledge.encoders import VARIABLE, TransformersEncoder, configured_encoder, encode_query, encoder_name
from reason_iad.knowledge.retrieve import KnowledgeBase

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "crack", "hole", "rim", "query", ":", "dark"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two layers in sentence-transformers' layout, with a prompt for questions."""
    library = pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertModel, BertTokenizer

    folder: Path = tmp_path_factory.mktemp("encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    model = library.SentenceTransformer(str(folder / "bert"), prompts={"query": "query: "}, device="cpu")
    model.save(str(folder / "whole"))
    return folder / "whole"


def test_an_encoder_by_name_gives_the_vectors_of_its_own_library(stored: Path) -> None:
    import sentence_transformers

    own = sentence_transformers.SentenceTransformer(str(stored), device="cpu")
    encoder = TransformersEncoder(str(stored))
    vectors = encoder.encode(["crack rim", "dark hole"])
    assert np.allclose(vectors, own.encode(["crack rim", "dark hole"], normalize_embeddings=True), atol=1e-6)
    asked = own.encode(["query: dark hole"], normalize_embeddings=True)[0]
    assert np.allclose(encode_query(encoder, "dark hole"), asked, atol=1e-6)
    assert not np.allclose(asked, vectors[1], atol=1e-3)


def test_an_index_of_another_encoder_is_told_and_made_anew(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    KnowledgeBase.load(base=tmp_path, encoder=encoder).search("crack")
    monkeypatch.setenv(VARIABLE, str(stored))
    assert encoder_name() == str(stored)
    told: list[tuple[int, int]] = []
    base = KnowledgeBase.load(base=tmp_path, progress=lambda done, total: told.append((done, total)))
    with caplog.at_level(logging.WARNING):
        hits = base.search("crack")
    assert f"the encoder changed from hashing to {stored}" in caplog.text
    assert told[-1][0] == told[-1][1] > 1000
    assert np.asarray(configured_encoder().encode(["crack"])).shape == (1, 16)
    assert len(hits) == 10


def test_an_encoder_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        TransformersEncoder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(WeightsError, match=r"pip install reason-iad\[encoders\]"):
        TransformersEncoder("some/encoder")
