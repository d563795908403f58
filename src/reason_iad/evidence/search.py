"""Nearest reference patches, exactly, and the fusion of what several streams find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence.calibrate import Array, Scale

if TYPE_CHECKING:
    import torch

CHUNK = 8192  # reference patches compared at a time: bounds the memory to CHUNK x P similarities


def prepare(features: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Center and scale (..., C) to unit length, so that the inner product is the cosine."""
    from torch.nn import functional as F

    return F.normalize(features - mean, dim=-1)


def search(query: torch.Tensor, references: torch.Tensor, num_neighbors: int = 1, window: int | None = None) -> Array:
    """Mean cosine distance of each patch to its nearest reference patches.

    Args:
        query: (H, W, C), unit length.
        references: (R, H, W, C), unit length.
        num_neighbors: how many nearest patches are averaged.
        window: search only this many patches around the same position; None searches everywhere.

    Returns:
        (H, W), in [0, 2].
    """
    if window is None:
        best = _search_everywhere(query, references, num_neighbors)
    else:
        best = _search_around(query, references, num_neighbors, window)
    return np.ascontiguousarray((1.0 - best).clamp(min=0).mean(dim=-1).float().cpu().numpy())


def _search_everywhere(query: torch.Tensor, references: torch.Tensor, num_neighbors: int) -> torch.Tensor:
    """Largest similarities (H, W, num_neighbors), a chunk of reference patches after the other."""
    import torch

    rows, columns, width = query.shape
    patches, memory = query.reshape(-1, width), references.reshape(-1, width)
    best = patches.new_empty((len(patches), 0))
    for start in range(0, len(memory), CHUNK):
        found = torch.cat([best, _largest(patches @ memory[start : start + CHUNK].T, num_neighbors)], dim=1)
        best = _largest(found, num_neighbors)
    return best.reshape(rows, columns, -1)


def _search_around(query: torch.Tensor, references: torch.Tensor, num_neighbors: int, window: int) -> torch.Tensor:
    """Largest similarities (H, W, num_neighbors) within `window` rows and columns of the patch."""
    import torch

    rows, columns, width = query.shape
    place = torch.arange(columns)
    far = (place[:, None] - place[None]).abs() > window  # (W, W)
    found = []
    for row in range(rows):
        band = references[:, max(0, row - window) : row + window + 1]  # (R, b, W, C)
        similarity = (query[row] @ band.reshape(-1, width).T).reshape(columns, -1, columns)
        similarity = similarity.masked_fill(far[:, None], -1.0)
        found.append(_largest(similarity.reshape(columns, -1), num_neighbors))
    return torch.stack(found)


def _largest(similarity: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` largest of each row, or all where there are fewer."""
    if count == 1:  # amax is several times faster than topk
        return similarity.amax(dim=1, keepdim=True)
    return similarity.topk(min(count, similarity.shape[1]), dim=1).values


def fuse(distances: dict[str, Array], scales: dict[str, Scale], weights: dict[str, float]) -> Array:
    """Weighted mean over the streams of their standardized distances, on the finest grid of them: (h, w)."""
    rows = max(one.shape[0] for one in distances.values())
    columns = max(one.shape[1] for one in distances.values())
    total = sum(weights[name] for name in distances)
    fused = np.zeros((rows, columns), dtype=np.float32)
    for name, one in distances.items():
        fused += weights[name] / total * enlarge(scales[name].standardize(one), (rows, columns))
    return fused


def enlarge(values: Array, hw: tuple[int, int]) -> Array:
    """Resample a map (h, w) to `hw`, linearly between patch centers."""
    if values.shape == hw:
        return values
    import torch
    from torch.nn import functional as F

    scaled = F.interpolate(torch.from_numpy(values)[None, None], size=hw, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(scaled[0, 0].numpy())
