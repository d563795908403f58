"""Synthetic inspection images with true masks: product lines, their normal images and their defects.

A *line* is one category in one style (colors, counts, texture, camera), as one production line would show it.
Every image depends only on (seed, line, image): images may be asked for in any order and on any machine.

    lines = Synthesizer(seed=1)
    line = lines.make_line(0)
    references = [line.normal(i) for i in range(4)]
    sample = line.defective(0)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from reason_iad.errors import InputError
from reason_iad.images import Pixels, encode_png
from reason_iad.training import synth_electrics, synth_fabrics, synth_goods, synth_parts, synth_surfaces
from reason_iad.training.synth_camera import Camera
from reason_iad.training.synth_canvas import PALETTE, Canvas, Field
from reason_iad.training.synth_catalog import CATALOG, CategorySpec
from reason_iad.training.synth_defects import PROCESSES
from reason_iad.training.synth_measure import NormalSample, SynthSample, changed, describe
from reason_iad.training.synth_paste import paste_defect
from reason_iad.training.synth_small import draw_small

__all__ = [
    "CATEGORIES",
    "PAINTERS",
    "Line",
    "NormalSample",
    "SynthSample",
    "Synthesizer",
    "changed",
    "contact_sheet",
    "describe",
    "paste_defect",
]

PAINTERS = (
    synth_surfaces.PAINTERS
    | synth_fabrics.PAINTERS
    | synth_parts.PAINTERS
    | synth_electrics.PAINTERS
    | synth_goods.PAINTERS
)
CATEGORIES = tuple(CATALOG.specs)
ATTEMPTS = 60  # at a defect that can be seen; ever stronger, so that the last ones are at full strength


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

    def _paint(
        self, stream: int, i: int, fault: str | None = None, fault_rng: np.random.Generator | None = None
    ) -> Canvas:
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

    def defective(self, i: int, defect_type: str | None = None, reach: float = 1.0) -> SynthSample:
        """Defective image number `i`; its defect type is drawn among those of the category unless given.

        Args:
            i: number of the image.
            defect_type: what is wrong.
            reach: how large defects are beside their usual size, in (0, 1]; smaller ones are of kinds that are drawn on
                the finished object, not those of its parts.

        Raises:
            InputError: the category has no such defect type, or it cannot be seen in this line's style.
        """
        if defect_type is not None and defect_type not in self.spec.defects:
            raise InputError(
                f"{self.category} has no defect {defect_type!r}; expected one of {list(self.spec.defects)}"
            )
        kinds = [k for k in self.spec.defects if reach == 1 or k in PROCESSES]
        clean = self._paint(4, i)
        exposure = self.camera.aim(self.size, self._rng(6, i))  # one instant: only the defect differs
        good = exposure.take(clean.pixels)
        for attempt in range(ATTEMPTS):
            rng = self._rng(5, i, attempt)
            kind = defect_type or kinds[int(rng.integers(len(kinds)))]
            strength = min(float(rng.uniform(0.1, 1)) + 0.05 * attempt, 1.0)
            if kind in PROCESSES:
                canvas = _copy(clean, clean.pixels.copy())
                if reach == 1:
                    PROCESSES[kind](canvas, rng, strength)
                else:
                    draw_small(canvas, kind, rng, strength, reach)
            else:
                canvas = self._paint(4, i, kind, rng)
            bad = exposure.take(canvas.pixels)
            mask = changed(good, bad, reach=2 if kind in PROCESSES else 5)
            if mask is not None:
                return describe(
                    bad,
                    mask,
                    kind,
                    category=self.category,
                    object_name=self.object_name,
                    facts=clean.facts,
                    strength=strength,
                )
        raise InputError(
            f"no visible {defect_type or 'defect'} came out for {self.category}, line {self.index}, image {i}, in "
            f"{ATTEMPTS} tries; expected one that can be seen: take another line, image or defect type"
        )


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
