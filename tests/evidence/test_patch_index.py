"""The search in large banks beside the exact one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from reason_iad.evidence import patch_index
from reason_iad.evidence.features import EvidenceOptions
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.patch_index import PatchIndex, worth_indexing
from reason_iad.evidence.search import search

pytest.importorskip("faiss", reason="pip install 'reason-iad[faiss]'")


def clusters(seed: int, count: int) -> torch.Tensor:
    """Patches (count, 14, 14, 24) around forty centers, as those of real images are."""
    centers = torch.randn(40, 24, generator=torch.Generator().manual_seed(7)) * 3
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(40, (count, 14, 14), generator=generator)
    return centers[which] + torch.randn(count, 14, 14, 24, generator=generator)


@pytest.mark.parametrize("neighbors", [1, 3])
def test_it_finds_nearly_always_what_the_exact_search_finds_and_never_something_nearer(neighbors):
    references, query = clusters(0, 60), clusters(1, 1)[0]
    metrics = ("euclidean", "cosine")
    found = PatchIndex(references, metrics).search(query, neighbors)
    exact = search(query, references, metrics, neighbors)
    for metric in metrics:
        assert found[metric].shape == exact[metric].shape
        assert (found[metric] >= exact[metric] - 1e-4).all()
        assert np.isclose(found[metric], exact[metric], rtol=1e-3, atol=1e-4).mean() > 0.95


def test_only_many_patches_are_indexed():
    assert not worth_indexing(torch.empty(32, 28, 28, 1))
    assert worth_indexing(torch.empty(64, 28, 28, 1))


def test_a_large_bank_judges_as_the_exact_one_does(monkeypatch):
    options = EvidenceOptions()
    raw = {source: clusters(index, 24) for index, source in enumerate(options.sources)}
    exact = MemoryBank.from_features(raw, options)
    image = {source: clusters(50 + index, 1)[0] for index, source in enumerate(options.sources)}
    image = {source: one + (torch.rand(14, 14, 1) < 0.02) * 9 for source, one in image.items()}
    other = exact.measure(image)
    assert not exact._indexes
    monkeypatch.setattr(patch_index, "LARGE", 1000)
    indexed = dataclasses.replace(exact)
    one = indexed.measure(image)
    assert set(indexed._indexes) == set(options.sources)
    assert one.statistic == pytest.approx(other.statistic, rel=0.05)
    assert np.corrcoef(one.raw.ravel(), other.raw.ravel())[0, 1] > 0.98


def test_without_faiss_large_banks_are_searched_exactly(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not worth_indexing(torch.empty(64, 28, 28, 1))
