"""Nearest reference patches, exactly, and the fusion of what several streams find.

Axes: R references, H x W patches, N = R * H * W patches of all references, C width of a feature, K neighbors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence.calibrate import Array, Scale

if TYPE_CHECKING:
    import torch

CHUNK = 784  # reference patches compared at a time, an image at stride 16: more would leave the cache


def unit(features: torch.Tensor) -> torch.Tensor:
    """Scale features (..., C) to unit length, so that the inner product is the cosine."""
    from torch.nn import functional as F

    scaled: torch.Tensor = F.normalize(features, dim=-1)
    return scaled


def search(
    query: torch.Tensor,
    references: torch.Tensor,
    metrics: Sequence[str] = ("cosine",),
    num_neighbors: int = 1,
    window: int | None = None,
) -> dict[str, Array]:
    """Mean distance of each patch to its nearest reference patches; several metrics share one pass.

    Args:
        query: (H, W, C).
        references: (R, H', W', C).
        metrics: "euclidean", "cosine" or both.
        num_neighbors: how many nearest patches are averaged.
        window: search only this many patches around the same position, H' = H and W' = W; None searches everywhere.

    Returns:
        By metric (H, W): Euclidean distances, or cosine distances in [0, 2].
    """
    found = search_left_out(query, references, 1, metrics, num_neighbors, window)
    return {metric: maps[0] for metric, maps in found.items()}


def search_left_out(
    query: torch.Tensor,
    references: torch.Tensor,
    groups: int,
    metrics: Sequence[str] = ("cosine",),
    num_neighbors: int = 1,
    window: int | None = None,
) -> dict[str, Array]:
    """`search`, and the same with each group of references left out in turn, at the cost of one pass.

    Args:
        query: (H, W, C).
        references: (R, H', W', C); each `groups`-th part of them in order is one group.
        groups: G, a divisor of R.
        metrics: as in `search`.
        num_neighbors: as in `search`.
        window: as in `search`.

    Returns:
        By metric (1 + G, H, W): beside all references first, then without each group; (1, H, W) where G is 1.
    """
    return _search(query, references, groups, metrics, num_neighbors, window, _without_each)


def search_each(
    query: torch.Tensor,
    references: torch.Tensor,
    metrics: Sequence[str],
    num_neighbors: int = 1,
    window: int | None = None,
) -> dict[str, Array]:
    """`search` beside each reference (R, H', W', C) by itself: by metric (R, H, W)."""
    return _search(query, references, len(references), metrics, num_neighbors, window, _of_each)


def _of_each(nearest: list[torch.Tensor], _count: int) -> torch.Tensor:
    """The ranks (P, K) of each group by themselves."""
    import torch

    return torch.stack(nearest)


def _search(
    query: torch.Tensor,
    references: torch.Tensor,
    groups: int,
    metrics: Sequence[str],
    num_neighbors: int,
    window: int | None,
    combine: Callable[[list[torch.Tensor], int], torch.Tensor],
) -> dict[str, Array]:
    """The distances that follow from the ranks (P, K) of each group, by `combine` (n, P, K): (n, H, W) by metric.

    With q and r patches, the nearest by Euclidean distance has the largest q.r - |r|^2 / 2, the nearest by cosine the
    largest q.r / |r|.
    """
    import torch

    rows, columns, width = query.shape
    blocks: list[tuple[slice, torch.Tensor, torch.Tensor | None]]
    if window is None:
        blocks = [(slice(None), references.reshape(-1, width), None)]
    else:
        blocks = [_around(row, references, window) for row in range(rows)]
    found: dict[str, list[torch.Tensor]] = {metric: [] for metric in metrics}
    for where, memory, far in blocks:
        mine = query[where].reshape(-1, width)
        nearest: dict[str, list[torch.Tensor]] = {metric: [] for metric in metrics}  # (P, K) for each group
        size = len(memory) // groups
        norms = memory.norm(dim=1)  # (N,)
        shift = -norms.square() / 2 if "euclidean" in metrics else torch.zeros_like(norms)
        inverse = 1 / norms.clamp(min=1e-12)
        back = -shift * inverse
        # One room for all chunks: fresh memory would cost as much as the sums.
        room = mine.new_empty(2, len(mine) * min(CHUNK, size))
        for first in range(0, len(memory), size):
            best = {metric: mine.new_empty((len(mine), 0)) for metric in metrics}
            for start in range(first, first + size, CHUNK):
                end = min(start + CHUNK, first + size)
                similarity, ranks = (one[: len(mine) * (end - start)].view(len(mine), -1) for one in room)
                torch.addmm(shift[start:end], mine, memory[start:end].T, out=similarity)
                blocked = None if far is None else far[:, start:end]
                for metric in metrics:
                    if metric == "cosine":
                        torch.addcmul(back[start:end], similarity, inverse[start:end], out=ranks)
                    rank = similarity if metric == "euclidean" else ranks
                    best[metric] = _merge(best[metric], rank, blocked, num_neighbors)
            for metric in metrics:
                nearest[metric].append(best[metric])
        for metric in metrics:
            found[metric].append(_distance(mine, combine(nearest[metric], num_neighbors), metric))
    return {
        metric: np.ascontiguousarray(torch.cat(parts, dim=1).reshape(-1, rows, columns).float().cpu().numpy())
        for metric, parts in found.items()
    }


def _without_each(nearest: list[torch.Tensor], count: int) -> torch.Tensor:
    """The `count` largest ranks (P, K) of all groups, then of all but each one; only the first of a single group."""
    import torch
    from torch.nn import functional as F

    if len(nearest) == 1:
        return nearest[0][None]
    if count > 1:
        chosen = [nearest, *([one for one in nearest if one is not out] for out in nearest)]
        found = [
            one.topk(min(count, one.shape[1]), dim=1).values for one in (torch.cat(some, dim=1) for some in chosen)
        ]
        return torch.stack([F.pad(one, (0, count - one.shape[1]), value=float("-inf")) for one in found])
    together = torch.cat(nearest, dim=1)  # (P, G)
    top, index = together.topk(2, dim=1)
    groups = torch.arange(len(nearest), device=top.device)[:, None]
    rest = torch.where(index[:, 0] == groups, top[:, 1], top[:, 0])  # (G, P)
    return torch.cat([top[None, :, 0], rest])[..., None]


def _around(row: int, references: torch.Tensor, window: int) -> tuple[slice, torch.Tensor, torch.Tensor]:
    """One row of the query, the reference patches within `window` rows of it (n, C), and which are too far (W, n)."""
    import torch

    columns, width = references.shape[2:]
    band = references[:, max(0, row - window) : row + window + 1]  # (R, b, W, C)
    place = torch.arange(columns, device=references.device)
    far = (place[:, None] - place[None]).abs() > window  # (W, W)
    return slice(row, row + 1), band.reshape(-1, width), far.repeat(1, band.shape[0] * band.shape[1])


def _merge(best: torch.Tensor, new: torch.Tensor, far: torch.Tensor | None, count: int) -> torch.Tensor:
    """The `count` largest of each row so far, or all where there are fewer."""
    import torch

    if far is not None:
        new = new.masked_fill(far, float("-inf"))
    if count == 1:  # amax is several times faster than topk
        top: torch.Tensor = new.amax(dim=1, keepdim=True)
        if best.shape[1]:
            top = torch.maximum(best, top)
        return top
    together = torch.cat([best, new], dim=1)
    largest: torch.Tensor = together.topk(min(count, together.shape[1]), dim=1).values
    return largest


def _distance(patches: torch.Tensor, best: torch.Tensor, metric: str) -> torch.Tensor:
    """Mean distances (n, P) from the ranks (n, P, K) of patches (P, C); -inf, where there is none, does not count."""
    exists = best.isfinite()
    best = best.masked_fill(~exists, 0.0)
    if metric == "euclidean":
        distances = (patches.square().sum(dim=1, keepdim=True) - 2 * best).clamp(min=0).sqrt()
    else:
        distances = (1 - best / patches.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(min=0)
    mean: torch.Tensor = (distances * exists).sum(dim=-1) / exists.sum(dim=-1)
    return mean


def fuse(distances: dict[str, Array], scales: dict[str, Scale], weights: dict[str, float]) -> Array:
    """Weighted mean over the streams of their standardized distances (..., H, W), on their finest grid: (..., h, w)."""
    used = {name: one for name, one in distances.items() if weights[name]}
    rows = max(one.shape[-2] for one in used.values())
    columns = max(one.shape[-1] for one in used.values())
    total = sum(weights[name] for name in used)
    fused = np.zeros((*next(iter(used.values())).shape[:-2], rows, columns), dtype=np.float32)
    for name, one in used.items():
        fused += weights[name] / total * enlarge(scales[name].standardize(one), (rows, columns))
    return fused


def enlarge(values: Array, hw: tuple[int, int]) -> Array:
    """Resample maps (..., h, w) to `hw`, linearly between patch centers."""
    if values.shape[-2:] == hw:
        return values
    import torch
    from torch.nn import functional as F

    flat = torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, 1, *values.shape[-2:])
    scaled = F.interpolate(flat, size=hw, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(scaled.numpy().reshape(*values.shape[:-2], *hw))
