"""Synthetic inspection images with true masks: product lines, their normal images and their defects.

A *line* is one category in one style (colors, counts, texture, camera), as one production line would show it.
Every image depends only on (seed, line, image): images may be asked for in any order and on any machine.

    lines = Synthesizer(seed=1)
    line = lines.make_line(0)
    references = [line.normal(i) for i in range(4)]
    sample = line.defective(0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from reason_iad.errors import InputError
from reason_iad.images import Pixels, encode_png
from reason_iad.training import synth_parts, synth_surfaces
from reason_iad.training.synth_canvas import PALETTE, Canvas, Field, Mask, bounding_box, noise
from reason_iad.training.synth_catalog import CATALOG, CategorySpec
from reason_iad.training.synth_defects import PROCESSES
from reason_iad.types import place_of

PAINTERS = synth_surfaces.PAINTERS | synth_parts.PAINTERS
CATEGORIES = tuple(CATALOG.specs)
MIN_CONTRAST = 9.0  # gray levels, mean over the mask of the largest channel's change
MIN_PIXELS = 24  # of a 320 px image, scaled with its area

SizeWord = Literal["tiny", "small", "large"]
ShapeWord = Literal["elongated", "compact"]
ToneWord = Literal["darker than", "brighter than", "about as bright as"]


@dataclass(frozen=True, eq=False)
class NormalSample:
    """A flawless image and what is known of its object."""

    pixels: Pixels  # (H, W, 3)
    category: str
    object_name: str
    facts: dict[str, str] = field(default_factory=dict)  # visible style of the line: color, counts


@dataclass(frozen=True, eq=False)
class SynthSample:
    """A defective image with its mask and the words measured on both."""

    pixels: Pixels  # (H, W, 3)
    mask: Mask  # (H, W)
    defect_type: str
    size: SizeWord
    shape: ShapeWord
    tone: ToneWord
    place: str  # one of types.PLACES, of the mask's centroid
    area: float  # share of the image, in (0, 1]
    centroid_xy: tuple[float, float]  # pixels
    elongation: float  # ratio of the covariance eigenvalues of the mask, at least 1; above 6 is elongated
    tone_step: float  # gray levels inside less those of a ring around; beyond 8 is darker or brighter
    category: str = "unknown"
    object_name: str = "object"
    facts: dict[str, str] = field(default_factory=dict)
    strength: float = 1.0  # 0 faint .. 1 strong, as drawn


@dataclass(frozen=True)
class Camera:
    """How a line looks at its objects; drawn once per line."""

    gray: bool
    gain: float
    blur: float  # pixels at 320 px, the most
    noise: float  # gray levels, the most
    gradient: float  # relative change of light over half the image
    dust: int  # specks within tolerance, the most
    reflection: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, gray_ok: bool) -> Camera:
        """Draw a camera for a line."""
        return cls(
            gray=bool(rng.random() < 0.3) and gray_ok, gain=rng.uniform(0.88, 1.12), blur=rng.uniform(0.2, 1.2),
            noise=rng.uniform(0.8, 6), gradient=rng.uniform(0, 0.22), dust=int(rng.integers(0, 9)),
            reflection=bool(rng.random() < 0.3),
        )  # fmt: skip

    def aim(self, size: int, rng: np.random.Generator) -> Exposure:
        """Draw the light, dust, blur and noise of one image of `size` pixels."""
        line = np.linspace(-1, 1, size, dtype=np.float32)
        angle = rng.uniform(0, 2 * math.pi)
        slope = self.gradient * rng.uniform(0.5, 1)
        tilt = 1 + slope * (line[None] * math.cos(angle) + line[:, None] * math.sin(angle))
        light = np.float32(self.gain * rng.uniform(0.94, 1.06)) * tilt
        if self.reflection:
            cx, cy, wide = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.3, 0.8)
            far = ((line[None] - cx) ** 2 + (line[:, None] - cy) ** 2) / wide**2
            light += np.float32(rng.uniform(0.03, 0.14)) * np.exp(-far)
        dust = []
        for _ in range(int(rng.integers(0, self.dust + 1))):
            row, column, high, wide_ = (int(k) for k in rng.integers((2, 2, 1, 1), (size - 3, size - 3, 3, 3)))
            dust.append((row, column, high, wide_, float(rng.choice((-1, 1)) * rng.uniform(10, 26))))
        blur = self.blur * rng.uniform(0.6, 1) * size / 320
        grain = rng.standard_normal((size, size), dtype=np.float32) * np.float32(self.noise * rng.uniform(0.5, 1))
        return Exposure(self.gray, light[..., None], tuple(dust), blur, grain[..., None] + np.float32(0.5))


@dataclass(frozen=True, eq=False)
class Exposure:
    """The camera at one instant; scenes taken with it differ only where the objects differ."""

    gray: bool
    light: Field  # (H, W, 1)
    dust: tuple[tuple[int, int, int, int, float], ...]  # row, column, height, width in pixels, gray step
    blur: float  # pixels
    grain: Field  # (H, W, 1)

    def take(self, scene: Field) -> Pixels:
        """Turn a painted scene (H, W, 3) into pixels."""
        image = scene * self.light
        if self.gray:
            image = (image @ np.float32([0.299, 0.587, 0.114]))[..., None]
        for row, column, high, wide, step in self.dust:
            image[row : row + high, column : column + wide] += step
        sharp = np.clip(image, 0, 255, out=image).astype(np.uint8)
        side = 1 if self.blur < 0.75 else 2
        weights = np.exp(-0.5 * (np.arange(-side, side + 1) / self.blur) ** 2)
        kernel = ImageFilter.Kernel((2 * side + 1,) * 2, np.outer(weights, weights).ravel().tolist())
        soft = np.asarray(Image.fromarray(sharp[..., 0] if self.gray else sharp).filter(kernel)).reshape(image.shape)
        pixels = np.clip(soft + self.grain, 0, 255).astype(np.uint8)
        return np.repeat(pixels, 3, axis=2) if self.gray else pixels


class Line:
    """One production line: a category in one style."""

    def __init__(self, seed: int, index: int, size: int, category: str) -> None:
        self.seed = seed
        self.index = index
        self.size = size
        self.category = category
        self.spec: CategorySpec = CATALOG[category]
        self.object_name = self.spec.object_name
        self.camera = Camera.draw(self._rng(0), self.spec.gray_ok)

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, self.index, *path]))

    def _paint(self, stream: int, i: int, fault: str | None = None, fault_rng: np.random.Generator | None = None) -> Canvas:
        canvas = Canvas(self.size, self._rng(1), self._rng(stream, i), fault, fault_rng)
        PAINTERS[self.category](canvas)
        if self.camera.gray:  # colors cannot be told any more
            canvas.facts = {k: v for k, v in canvas.facts.items() if v not in PALETTE}
        return canvas

    def normal(self, i: int) -> Pixels:
        """Flawless image number `i`, (H, W, 3) uint8."""
        return self.normal_sample(i).pixels

    def normal_sample(self, i: int) -> NormalSample:
        """Flawless image number `i` with the facts of its object."""
        canvas = self._paint(2, i)
        pixels = self.camera.aim(self.size, self._rng(3, i)).take(canvas.pixels)
        return NormalSample(pixels, self.category, self.object_name, canvas.facts)

    def twin(self, i: int) -> NormalSample:
        """The flawless image that `defective(i)` would be without its defect: same object, pose, light and noise."""
        canvas = self._paint(4, i)
        pixels = self.camera.aim(self.size, self._rng(6, i)).take(canvas.pixels)
        return NormalSample(pixels, self.category, self.object_name, canvas.facts)

    def defective(self, i: int, defect_type: str | None = None) -> SynthSample:
        """Defective image number `i`; its defect type is drawn among those of the category unless given.

        Raises:
            InputError: the category has no such defect type.
        """
        if defect_type is not None and defect_type not in self.spec.defects:
            raise InputError(f"{self.category} has no defect {defect_type!r}; expected one of {list(self.spec.defects)}")
        clean = self._paint(4, i)
        exposure = self.camera.aim(self.size, self._rng(6, i))  # one instant: only the defect differs
        good = exposure.take(clean.pixels)
        for attempt in range(60):  # until the defect can be seen
            rng = self._rng(5, i, attempt)
            kind = defect_type or self.spec.defects[int(rng.integers(len(self.spec.defects)))]
            strength = min(float(rng.uniform(0.1, 1)) + 0.05 * attempt, 1.0)
            if kind in PROCESSES:
                canvas = _copy(clean, clean.pixels.copy())
                PROCESSES[kind](canvas, rng, strength)
            else:
                canvas = self._paint(4, i, kind, rng)
            bad = exposure.take(canvas.pixels)
            mask = changed(good, bad, reach=2 if kind in PROCESSES else 5)
            if mask is not None:
                return describe(
                    bad, mask, kind, category=self.category, object_name=self.object_name,
                    facts=clean.facts, strength=strength,
                )  # fmt: skip
        raise RuntimeError(f"no visible {defect_type or 'defect'} was found for {self.category} line {self.index} image {i}")


class Synthesizer:
    """Endless product lines from one seed; `size` is the side of every image in pixels."""

    def __init__(self, seed: int, size: int = 320) -> None:
        if size < 96 or size % 2:
            raise InputError(f"the image size is {size}; expected an even number of at least 96 pixels")
        self.seed = seed
        self.size = size

    def make_line(self, index: int, category: str | None = None) -> Line:
        """Line number `index`; categories follow each other in catalog order unless one is given."""
        return Line(self.seed, index, self.size, category or CATEGORIES[index % len(CATEGORIES)])


def _copy(canvas: Canvas, pixels: Field) -> Canvas:
    other = Canvas(canvas.size, np.random.default_rng(0), np.random.default_rng(0))
    other.pixels, other.under, other.inside, other.light = pixels, canvas.under, canvas.inside, canvas.light
    return other


def changed(before: Pixels, after: Pixels, reach: int = 2) -> Mask | None:
    """Mask (H, W) of what differs between two exposures (H, W, 3); None where a person would not see it.

    Gaps of up to `reach` pixels on either side are closed, specks are dropped.
    """
    step = np.abs(after.astype(np.int16) - before)
    difference = np.maximum(np.maximum(step[..., 0], step[..., 1]), step[..., 2]).astype(np.float32)
    smooth = ndimage.uniform_filter(difference, 3)
    strong = smooth[smooth > 3]
    if not strong.size:
        return None
    mask: Mask = smooth > max(5.0, 0.2 * float(np.quantile(strong, 0.9)))
    box = bounding_box(mask, reach + 2)
    if box is None:
        return None
    part = ndimage.binary_closing(mask[box], iterations=reach)
    labels, _count = ndimage.label(part)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    mask[box] = (areas >= max(6, 0.04 * areas.max()))[labels]
    contrast = float(difference[mask].mean()) if mask.any() else 0.0
    if mask.sum() < MIN_PIXELS * (mask.shape[0] / 320) ** 2 or mask.mean() > 0.6 or contrast < MIN_CONTRAST:
        return None
    gray = before[box].mean(2, dtype=np.float32)
    texture = float((gray - ndimage.gaussian_filter(gray, 2)).std())  # grain and noise that hide faint changes
    return mask if contrast > 1.1 * texture else None


def describe(
    pixels: Pixels, mask: Mask, defect_type: str, *, category: str = "unknown", object_name: str = "object",
    facts: dict[str, str] | None = None, strength: float = 1.0,
) -> SynthSample:  # fmt: skip
    """Measure the words for a defect on its mask (H, W) and the image."""
    rows, columns = np.nonzero(mask)
    area = rows.size / mask.size
    size: SizeWord = "tiny" if area < 0.004 else "small" if area < 0.03 else "large"
    spread = np.linalg.eigvalsh(np.cov(np.stack([columns, rows]))) if rows.size > 2 else np.ones(2)
    elongation = float(spread[1] / max(spread[0], 1e-6))
    shape: ShapeWord = "elongated" if elongation > 6 else "compact"
    center = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    step = tone_step(pixels, mask)
    tone: ToneWord = "darker than" if step < -8 else "brighter than" if step > 8 else "about as bright as"
    place = place_of(*center, (mask.shape[0], mask.shape[1]))
    return SynthSample(
        pixels, mask, defect_type, size, shape, tone, place, area, center, elongation, step, category, object_name,
        facts or {}, strength,
    )  # fmt: skip


def tone_step(pixels: Pixels, mask: Mask) -> float:
    """Mean gray inside the mask less that of a ring around it, 2 % of the side wide."""
    width = max(3, round(0.02 * mask.shape[0]))
    box = bounding_box(mask, width + 1)
    assert box is not None
    part = mask[box]
    ring = ndimage.binary_dilation(part, iterations=width) & ~part
    gray = pixels[box].astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    return float(gray[part].mean() - gray[ring].mean()) if ring.any() else 0.0


PASTED = ("scratch", "stain", "crack", "hole", "contamination", "pit", "patch from elsewhere", "blended patch")


def paste_defect(pixels: Pixels, rng: np.random.Generator) -> SynthSample:
    """Put a generic defect on a real normal image (H, W, 3); every side at least 64 px.

    Raises:
        InputError: the image is too small or so even that no defect stands out.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 64:
        raise InputError(f"the image is {width} x {height} pixels; expected at least 64 on each side to draw on")
    side = min(height, width)
    for attempt in range(40):
        kind = PASTED[int(rng.integers(len(PASTED)))]
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        canvas = Canvas.of(pixels[window], rng)
        canvas.inside = foreground(pixels[window])
        strength = min(float(rng.uniform(0.15, 1)) + 0.03 * attempt, 1.0)
        if kind in PROCESSES:
            PROCESSES[kind](canvas, rng, strength)
        else:
            _move_patch(canvas, rng, blended=kind == "blended patch")
        changed_pixels = np.clip(canvas.pixels + 0.5, 0, 255).astype(np.uint8)
        part = changed(pixels[window], changed_pixels)
        if part is not None:
            after, mask = pixels.copy(), np.zeros((height, width), bool)
            after[window] = changed_pixels
            mask[window] = part
            return describe(after, mask, kind if kind in PROCESSES else "anomalous patch", strength=strength)
    raise InputError("no defect became visible on the image in 40 tries; expected an image that is not one flat color")


def foreground(pixels: Pixels) -> Mask:
    """Where the object of a real image probably is: unlike the border; everywhere if that is not clear."""
    image = ndimage.uniform_filter(pixels.astype(np.float32), (5, 5, 1))
    edge = np.concatenate([image[2], image[-3], image[:, 2], image[:, -3]])
    if float(edge.std(0).max()) > 18:
        return np.ones(image.shape[:2], bool)
    mask: Mask = np.abs(image - np.median(edge, 0)).max(2) > 25
    mask = ndimage.binary_opening(mask, iterations=2)
    return mask if 0.05 < mask.mean() < 0.9 else np.ones(image.shape[:2], bool)


def _move_patch(canvas: Canvas, rng: np.random.Generator, blended: bool) -> None:
    """Copy a patch from elsewhere in the image; `blended` keeps its detail but takes the brightness around it."""
    size = canvas.size
    half = int(size * rng.uniform(0.05, 0.14))
    ty, tx, sy, sx = (int(k) for k in rng.integers(half, size - half, 4))
    source = canvas.pixels[sy - half : sy + half, sx - half : sx + half]
    if rng.random() < 0.5:
        source = np.rot90(source, int(rng.integers(1, 4)))
    target = canvas.pixels[ty - half : ty + half, tx - half : tx + half]
    line = np.linspace(-1, 1, 2 * half, dtype=np.float32)
    reach = np.hypot(line[None], line[:, None]) + 0.2 * noise(rng, 2 * half, 3)
    alpha = np.clip((0.85 - reach) * (2.5 if blended else half), 0, 1)[..., None]
    if blended:  # the low frequencies of a Poisson blend: the mean step is taken away, gradients stay
        source = source + (target - source).mean((0, 1))
        source = target + (source - ndimage.uniform_filter(source, (half, half, 1))) * rng.uniform(1.0, 1.8)
    target += (source - target) * alpha


def contact_sheet(path: str | Path, lines: list[Line], columns: int = 4, tile: int = 160) -> None:
    """Write a PNG: per line a normal image, then defective ones with their outlines beside them."""
    sheet = np.full((len(lines) * (tile + 4), (1 + 2 * columns) * (tile + 4), 3), 255, np.uint8)

    def put(row: int, column: int, pixels: npt.NDArray[np.uint8]) -> None:
        small = np.asarray(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.LANCZOS))
        sheet[row * (tile + 4) : row * (tile + 4) + tile, column * (tile + 4) : column * (tile + 4) + tile] = small

    for row, line in enumerate(lines):
        put(row, 0, line.normal(0))
        for k in range(columns):
            sample = line.defective(k)
            outline = ndimage.binary_dilation(sample.mask, iterations=3) & ~ndimage.binary_dilation(sample.mask)
            marked = sample.pixels.copy()
            marked[outline] = (255, 0, 255)
            put(row, 1 + 2 * k, sample.pixels)
            put(row, 2 + 2 * k, marked)
    Path(path).write_bytes(encode_png(sheet))
