"""References that lie turned: whether they do, and their views turned by quarters.

Axes: R references, r the first few of them, H x W patches, C width of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.evidence.features import EvidenceOptions, extract_turned
from reason_iad.evidence.search import search
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch

UPRIGHT = 0.9  # share of pairs that must lie upright beside each other, or references are turned (docs/evidence.md)
PROBED = 4  # references whose pairs decide that
MAX_ROTATED = 8  # turned views help where references are few; more would cost time for next to nothing


def rotated_views(
    references: Sequence[Pixels], raw: dict[str, torch.Tensor], vision: VisionTowers, options: EvidenceOptions
) -> dict[str, torch.Tensor] | None:
    """Features of the references turned by quarters, (R, 3, H, W, C) by source, where the options or they ask for it.

    Args:
        references: images (H, W, 3).
        raw: their features as they are, (R, H, W, C) by source.
        vision: the towers.
        options: how they are compared.
    """
    import torch

    if not may_rotate(len(references), options):
        return None

    def turn(some: Sequence[Pixels], sources: Sequence[str]) -> dict[str, torch.Tensor]:
        each = [extract_turned(pixels, vision, options, sources) for pixels in some]
        return {source: torch.stack([one[source] for one in each]) for source in sources}

    cheap = first_sources(options)
    one = turn(references[:1], cheap)
    if options.rotations == "auto" and all_upright_beside_first(raw, one, options):
        return None
    one |= turn(references[:1], [source for source in options.sources if source not in cheap])
    if len(references) == 1:
        return one
    more = turn(references[1:PROBED], options.sources)
    first = {source: torch.cat([views, more[source]]) for source, views in one.items()}
    if not lie_rotated(raw, first, options):
        return None
    if len(references) <= PROBED:
        return first
    others = turn(references[PROBED:], options.sources)
    return {source: torch.cat([views, others[source]]) for source, views in first.items()}


def first_sources(options: EvidenceOptions) -> tuple[str, ...]:
    """Features that the first look at turned views needs: those of the convolutional tower, else of the first one.

    That tower costs a quarter of the transformer, and decides as both do but for a plate of regular dots
    (docs/evidence.md).
    """
    towers = [stream.tower for stream in options.streams]
    tower = "efficientnet" if "efficientnet" in towers else towers[0]
    return tuple(dict.fromkeys(stream.source for stream in options.streams if stream.tower == tower))


def may_rotate(num_references: int, options: EvidenceOptions) -> bool:
    """Whether turned views come into question: a single reference has no other to show that it lies turned."""
    return options.rotations == "on" or (options.rotations == "auto" and 2 <= num_references <= MAX_ROTATED)


def all_upright_beside_first(
    raw: dict[str, torch.Tensor], turned: dict[str, torch.Tensor], options: EvidenceOptions
) -> bool:
    """Whether the next few references are nearest to the first one as it is, by every stream that was turned.

    Args:
        raw: features of the references, (R, H, W, C) by source.
        turned: of the first one alone, (1, 3, H, W, C), of some of the sources.
        options: how they are compared.
    """
    return all(
        _upright_is_nearest(other, [raw[stream.source][0], *turned[stream.source][0]], stream.metric)
        for stream in options.streams
        if stream.source in turned
        for other in raw[stream.source][1:PROBED]
    )


def lie_rotated(raw: dict[str, torch.Tensor], turned: dict[str, torch.Tensor], options: EvidenceOptions) -> bool:
    """Whether references have no orientation in common: another is often nearest when it is turned.

    Args:
        raw: features of the references, (R, H, W, C) by source.
        turned: of the first few of them, (r, 3, H, W, C).
        options: how they are compared.
    """
    import torch

    if options.rotations != "auto":
        return options.rotations == "on"
    upright = []
    for stream in {stream.source: stream for stream in reversed(options.streams)}.values():
        source = stream.source
        views = torch.cat([raw[source][: len(turned[source]), None], turned[source]], dim=1)[:PROBED]
        for mine in range(len(views)):
            upright += [
                _upright_is_nearest(views[mine, 0], list(views[other]), stream.metric)
                for other in range(len(views))
                if mine != other
            ]
    return float(np.mean(upright)) < UPRIGHT


def with_views(upright: torch.Tensor, turned: torch.Tensor | None) -> torch.Tensor:
    """Join (R, H, W, C) and (R, 3, H, W, C) to (R * 4, H, W, C)."""
    import torch

    return upright if turned is None else torch.cat([upright[:, None], turned], dim=1).flatten(0, 1)


def _upright_is_nearest(query: torch.Tensor, views: Sequence[torch.Tensor], metric: str) -> bool:
    """Whether an image (H, W, C) is nearest to the first of the views (H, W, C) of another."""
    distances = [float(search(query, view[None], (metric,))[metric].mean()) for view in views]
    return distances[0] <= min(distances)
