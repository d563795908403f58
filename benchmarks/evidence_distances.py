"""Distances of references and test images to each single reference, computed once from stored features and kept.

Every choice of `evidence_choices.py` is then a matter of seconds: the nearest of any number of references, with each
left out in turn, is a minimum over what is kept; which streams are fused and which tail counts only weighs it.

Axes: R references, T test images, N altered copies, H x W patches of a stream.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from evidence_data import Category
from scipy import ndimage

from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.features import DEFAULT_STREAMS, EvidenceOptions, Stream, altered_copies, extract
from reason_iad.evidence.memory_bank import WIDEN
from reason_iad.evidence.residuals import patch_distances_of_each
from reason_iad.evidence.rotations import rotated_views
from reason_iad.evidence.search import search_each
from reason_iad.images import Pixels, resize
from reason_iad.models.base import VisionTowers

SIDE = 448  # pixels a side of the largest stream
MOST = 16  # references of a draw
TURNED = 4  # as many of them are turned, too: beyond eight the default does not turn
NEAR = {"efficientnet": 4, "vit": 2}  # patches around the same place, about a seventh of the side
FORMER = Stream("vit", (7, 9, 10, 11, 12), 224, "cosine", map_weight=0.0)  # the default before 28 November 2026
HIGHER = Stream("vit", (8, 9, 10, 11, 12), 224, "cosine", map_weight=0.0)
LOWER = Stream("vit", (7, 9, 10, 11), 224, "cosine", map_weight=0.0)
DENSER = Stream("vit", (7, 8, 9, 10), 224, "cosine", map_weight=0.0)
LOWEST = Stream("vit", (7, 9), 224, "cosine", map_weight=0.0)  # a layer less to run
STREAMS = (*DEFAULT_STREAMS, FORMER, HIGHER, LOWER, DENSER, LOWEST)

Maps = dict[str, npt.NDArray[Any]]  # by the name of a stream


@dataclass(frozen=True, eq=False)
class Distances:
    """What one draw of one product gives.

    Attributes:
        normals: by stream, of the references beside each other (R, H, W); of altered copies where there is one.
        test: by stream, of the test images beside the references with each left out in turn (T, R, H, W).
        defective: which test images are (T,).
        num_references: R.
    """

    normals: Maps
    test: Maps
    defective: np.ndarray
    num_references: int


class Kept:
    """The distances of one draw of one product; what is asked for is read from the folder or computed and kept."""

    def __init__(self, folder: Path, category: str, images: Category, vision: VisionTowers, seed: int) -> None:
        self._folder, self._front, self._vision = folder, f"{category}-{seed}", vision
        self._references, test = images.draw(seed, MOST)
        self._test = [item.pixels for item in test]
        self.defective = np.array([item.defective for item in test])
        self._read: dict[str, Maps] = {}
        self._done: dict[str, tuple[Array, Array]] = {}

    def of(self, streams: Sequence[Stream], k: int, view: str) -> Distances:
        """Distances beside the first k references, all where there are fewer.

        Args:
            streams: some of `STREAMS`.
            k: number of references.
            view: "upright"; "turned" with their turned views where they lie turned, as the default does from 2 to 8
                references; "near" the same place only; "turned alone" with the turned views of a single reference; or
                one of `VIEWS`, up to `TURNED` references, however they lie.
        """
        count = min(k, len(self._references))
        found = {stream.name: self._nearest(stream, count, view) for stream in streams}
        normals, test = ({name: one[i] for name, one in found.items()} for i in (0, 1))
        return Distances(normals, test, self.defective, count)

    def _nearest(self, stream: Stream, count: int, view: str) -> tuple[Array, Array]:
        """Distances of one stream: of the references (R, H, W), of the test images (T, R, H, W)."""
        key = f"{stream.name} {count} {view}"
        if key not in self._done:
            place = "near" if view == "near" else "upright"
            each = self._each(stream, place, "normal")[:count, :count]
            test = self._each(stream, place, "test")[:, :count]
            views = self._otherwise if view in VIEWS else self._turned
            if view not in ("near", "upright") and (more := views(stream, view, count)) is not None:
                each, test = np.minimum(each, more[0]), np.minimum(test, more[1])
            self._done[key] = beside_others(each) if count > 1 else self._copies(stream), without_each(test)
        return self._done[key]

    def _each(self, stream: Stream, view: str, which: str) -> Array:
        """Distances to each upright reference: (T, R, H, W) of the test images, (R, R, H, W) of the references."""
        window = NEAR[stream.tower] if view == "near" else None

        def compute() -> Maps:
            options = EvidenceOptions(streams=(stream,))
            known = extract(self._references, self._vision, options)[stream.source]
            found = {}
            for name, images in (("test", self._test), ("normal", self._references)):
                mine = (extract([one], self._vision, options)[stream.source][0] for one in images)
                maps = [search_each(one, known, [stream.metric], 1, window)[stream.metric] for one in mine]
                found[name] = np.stack(maps).astype(np.float16)
            return found

        return self._kept(f"{view}-{stream.name}", compute, which)

    def _turned(self, stream: Stream, view: str, count: int) -> tuple[Array, Array] | None:
        """The same beside the nearest of the three turned views of each reference; None where they are not turned."""
        alone = count == 1
        if count > TURNED or (alone and view != "turned alone"):
            return None
        view = "turned alone" if alone else "turned"
        options = EvidenceOptions(streams=STREAMS, rotations="on")

        def compute() -> Maps:
            references, default = self._references[:count], EvidenceOptions()
            raw = extract(references, self._vision, options)
            lie = alone or rotated_views(references, raw, self._vision, default) is not None
            turned = rotated_views(references, raw, self._vision, options) if lie else None
            found = {"lie": np.array(turned is not None)}
            for one in STREAMS if turned is not None else ():
                for name, images in (("test", self._test), ("normal", references)):
                    mine = [extract([pixels], self._vision, options)[one.source][0] for pixels in images]
                    views = turned[one.source].flatten(0, 1)  # type: ignore[index]
                    maps = [search_each(some, views, [one.metric])[one.metric] for some in mine]
                    nearest = np.stack(maps).reshape(len(images), count, 3, *maps[0].shape[1:]).min(axis=2)
                    found[f"{name} {one.name}"] = nearest.astype(np.float16)
            return found

        kept = functools.partial(self._kept, f"{view}-{count}", compute)
        return (kept(f"normal {stream.name}"), kept(f"test {stream.name}")) if kept("lie") else None

    def _otherwise(self, stream: Stream, view: str, count: int) -> tuple[Array, Array] | None:
        """The same beside the nearest of the views that `VIEWS` makes of each reference; None where they are many."""
        if count > TURNED:
            return None

        def compute() -> Maps:
            references = self._references[:count]
            options = EvidenceOptions(streams=DEFAULT_STREAMS)
            each = [extract(VIEWS[view](pixels), self._vision, options) for pixels in references]
            views = {source: torch.cat([one[source] for one in each]) for source in options.sources}
            found: dict[str, list[Array]] = {}
            for name, images in (("test", self._test), ("normal", references)):
                for pixels in images:
                    mine = extract([pixels], self._vision, options)
                    for source in options.sources:
                        metrics = [one.metric for one in DEFAULT_STREAMS if one.source == source]
                        for metric, maps in search_each(mine[source][0], views[source], metrics).items():
                            nearest = maps.reshape(count, -1, *maps.shape[1:]).min(axis=1)
                            found.setdefault(f"{name} {source} {metric}", []).append(nearest)
            return {name: np.stack(some).astype(np.float16) for name, some in found.items()}

        kept = functools.partial(self._kept, f"{view}-{count}", compute)
        return kept(f"normal {stream.name}"), kept(f"test {stream.name}")

    def _copies(self, stream: Stream) -> Array:
        """Distances of altered copies of the first reference to it, widened as the bank does: (N, H, W)."""

        def compute() -> Maps:
            options = EvidenceOptions(streams=STREAMS)
            copies = extract(altered_copies(self._references[0], options.side), self._vision, options)
            known = extract(self._references[:1], self._vision, options)
            maps = patch_distances_of_each(copies, known, options)
            return {one.name: maps[one.name] * WIDEN[one.metric] for one in STREAMS}

        return self._kept("copies", compute, stream.name)

    def _kept(self, name: str, compute: Callable[[], Maps], key: str) -> Array:
        """One array of what is kept under a name; computed where no file has it."""
        if key not in self._read.get(name, ()):
            digest = hashlib.sha256()
            for pixels in (*self._references, *self._test):
                digest.update(str(pixels.shape).encode() + pixels[::7, ::7].tobytes())
            path = self._folder / f"{self._front}-{name.replace(' ', '-')}-{digest.hexdigest()[:12]}.npz"
            if not path.is_file() or key not in np.load(path).files:
                self._folder.mkdir(parents=True, exist_ok=True)
                draft = path.with_suffix(f".{os.getpid()}.npz")
                np.savez(draft, **compute())  # type: ignore[arg-type]
                draft.replace(path)
            with np.load(path) as arrays:
                self._read[name] = {key: arrays[key] for key in arrays.files}
        return self._read[name][key].astype(np.float32)


def turned_by(pixels: Pixels, degrees: float) -> Pixels:
    """An image (H, W, 3) as a square, turned about its center; what comes in from outside mirrors the inside."""
    square = resize(pixels, (SIDE, SIDE)).astype(np.float32)
    found: Pixels = np.clip(ndimage.rotate(square, degrees, reshape=False, order=1, mode="reflect"), 0, 255)
    return found.round().astype(np.uint8)


VIEWS: dict[str, Callable[[Pixels], list[Pixels]]] = {
    "any angle": lambda pixels: [turned_by(pixels, degrees) for degrees in range(30, 360, 30)],
    "mirrored": lambda pixels: [np.ascontiguousarray(one) for one in (pixels[:, ::-1], pixels[::-1])],
    "moved a little": lambda pixels: [turned_by(pixels, degrees) for degrees in (-10, -5, 5, 10)],
}


def without_each(each: Array) -> Array:
    """The nearest of all references but each one (T, R, H, W), from the distances to each; as it is where R is 1."""
    if each.shape[1] == 1:
        return each
    first, second = np.partition(each, 1, axis=1)[:, :2].transpose(1, 0, 2, 3)
    nearest = each.argmin(axis=1)
    return np.stack([np.where(nearest == out, second, first) for out in range(each.shape[1])], axis=1)


def beside_others(each: Array) -> Array:
    """The nearest other reference (R, H, W), from the distances of each to each (R, R, H, W)."""
    itself = np.eye(len(each), dtype=bool)[:, :, None, None]
    found: Array = np.where(itself, np.inf, each).min(axis=1)
    return found
