"""How much moves between two pictures, and when a part has come to rest.

Pictures are compared as grids of block means, about 48 blocks high; a change that all blocks share is one of the light
and not counted. What counts are the three in a thousand blocks that change most, so that a small part is seen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reason_iad.images import Pixels

BLOCKS = 48  # along the shorter side
SAMPLES = 4  # pixels that a block's mean is taken over, along each side
MOST_MOVING = 0.997  # quantile of the blocks' changes
Grid = npt.NDArray[np.float32]


def grid_of(pixels: Pixels) -> Grid:
    """Block means of gray levels (h, w) of a picture (H, W, 3)."""
    step = max(1, min(pixels.shape[:2]) // (BLOCKS * SAMPLES))
    gray = pixels[::step, ::step].astype(np.float32).mean(axis=2)
    height, width = (side // SAMPLES * SAMPLES for side in gray.shape)
    blocks = gray[:height, :width].reshape(height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def change(first: Grid, second: Grid) -> float:
    """Gray levels by which the blocks (h, w) that change most do; infinite for grids of different sizes."""
    if first.shape != second.shape:
        return float("inf")
    difference = second - first
    return float(np.quantile(np.abs(difference - np.median(difference)), MOST_MOVING))


@dataclass
class RestDetector:
    """Says when something that moved has come to rest.

    Attributes:
        settle: seconds for which nothing may move.
        moved: gray levels from which something moves.
        still: gray levels up to which nothing does.
    """

    settle: float
    moved: float
    still: float
    last_change: float = 0.0
    _moving: bool = False
    _last: Grid | None = None
    _anchor: tuple[float, Grid] | None = None  # when, and how, rest began
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=250))

    def see(self, grid: Grid, seconds: float) -> float | None:
        """Look at one more picture; the moment on its clock when rest began, once for each rest."""
        before, self._last = self._last, grid
        if before is None:
            return None
        self.last_change = change(before, grid)
        self._recent.append(self.last_change)
        if self.last_change > self.moved:
            self._moving = True
        if self.last_change > self.still:
            self._anchor = None
            return None
        if self._anchor is None or change(self._anchor[1], grid) > self.moved:  # what creeps is not at rest
            if self._anchor is not None:
                self._moving = True
            self._anchor = (seconds, grid)
        if self._moving and seconds - self._anchor[0] >= self.settle:
            self._moving = False
            return self._anchor[0]
        return None

    @property
    def usual_change(self) -> float:
        """Median change of the last pictures, in gray levels: what the camera's noise looks like."""
        return float(np.median(self._recent)) if self._recent else 0.0
