"""Whether an answer rests on what its report says: take that away, or keep it alone, and ask again.

Deletion and insertion (Petsiuk, Das and Saenko, RISE, 2018, arXiv 1806.07421), each against the same change at random
places of equal size. An explanation that moves the answer no further than random ones explains nothing.
Axes: H x W pixels of the image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.images import Pixels, resize
from reason_iad.types import Faithfulness, FaithfulnessRow, InspectionRequest

if TYPE_CHECKING:
    from reason_iad.inspection.compose import Inspection
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.types import ImageSource

Box = tuple[int, int, int, int]
Probability = Callable[[Pixels], float]


def measure(
    inspector: Inspector, found: Inspection, references: Sequence[ImageSource], num_random: int = 4, seed: int = 0
) -> Faithfulness:
    """Measure the faithfulness of one report; takes about two inspections for each random control.

    Args:
        inspector: the one that made the report.
        found: the report with the image it speaks of.
        references: what the image was compared with; empty where that was a profile, or nothing.
        num_random: controls for each change.
        seed: of the random places.
    """
    began = time.monotonic()
    report, rng = found.report, np.random.default_rng(seed)
    category = report.category if report.category != "unknown" else None
    goods = tuple(references)

    def asked(references: tuple[ImageSource, ...] = goods, **changes: Any) -> Probability:
        """The probability of a defect of any pixels, under the report's options with some changes."""
        view = inspector.with_options(replace(inspector.options, **changes))
        return lambda pixels: view.run(InspectionRequest(pixels, category, references)).report.probability

    # Compared within one setting: without the latent loop, whose own noise would drown small movements.
    plain: dict[str, Any] = {"latents": "off", "injection": "off", "details": "off"}
    ask = asked(**plain)
    base = ask(found.pixels)
    rows = []
    if report.regions:
        boxes = [region.box_xyxy for region in report.regions]
        others = [random_boxes(boxes, report.image_hw, rng) for _ in range(num_random)]
        rows.append(_row("the regions painted over", base, found.pixels, boxes, others, paint_over, ask))
        rows.append(_row("only the regions left sharp", base, found.pixels, boxes, others, keep_alone, ask))
    if report.evidence is not None:
        after = asked((), **{**plain, "evidence": "off"})(found.pixels)
        rows.append(_lone("without the comparison with good parts", base, after))
    if report.citations:
        after = asked(**{**plain, "knowledge": "none"})(found.pixels)
        rows.append(_lone("without the knowledge", base, after))
    trace = found.verdict_trace
    # the verdict thought with these: the controls take as many patches, or details, that were drawn at random
    for setting, change, used in (
        ("injection", "without the injected patches", trace is not None and bool(trace.patches)),
        ("details", "without the details read again", trace is not None and any(one.kept for one in trace.details)),
    ):
        if used:
            after = asked(goods, **{setting: "off"})(found.pixels)
            seeds = rng.integers(0, 2**32, num_random)
            moved = [asked(goods, **{setting: "random"}, seed=int(one))(found.pixels) for one in seeds]
            controls = [other - report.probability for other in moved]
            rows.append(_lone(change, report.probability, after, controls))
    return Faithfulness(tuple(rows), seed, round(1000 * (time.monotonic() - began), 1))


def paint_over(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    """Fill boxes of an image (H, W, 3) smoothly from the pixels along their four sides."""
    filled = pixels.copy()
    for left, top, right, bottom in boxes:
        height, width = bottom - top, right - left
        area = filled.astype(np.float32)
        above, below = area[max(top - 1, 0), left:right], area[min(bottom, len(area) - 1), left:right]
        before, after = area[top:bottom, max(left - 1, 0)], area[top:bottom, min(right, area.shape[1] - 1)]
        y = ((np.arange(height) + 0.5) / height)[:, None, None]
        x = ((np.arange(width) + 0.5) / width)[None, :, None]
        vertical, horizontal = (1 - y) * above[None] + y * below[None], (1 - x) * before[:, None] + x * after[:, None]
        # The nearer pair of sides counts more, so that the filling joins all four.
        weight = np.minimum(x, 1 - x) * width / (np.minimum(x, 1 - x) * width + np.minimum(y, 1 - y) * height)
        filled[top:bottom, left:right] = (weight * vertical + (1 - weight) * horizontal).round().astype(np.uint8)
    return filled


def keep_alone(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    """Blur an image (H, W, 3) heavily, but for the boxes."""
    height, width = pixels.shape[:2]
    small = resize(pixels, (max(1, height // 16), max(1, width // 16)))
    blurred = resize(small, (height, width)).copy()
    for left, top, right, bottom in boxes:
        blurred[top:bottom, left:right] = pixels[top:bottom, left:right]
    return blurred


def random_boxes(boxes: Sequence[Box], image_hw: tuple[int, int], rng: np.random.Generator) -> list[Box]:
    """Boxes of the same sizes at random places, each as far from touching the given ones as ten tries allow."""
    height, width = image_hw
    found = []
    for left, top, right, bottom in boxes:
        tall, wide = bottom - top, right - left
        tries = []
        for _ in range(10):
            y, x = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
            box = (x, y, x + wide, y + tall)
            tries.append((sum(_overlap(box, other) for other in boxes), box))
        found.append(min(tries)[1])
    return found


def _overlap(one: Box, other: Box) -> int:
    wide, tall = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, tall)


def _row(
    change: str,
    base: float,
    pixels: Pixels,
    boxes: Sequence[Box],
    others: Sequence[Sequence[Box]],
    alter: Callable[[Pixels, Sequence[Box]], Pixels],
    ask: Probability,
) -> FaithfulnessRow:
    after = ask(alter(pixels, boxes))
    controls = tuple(round(ask(alter(pixels, other)) - base, 6) for other in others)
    return FaithfulnessRow(change, round(after, 6), round(after - base, 6), controls)


def _lone(change: str, base: float, after: float, controls: Sequence[float] = ()) -> FaithfulnessRow:
    moved = tuple(round(control, 6) for control in controls)
    return FaithfulnessRow(change, round(after, 6), round(after - base, 6), moved)
