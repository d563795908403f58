"""Generic defects on real normal images."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from reason_iad.errors import InputError
from reason_iad.images import Pixels
from reason_iad.training.synth_canvas import Canvas, Field, Mask, noise
from reason_iad.training.synth_defects import PROCESSES
from reason_iad.training.synth_marks import spot
from reason_iad.training.synth_measure import GRAY, SynthSample, changed, describe
from reason_iad.training.synth_small import AT_EDGES, draw_small

ANYWHERE = ("scratch", "stain", "crack", "hole", "contamination", "pit", "patch from elsewhere", "blended patch")


def paste_defect(pixels: Pixels, rng: np.random.Generator, reach: float = 1.0) -> SynthSample:
    """Put a generic defect on a real normal image (H, W, 3); every side at least 64 px.

    `reach` is how large it is beside its usual size, in (0, 1].

    Raises:
        InputError: the image is too small or so even that no defect stands out.
    """
    height, width = pixels.shape[:2]
    side = min(height, width) // 2 * 2
    if side < 64:
        raise InputError(f"the image is {width} x {height} pixels; expected at least 64 on each side to draw on")
    object_at = foreground(pixels)
    for attempt in range(40):
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        before = pixels[window]
        canvas = Canvas.of(before, rng)
        clear = 0.02 < object_at[window].mean() < 0.98
        canvas.inside = object_at[window] if clear else np.ones(before.shape[:2], bool)
        possible = ANYWHERE + AT_EDGES if clear else ANYWHERE  # edges only where the object stands clear
        kinds = [k for k in possible if reach == 1 or k in PROCESSES]
        kind = kinds[int(rng.integers(len(kinds)))]
        if clear:
            canvas.under = np.broadcast_to(np.median(before[~canvas.inside], 0), before.shape).astype(np.float32)
        strength = min(float(rng.uniform(0.15, 1)) + 0.03 * attempt, 1.0)
        if kind in PROCESSES and reach < 1:
            draw_small(canvas, kind, rng, strength, reach)
        elif kind in PROCESSES:
            PROCESSES[kind](canvas, rng, strength)
        else:
            _move_patch(canvas, rng, blended=kind == "blended patch")
        drawn = _finish(before, canvas.pixels)
        part = changed(before, drawn)
        if part is not None:
            after, mask = pixels.copy(), np.zeros((height, width), bool)
            after[window], mask[window] = drawn, part
            return describe(after, mask, kind if kind in PROCESSES else "anomalous patch", strength=strength)
    raise InputError("no defect became visible on the image in 40 tries; expected an image that is not one flat color")


def _finish(before: Pixels, drawn: Field) -> Pixels:
    """Round to pixels, without color where the camera has none."""
    if int(np.ptp(before.astype(np.int16), axis=2).max()) < 8:
        drawn = np.repeat((drawn @ GRAY)[..., None], 3, axis=2)
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)


def foreground(pixels: Pixels) -> Mask:
    """Where the object of a real image probably is: unlike the border; everywhere if that is not clear."""
    image = ndimage.uniform_filter(pixels.astype(np.float32), (5, 5, 1))
    edge = np.concatenate([image[2], image[-3], image[:, 2], image[:, -3]])
    if float(edge.std(0).max()) > 18:
        return np.ones(image.shape[:2], bool)
    mask: Mask = np.abs(image - np.median(edge, 0)).max(2) > 25
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask, iterations=3))
    return mask if 0.05 < mask.mean() < 0.9 else np.ones(image.shape[:2], bool)


def _move_patch(canvas: Canvas, rng: np.random.Generator, blended: bool) -> None:
    """Copy a patch from elsewhere in the image; `blended` keeps its detail but takes the brightness around it."""
    size = canvas.size
    half = int(size * rng.uniform(0.05, 0.14))
    sy, sx = (int(k) for k in rng.integers(half, size - half, 2))
    tx, ty = (int(np.clip((k + 1) * size / 2, half, size - half)) for k in spot(canvas, rng))
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
