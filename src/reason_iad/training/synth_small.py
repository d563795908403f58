"""Defects as much smaller than usual as one likes: drawn on a part of the image, as if that were the whole."""

from __future__ import annotations

import numpy as np

from reason_iad.training.synth_canvas import Canvas, grid
from reason_iad.training.synth_defects import PROCESSES
from reason_iad.training.synth_marks import edge_spot, spot

AT_EDGES = ("chip", "burr")  # what only makes sense where the object ends
SMALLEST = 48  # pixels of a part that can be drawn on


def draw_small(canvas: Canvas, kind: str, rng: np.random.Generator, strength: float, reach: float) -> None:
    """Draw a defect of a kind on a square part of the canvas that has `reach` of its side, around a spot of the object.

    What is drawn fades towards the border of the part, so that nothing is cut off straight.
    """
    at = edge_spot(canvas, rng)[0] if kind in AT_EDGES else spot(canvas, rng)
    side = max(SMALLEST, round(canvas.size * reach) // 8 * 8)
    column, row = (int(np.clip((k + 1) * canvas.size / 2 - side / 2, 0, canvas.size - side)) for k in at)
    window = np.s_[row : row + side, column : column + side]
    part = Canvas(side, rng, rng)
    part.pixels, part.light = canvas.pixels[window].copy(), canvas.light
    part.inside = canvas.inside[window] if canvas.inside[window].any() else part.inside
    part.under = None if canvas.under is None else canvas.under[window]
    PROCESSES[kind](part, rng, strength)
    x, y = grid(side)
    weight = np.clip((1 - np.hypot(x, y)) * 4, 0, 1)[..., None]
    before = canvas.pixels[window]
    before += (part.pixels - before) * weight
