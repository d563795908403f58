"""Where a defect goes on an object, and the shapes and colors it is drawn with."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from reason_iad.training.synth_canvas import Canvas, Color, Field, bounding_box, noise

Point = tuple[float, float]


def spot(c: Canvas, rng: np.random.Generator, depth: float = 0.05) -> Point:
    """A random point at least `depth` inside the object, or the deepest there is."""
    box = bounding_box(c.inside)
    if box is None:
        return 0.0, 0.0
    shrunk = c.inside[::4, ::4]
    distance = ndimage.distance_transform_edt(np.pad(shrunk, 1))[1:-1, 1:-1]
    limit = min(depth * c.size / 8, float(distance.max()))
    rows, columns = np.nonzero(distance >= limit)
    k = int(rng.integers(rows.size))
    return float(columns[k] * 8 / c.size - 1 + 4 / c.size), float(rows[k] * 8 / c.size - 1 + 4 / c.size)


def edge_spot(c: Canvas, rng: np.random.Generator) -> tuple[Point, Point]:
    """A random point on the object's edge and the direction pointing inward there."""
    soft = ndimage.uniform_filter(c.inside[::2, ::2].astype(np.float32), 9)
    rows, columns = np.nonzero((soft > 0.4) & (soft < 0.6))
    keep = (rows > 6) & (rows < soft.shape[0] - 7) & (columns > 6) & (columns < soft.shape[1] - 7)
    rows, columns = rows[keep], columns[keep]
    if not rows.size:
        return spot(c, rng), (0.0, 1.0)
    k = int(rng.integers(rows.size))
    row, column = int(rows[k]), int(columns[k])
    patch = soft[row - 5 : row + 6, column - 5 : column + 6]
    gx = float(patch[:, 6:].sum() - patch[:, :5].sum())
    gy = float(patch[6:].sum() - patch[:5].sum())
    norm = math.hypot(gx, gy) or 1.0
    return (column * 4 / c.size - 1, row * 4 / c.size - 1), (gx / norm, gy / norm)


def wander(
    rng: np.random.Generator, start: Point, length: float, turn: float, steps: int, heading: float
) -> list[Point]:
    """A random path: `turn` is the spread of each step's change of heading, in radians."""
    points, (x, y) = [start], start
    for _ in range(steps):
        heading += rng.normal(0, turn)
        x, y = x + math.cos(heading) * length / steps, y + math.sin(heading) * length / steps
        points.append((x, y))
    return points


def lay(c: Canvas, color: Color | Field, alpha: Field, everywhere: bool = False) -> None:
    """Cover with `color` on the object only, unless `everywhere`."""
    c.over(color, alpha if everywhere else alpha * c.inside)


def shape(
    c: Canvas, rng: np.random.Generator, at: Point, radius: float, rough: float = 0.5, stretch: float = 2.0
) -> Field:
    """Signed distance to an irregular patch, stretched up to `stretch` times in a random direction."""
    turn, factor = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, stretch))
    dx, dy = c.x - at[0], c.y - at[1]
    u, v = (dx * math.cos(turn) + dy * math.sin(turn)) / factor, (dy * math.cos(turn) - dx * math.sin(turn)) * factor
    distance: Field = np.hypot(u, v) - radius * (1 + rough * 0.55 * noise(rng, c.size, min(1.6 / radius, 60), 2))
    return distance


def mean_color(c: Canvas, at: Point) -> Field:
    """Mean color of the object near a point."""
    row, column = int((at[1] + 1) * c.size / 2), int((at[0] + 1) * c.size / 2)
    part = c.pixels[max(row - 9, 0) : row + 10, max(column - 9, 0) : column + 10].reshape(-1, 3)
    value: Field = part.mean(0) if part.size else c.pixels.reshape(-1, 3).mean(0)
    return value


def ink(c: Canvas, rng: np.random.Generator, at: Point, strength: float, bright: float = 0.5) -> Field:
    """A color darker, or with chance `bright` brighter, than the surroundings."""
    around = mean_color(c, at)
    step = (30 + 90 * strength) * (1 if rng.random() < bright else -1)
    if not 25 < float(around.mean()) + step < 235:
        step = -step
    return np.clip(around + step, 4, 250).astype(np.float32)
