"""Nearest patches in banks too large for the exact search: FAISS's inverted file (Douze et al., arXiv 2401.08281).

The patches of a bank are clustered into lists; a search looks into the lists nearest to each patch of the image. What
it finds can only be farther than the truth, seldom by much (docs/evidence.md). Needs
`pip install 'reason-iad[faiss]'`; without it large banks are searched exactly, which takes longer.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.evidence.calibrate import Array

if TYPE_CHECKING:
    import torch

LARGE = (
    50_000  # patches from which the inverted file is faster by more than its training costs: 64 references at 448 px
)
VISITED = 1 / 8  # share of the lists that a search looks into


def worth_indexing(references: torch.Tensor) -> bool:
    """Whether reference patches (R, H, W, C) are many, and FAISS is there."""
    return math.prod(references.shape[:3]) >= LARGE and importlib.util.find_spec("faiss") is not None


class PatchIndex:
    """Reference patches of one source, ready to be searched by each metric that is asked for."""

    def __init__(self, references: torch.Tensor, metrics: Sequence[str]) -> None:
        """Cluster `references` (R, H, W, C) once for each of the `metrics`, "euclidean" or "cosine"."""
        patches = references.reshape(-1, references.shape[-1]).float().cpu().numpy()
        self._indexes = {metric: _build(patches, metric) for metric in dict.fromkeys(metrics)}

    def search(self, query: torch.Tensor, num_neighbors: int = 1) -> dict[str, Array]:
        """Mean distance of each patch of `query` (H, W, C) to its nearest ones, by metric (H, W), as `search` gives."""
        rows, columns, width = query.shape
        patches = query.reshape(-1, width).float().cpu().numpy()
        found: dict[str, Array] = {}
        for metric, index in self._indexes.items():
            squared, _ = index.search(_prepared(patches, metric), num_neighbors)
            squared = np.maximum(squared, 0)
            # of unit vectors |a - b|^2 = 2 (1 - cos)
            distances = np.sqrt(squared) if metric == "euclidean" else squared / 2
            found[metric] = np.ascontiguousarray(distances.mean(1).reshape(rows, columns), np.float32)
        return found


def _build(patches: Array, metric: str) -> Any:
    import faiss
    import torch

    faiss.omp_set_num_threads(torch.get_num_threads())
    prepared = _prepared(patches, metric)
    lists = round(math.sqrt(len(prepared)))
    flat = faiss.IndexFlatL2(prepared.shape[1])
    index = faiss.IndexIVFFlat(flat, prepared.shape[1], lists)
    index.train(prepared)
    index.add(prepared)
    index.nprobe = max(1, round(lists * VISITED))
    return index


def _prepared(patches: Array, metric: str) -> Array:
    if metric == "euclidean":
        return np.ascontiguousarray(patches)
    scaled: Array = patches / np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-12)
    return scaled
