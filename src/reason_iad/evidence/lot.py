"""A lot without references: unlabeled images of one product, scored against each other.

Most parts of a lot are good, so what a good part shows, many others show, too; a defect finds its like nowhere. Each
patch takes the mean of its distances to the nearest patches of the others, over the third of the images where they are
nearest (mutual scoring: Li et al., MuSc, ICLR 2024). Scales come from the calmer half of the lot. It tells which parts
differ from most, not which are bad: where more than a third differ in the same way, that is said.

Axes: N images, H x W patches of a stream, h x w of the fused map, C width of a feature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.evidence import calibrate, significance
from reason_iad.evidence.calibrate import Array, Scale
from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.features import EvidenceOptions, extract
from reason_iad.evidence.residuals import worst_share
from reason_iad.evidence.search import fuse, search_each
from reason_iad.evidence.suitability import why_empty
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch

SMALLEST = 20  # images that a lot needs
NEAREST = 0.3  # share of the others whose distances count
MOST = 60  # others that an image is compared with, spread over the lot: bounds the time, which is quadratic
MANY = 1 / 3  # share of a lot that may not differ from the rest in the same way
APART = 2.5  # groups whose means lie this many spreads apart are two kinds of parts


@dataclass(frozen=True, eq=False)
class Lot:
    """What a lot says about each of its images.

    Attributes:
        found: of each image, in order; `anomaly_score` as ever, only that the lot itself is what it is compared with.
        warnings: why the scores may be misleading.
    """

    found: tuple[EvidenceMap, ...]
    warnings: tuple[str, ...]


def compare_lot(
    images: Sequence[Pixels],
    vision: VisionTowers,
    options: EvidenceOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Lot:
    """Score images (H, W, 3) of one product against each other; features of all are kept while it runs.

    Args:
        images: at least `SMALLEST`.
        vision: the towers.
        options: what is compared; neighbors, rotations and foreground do not apply.
        progress: told how many images of how many are done.

    Raises:
        EvidenceError: there are too few.
    """
    if len(images) < SMALLEST:
        raise EvidenceError(
            f"the lot has {len(images)} images; expected at least {SMALLEST} of one product: give more, or compare "
            "with good parts (--reference)"
        )
    options = options or EvidenceOptions()
    features = extract(images, vision, options)
    nearest, usual = _mutual(features, options, progress)
    scales = {name: calibrate.fit_scale(maps) for name, maps in nearest.items()}
    statistics = calibrate.image_statistic(fuse(nearest, scales, options.weights), worst_share(options))
    fused = fuse(nearest, scales, options.map_weights)
    median, edge = _edge(statistics)
    scale = calibrate.fit_scale(fused[statistics <= median])
    masses = np.array([significance.largest_mass(np.clip(one - scale.low, 0, None)) for one in fused])
    calm = statistics <= edge
    found = []
    for index, raw in enumerate(fused):
        others = calm & (np.arange(len(fused)) != index)
        found.append(
            EvidenceMap(
                raw=raw,
                anomaly_map=scale.apply(raw),
                anomaly_score=calibrate.anomaly_score(float(statistics[index]), median, edge),
                p_value=None,
                num_references=len(images) - 1,
                streams=tuple(nearest),
                edge=scale.low,
                mass_limit=float(masses[others].max(initial=0.0)),
                unsuitable=why_empty(images[index]),
                compared_with="other parts of the lot",
            )
        )
    return Lot(tuple(found), _warnings(usual, scales, options))


def _mutual(
    features: dict[str, torch.Tensor], options: EvidenceOptions, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Distances of each image's patches to the nearest third of the others, and to the middle one: (N, H, W) each."""
    import torch

    count = len(next(iter(features.values())))
    nearest: dict[str, list[Array]] = {stream.name: [] for stream in options.streams}
    middle: dict[str, list[Array]] = {stream.name: [] for stream in options.streams}
    for index in range(count):
        others = [other for other in range(count) if other != index]
        if len(others) > MOST:
            others = [others[at * len(others) // MOST] for at in range(MOST)]
        kept = max(1, round(NEAREST * len(others)))
        for source in dict.fromkeys(stream.source for stream in options.streams):
            streams = [stream for stream in options.streams if stream.source == source]
            known = features[source][torch.tensor(others)]
            maps = search_each(features[source][index], known, [stream.metric for stream in streams])
            for stream in streams:
                each = np.sort(maps[stream.metric], axis=0)
                nearest[stream.name].append(each[:kept].mean(axis=0))
                middle[stream.name].append(each[len(each) // 2])
        if progress is not None:
            progress(index + 1, count)
    return tuple({name: np.stack(maps) for name, maps in some.items()} for some in (nearest, middle))  # type: ignore[return-value]


def _edge(statistics: Array) -> tuple[float, float]:
    """Median and edge of the oddness of good parts, from a lot (N,) of which up to a quarter may be defective."""
    median, upper = (float(value) for value in np.quantile(statistics, (0.5, 0.75)))
    spread = (upper - median) / math.log(2.0)  # of an exponential tail
    spread = max(spread, 0.5 * significance.PRIOR_SPREAD * abs(median), calibrate.SMALLEST)
    return median, median + math.log(0.5 / significance.EDGE_SHARE) * spread


def _warnings(middle: dict[str, Array], scales: dict[str, Scale], options: EvidenceOptions) -> tuple[str, ...]:
    """Whether more than a third of the lot differ from the others in the same way.

    They are each other's like, so that their nearest patches look good; those of the middle image of the lot do not.
    """
    statistics = np.sort(calibrate.image_statistic(fuse(middle, scales, options.weights), worst_share(options)))
    count = len(statistics)
    best = max(range(1, count), key=lambda at: _between(statistics, at))
    low, high = statistics[:best], statistics[best:]
    within = math.sqrt((low.var() * len(low) + high.var() * len(high)) / count) + calibrate.SMALLEST
    if len(high) / count <= MANY or (high.mean() - low.mean()) < APART * within:
        return ()
    return (
        f"{len(high)} of the {count} images differ from the others in the same way: they may be another kind of part, "
        "or a defect that many share, which mutual scoring cannot tell; compare with known good parts.",
    )


def _between(ordered: Array, at: int) -> float:
    """Variance between two groups of ordered values, the first `at` and the others."""
    low, high = ordered[:at], ordered[at:]
    return float(len(low) * len(high) * (high.mean() - low.mean()) ** 2)
