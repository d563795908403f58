"""A sentence encoder without weights: words hashed into a vector."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest


class HashingEncoder:
    """Bag of words over 256 hashed places; texts that share words are similar. Counts what it encodes."""

    def __init__(self, name: str = "hashing", width: int = 256) -> None:
        self.name = name
        self.width = width
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.encoded += texts
        vectors = np.full((len(texts), self.width), 1e-6, np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % self.width] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def own_base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base of the test's own in place of the one in the program's home."""
    folder: Path = tmp_path_factory.mktemp("home") / "knowledge"
    monkeypatch.setattr("reason_iad.knowledge.base.default_base", lambda: folder)
    return folder


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture(scope="session")
def make_encoder() -> type[HashingEncoder]:
    return HashingEncoder
