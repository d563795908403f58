"""Localization measures of anomaly maps against masks: pixel AUROC and AUPRO, exact, in one pass over the pixels.

Maps are half precision, which has 65,536 values: every measure follows from how many pixels have each value, so that
any number of images fits in memory. Axes: h and w of one image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError

Mask = npt.NDArray[np.bool_]
HalfMap = npt.NDArray[np.float16]
Counts = npt.NDArray[np.int64]
LEVELS = 1 << 16
FPR_LIMIT = 0.3  # of Bergmann et al. (2019), who defined the measure


class PixelScores:
    """Collects images; then gives both measures."""

    def __init__(self) -> None:
        self._normal: Counts = np.zeros(LEVELS, dtype=np.int64)
        self._defective: Counts = np.zeros(LEVELS, dtype=np.int64)
        self._overlap = np.zeros(LEVELS, dtype=np.float64)  # of each level, summed over regions as a share of each
        self._regions = 0

    def add(self, anomaly_map: HalfMap, mask: Mask) -> None:
        """Add one image: its map (h, w) and which pixels are defective (h, w).

        Raises:
            InputError: they differ in shape, or the map has values that are not finite.
        """
        if anomaly_map.shape != mask.shape or mask.ndim != 2:
            raise InputError(f"the map is {anomaly_map.shape}, the mask {mask.shape}; expected one value a pixel")
        if not np.isfinite(anomaly_map).all():
            raise InputError("the anomaly map has values that are not finite; expected numbers")
        levels = _levels(anomaly_map)
        self._normal += np.bincount(levels[~mask], minlength=LEVELS)
        self._defective += np.bincount(levels[mask], minlength=LEVELS)
        if mask.any():
            from scipy import ndimage

            labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
            sizes = np.bincount(labels.ravel())[1:]
            inside = labels[mask] - 1
            self._overlap += np.bincount(levels[mask], weights=1 / sizes[inside], minlength=LEVELS)
            self._regions += int(count)

    def auroc(self) -> float:
        """Probability that a defective pixel scores above a normal one, ties counting half: in [0, 1].

        Raises:
            InputError: one of the two classes is missing.
        """
        normal, defective = self._normal.astype(float), self._defective.astype(float)
        total = normal.sum() * defective.sum()
        if total == 0:
            raise InputError("pixel AUROC needs normal and defective pixels; found masks of one kind only")
        below = np.cumsum(normal) - normal
        return float((defective * (below + normal / 2)).sum() / total)

    def aupro(self, limit: float = FPR_LIMIT) -> float:
        """Area under per-region overlap against false positive rate up to `limit`, divided by it: in [0, 1].

        Bergmann et al., MVTec AD (2019): the overlap is the mean over regions of the share found, so that a small
        region counts as much as a large one.

        Raises:
            InputError: there is no region, or no normal pixel.
        """
        if self._regions == 0 or self._normal.sum() == 0:
            raise InputError("AUPRO needs normal pixels and at least one region; found masks without them")
        used = np.flatnonzero(self._normal + self._defective)[::-1]  # thresholds from the highest down
        fpr = np.concatenate([[0.0], np.cumsum(self._normal[used]) / self._normal.sum()])
        pro = np.concatenate([[0.0], np.cumsum(self._overlap[used]) / self._regions])
        end = np.interp(limit, fpr, pro)
        inside = fpr < limit
        x, y = np.append(fpr[inside], limit), np.append(pro[inside], end)
        return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / limit)


def pixel_scores(pairs: Iterable[tuple[npt.NDArray[np.floating], Mask]]) -> PixelScores:
    """Collect maps (h, w) with their masks (h, w); maps of more than half precision are rounded to it."""
    scores = PixelScores()
    for anomaly_map, mask in pairs:
        scores.add(anomaly_map.astype(np.float16), mask)
    return scores


def pixel_auroc(masks: Sequence[Mask], maps: Sequence[npt.NDArray[np.floating]]) -> float:
    """Pixel AUROC of several images; see `PixelScores.auroc`."""
    return pixel_scores(zip(maps, masks, strict=True)).auroc()


def aupro(masks: Sequence[Mask], maps: Sequence[npt.NDArray[np.floating]], limit: float = FPR_LIMIT) -> float:
    """AUPRO of several images; see `PixelScores.aupro`."""
    return pixel_scores(zip(maps, masks, strict=True)).aupro(limit)


def _levels(values: HalfMap) -> npt.NDArray[np.uint16]:
    """Half-precision values as whole numbers in the same order; both zeros are one."""
    bits = np.ascontiguousarray(values + np.float16(0)).view(np.uint16)
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)
