"""The drawing ground of the synthetic images: coordinates, noise fields, distance shapes, shading.

Coordinates are x to the right and y downward in [-1, 1] over the square image; colors are RGB in 0..255, float32.
A painter draws its *style* (colors, counts, texture) from `Canvas.style`, which is seeded per line, and its *pose*
from `Canvas.pose`, seeded per image. Painting the same image with and without a fault must draw the same numbers
from both: the difference of the two is the fault's mask.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Field = npt.NDArray[Any]  # (H, W) float32
Mask = npt.NDArray[np.bool_]  # (H, W)
Color = Sequence[float]
EVERYWHERE = (slice(None), slice(None))

PALETTE: dict[str, tuple[float, float, float]] = {
    "white": (232, 231, 227), "gray": (140, 141, 143), "black": (38, 38, 40), "red": (188, 42, 40),
    "blue": (44, 84, 168), "green": (66, 150, 66), "yellow": (226, 192, 52), "orange": (226, 124, 38),
    "brown": (122, 78, 44), "beige": (212, 190, 150), "pink": (226, 150, 166),
}  # fmt: skip


def rgb(*values: float) -> Field:
    """A color as an array."""
    return np.array(values, np.float32)


class Canvas:
    """One image being painted, with what painters and defect processes need to know of it."""

    def __init__(
        self, size: int, style: np.random.Generator, pose: np.random.Generator, fault: str | None = None,
        fault_rng: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self.size = size
        self.style = style
        self.pose = pose
        self.fault = fault
        self.fault_rng = fault_rng or np.random.default_rng(0)
        self.x, self.y = grid(size)
        self.pixels: Field = np.zeros((size, size, 3), np.float32)
        self.under: Field | None = None  # what lies behind the object, where it has an edge in the image
        self.inside: Mask = np.ones((size, size), bool)  # where the object's own surface is
        self.facts: dict[str, str] = {}
        angle = style.uniform(0, 2 * math.pi)
        self.light = (math.cos(angle), math.sin(angle))

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> Canvas:
        """Lay a square copy of a real image (S, S, 3) on a canvas."""
        canvas = cls(pixels.shape[0], rng, rng)
        canvas.pixels = pixels.astype(np.float32)
        return canvas

    def pixel(self) -> float:
        """Side of one pixel in coordinates."""
        return 2.0 / self.size

    def color(self, names: Sequence[str], fact: str | None = "color", spread: float = 14) -> Field:
        """Draw one of the named colors for the line, slightly varied; `fact` is where its name is noted."""
        name = names[int(self.style.integers(len(names)))]
        if fact:
            self.facts[fact] = name
        value = np.asarray(PALETTE[name]) + self.style.uniform(-spread, spread, 3)
        return np.clip(value, 8, 245).astype(np.float32)

    def count(self, fact: str, low: int, high: int) -> int:
        """Draw a whole number in low..high for the line and note it under `fact`."""
        number = int(self.style.integers(low, high + 1))
        self.facts[fact] = str(number)
        return number

    def placed(self, shift: float, turn: float, scale: float = 0.05, tilt: float = 0.0) -> tuple[Field, Field]:
        """Coordinates of the object in its own frame: shifted, turned by up to `turn` radians, scaled."""
        p = self.pose
        dx, dy = p.uniform(-shift, shift), p.uniform(-shift, shift)
        angle = tilt + p.uniform(-turn, turn)
        factor = 1 / (1 + p.uniform(-scale, scale))
        cos, sin = math.cos(angle) * factor, math.sin(angle) * factor
        x, y = self.x - dx, self.y - dy
        return x * cos + y * sin, y * cos - x * sin

    def over(self, color: Color | Field, alpha: Field) -> None:
        """Lay a color, or an image (H, W, 3), over the canvas with opacity `alpha` (H, W) in 0..1."""
        box = bounding_box(alpha > 0)
        if box is None:
            return
        value = np.asarray(color, np.float32)
        if value.ndim == 3:
            value = value[box]
        self.pixels[box] += (value - self.pixels[box]) * alpha[box][..., None]

    def fill(self, color: Color | Field, tone: Field | float = 0.0) -> None:
        """Cover the canvas with a color plus a gray field."""
        base = np.asarray(color, np.float32)
        self.pixels = base + np.broadcast_to(np.asarray(tone, np.float32), (self.size, self.size))[..., None]

    def window(self, u: Field, v: Field, center: tuple[float, float], radius: float) -> tuple[slice, slice]:
        """Slices of the pixels within about `radius` of a point given in the object's frame (u, v)."""
        far = np.hypot(u[::8, ::8] - center[0], v[::8, ::8] - center[1])
        row, column = divmod(int(far.argmin()), far.shape[1])
        reach = int(radius * 1.25 * self.size / 2) + 9
        return (
            slice(max(row * 8 - reach, 0), row * 8 + reach),
            slice(max(column * 8 - reach, 0), column * 8 + reach),
        )

    def part(
        self,
        distance: Field,
        color: Color | Field,
        tone: Field | float = 0.0,
        bevel: float = 0.0,
        at: tuple[slice, slice] = EVERYWHERE,
    ) -> None:
        """Draw a part where `distance` < 0 with a lit rounded rim of width `bevel`; fields cover the pixels `at`."""
        target = self.pixels[at]
        box = bounding_box(distance < 2 / self.size, 1)
        if box is None:
            return
        near = distance[box]
        shade = np.broadcast_to(np.asarray(tone, np.float32), distance.shape)[box]
        if bevel:
            inside = np.clip(1 + near / bevel, 0, 1)  # 0 deep inside, 1 at the edge
            shade = shade + self.relief(-inside * inside, 35 * bevel)
        value = np.asarray(color, np.float32)
        value = (value[box] if value.ndim == 3 else value) + shade[..., None]
        target[box] += (value - target[box]) * self.cover(near)[..., None]

    def shadow(
        self, distance: Field, depth: float = 40, width: float = 0.08, at: tuple[slice, slice] = EVERYWHERE
    ) -> None:
        """Darken around a part, away from the light."""
        reach = int(width * self.size * 0.35)
        moved = np.roll(distance, (int(self.light[1] * reach), int(self.light[0] * reach)), (0, 1))
        self.pixels[at] -= (depth * np.clip(0.6 - moved / width, 0, 1) ** 2)[..., None]

    def cover(self, distance: Field) -> Field:
        """Antialiased opacity of the shape `distance` < 0."""
        alpha: Field = np.clip(0.5 - distance * (self.size / 2), 0, 1)
        return alpha

    def relief(self, height: Field, strength: float = 1.0) -> Field:
        """Gray change of a height field (H, W), positive where it faces the light, which comes from -`light`."""
        out = np.zeros_like(height)
        out[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * (self.light[0] * strength * self.size / 4)
        out[1:-1] += (height[2:] - height[:-2]) * (self.light[1] * strength * self.size / 4)
        return out

    def keep_under(self) -> None:
        """Remember what is painted so far as the background of the object."""
        self.under = self.pixels.copy()


@functools.cache
def grid(size: int) -> tuple[Field, Field]:
    """Coordinates x and y (H, W) in [-1, 1] of the pixel centers."""
    line = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    x, y = np.meshgrid(line, line)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, slice] | None:
    """Slices around the true pixels, or None where there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def noise(rng: np.random.Generator, size: int, cells: float | tuple[float, float], octaves: int = 1) -> Field:
    """Smooth random field (size, size), about standard normal; `cells` grains over the image (or rows, columns)."""
    rows, columns = cells if isinstance(cells, tuple) else (cells, cells)
    total = np.zeros((size, size), np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        shape = min(max(round(rows), 1), size) + 2, min(max(round(columns), 1), size) + 2
        small = rng.standard_normal(shape, dtype=np.float32)
        scale_y, scale_x = (shape[0] - 2) / size, (shape[1] - 2) / size
        oy, ox = rng.random() * 0.9 + 0.5, rng.random() * 0.9 + 0.5
        box = (ox, oy, ox + size * scale_x, oy + size * scale_y)
        box = (box[0], box[1], min(box[2], shape[1]), min(box[3], shape[0]))
        wide = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC, box=box)
        total += np.asarray(wide) * (weight * 1.3)
        power += weight * weight
        weight *= 0.55
        rows, columns = rows * 2.1, columns * 2.1
    return total / np.float32(math.sqrt(power))


def box(u: Field, v: Field, half_u: float, half_v: float, radius: float = 0.0) -> Field:
    """Signed distance to a rectangle with rounded corners."""
    a, b = np.abs(u) - (half_u - radius), np.abs(v) - (half_v - radius)
    outside = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
    distance: Field = outside + np.minimum(np.maximum(a, b), 0) - radius
    return distance


def polygon(u: Field, v: Field, radius: float, sides: int) -> Field:
    """Signed distance (near the edge) to a regular polygon of inner radius `radius`."""
    step = 2 * math.pi / sides
    angle = np.arctan2(v, u)
    folded = angle - np.round(angle / step) * step
    distance: Field = np.hypot(u, v) * np.cos(folded) - radius
    return distance


def segment(x: Field, y: Field, a: tuple[float, float], b: tuple[float, float]) -> Field:
    """Distance to the line segment from a to b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = max(dx * dx + dy * dy, 1e-9)
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / length, 0, 1)
    distance: Field = np.hypot(x - a[0] - t * dx, y - a[1] - t * dy)
    return distance


def blob(u: Field, v: Field, radius: float, rng: np.random.Generator, rough: float = 0.2) -> Field:
    """Signed distance, roughly, to an irregular round shape around the origin."""
    angle = np.arctan2(v, u)
    wave = np.zeros_like(u)
    for order in (2, 3, 4, 5, 7):
        wave += math.sqrt(2 / order) * rng.uniform(-0.5, 0.5) * np.cos(order * angle + rng.uniform(0, 6.3))
    distance: Field = np.hypot(u, v) - radius * (1 + rough * wave)
    return distance


def sketch(
    size: int,
    strokes: Sequence[tuple[Sequence[tuple[float, float]], float]],
    dots: Sequence[tuple[float, float, float]] = (),
) -> Field:
    """Opacity (H, W) of polylines and round dots.

    A polyline is its points in [-1, 1] and its width in pixels of the result; a dot is x, y and radius in [-1, 1].
    """
    factor = 3
    scale = size * factor / 2
    image = Image.new("L", (size * factor, size * factor))
    draw = ImageDraw.Draw(image)
    for points, width in strokes:
        place = [((x + 1) * scale, (y + 1) * scale) for x, y in points]
        draw.line(place, fill=255, width=max(round(width * factor), 1), joint="curve")
    for x, y, radius in dots:
        draw.ellipse(tuple((v + 1) * scale for v in (x - radius, y - radius, x + radius, y + radius)), fill=255)
    return np.asarray(image.reduce(factor)).astype(np.float32) / 255


@functools.cache
def font(height: int) -> Any:
    """The font of printed text, `height` pixels."""
    return ImageFont.load_default(height)


def lettering(size: int, text: str, center: tuple[float, float], height: float, turn: float = 0.0) -> Field:
    """Opacity (H, W) of a line of text; `center` and `height` in coordinates, `turn` in radians."""
    pixels = max(int(height * size / 2), 6)
    face = font(pixels)
    left, top, right, bottom = face.getbbox(text)
    tile = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(tile).text((2 - left, 2 - top), text, fill=255, font=face)
    if turn:
        tile = tile.rotate(-math.degrees(turn), Image.Resampling.BICUBIC, expand=True)
    image = Image.new("L", (size, size))
    image.paste(
        tile, (int((center[0] + 1) * size / 2 - tile.width / 2), int((center[1] + 1) * size / 2 - tile.height / 2))
    )
    return np.asarray(image).astype(np.float32) / 255
