"""Features of real inspection images, computed once and kept as files, so that choices are measured in minutes.

    python benchmarks/evidence_features.py STORE ROOT [ROOT ...] [--normals N] [--limit 20] [--turned]

ROOT holds `manifest.csv` (image, category, split, label). Of each category the normals of `train` (at most
`--normals`) and at most `--limit` other images a split and label are read; with `--turned` the normals of `train`
turned by quarters, too. A run that was cut off goes on: what lies in STORE is not computed again. 1.6 MB an image.

`StoredTowers` is those files in the shape of the towers; `benchmarks/evidence.py --cache STORE` and
`benchmarks/evidence_choices.py` read them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from evidence_data import read_manifest

from reason_iad.errors import ReasonIADError
from reason_iad.images import Pixels, read_image
from reason_iad.models.base import VisionTowers

VIT_SIZE, VIT_LEVELS = 224, (7, 8, 9, 10, 11, 12)
CONVOLUTIONAL_SIZE = 448


class StoredTowers:
    """Towers that keep what they say at the default sizes as float16 files; another size is computed each time."""

    def __init__(self, vision: VisionTowers, folder: Path) -> None:
        self._vision, self._folder = vision, folder

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """As in the towers."""
        if size != VIT_SIZE or not set(layers) <= set(VIT_LEVELS):
            return self._vision.vit(images, size, layers)
        found = [self.of(image) for image in images]
        return {level: torch.stack([one[f"vit-{level}"] for one in found]).float() for level in layers}

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, torch.Tensor]:
        """As in the towers."""
        if size != CONVOLUTIONAL_SIZE:
            return self._vision.efficientnet(images, size)
        found = [self.of(image) for image in images]
        return {level: torch.stack([one[f"efficientnet-{level}"] for one in found]).float() for level in (8, 16)}

    def of(self, image: Pixels) -> dict[str, torch.Tensor]:
        """Everything that is kept of one image (H, W, 3): (h, w, C) float16 by tower and level."""
        from safetensors.torch import load_file, save_file

        name = hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).hexdigest()
        path = self._folder / name[:2] / f"{name[2:]}.safetensors"
        if path.is_file():
            return load_file(path)
        convolutional = self._vision.efficientnet([image], CONVOLUTIONAL_SIZE)
        transformer = self._vision.vit([image], VIT_SIZE, VIT_LEVELS)
        found = {f"efficientnet-{level}": one[0] for level, one in convolutional.items()}
        found |= {f"vit-{level}": one[0] for level, one in transformer.items()}
        halved = {key: one.half().contiguous() for key, one in found.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        save_file(halved, draft)
        draft.replace(path)
        return halved


def chosen(root: Path, normals: int, limit: int) -> Iterator[tuple[Path, bool]]:
    """Images of a root and whether each is a normal of `train`; categories take turns."""
    rows = read_manifest(root)
    queues: list[list[tuple[Path, bool]]] = []
    for category in sorted({row["category"] for row in rows}):
        queue = []
        for split in ("train", "test"):
            for label in ("normal", "defective"):
                some = [r for r in rows if (r["category"], r["split"], r["label"]) == (category, split, label)]
                reference = (split, label) == ("train", "normal")
                order = np.arange(len(some)) if reference else np.random.default_rng(0).permutation(len(some))
                queue += [(root / some[i]["image"], reference) for i in order[: normals if reference else limit]]
        queues.append(queue)
    for group in zip_longest(*queues):
        yield from (one for one in group if one is not None)


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--normals", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--turned", action="store_true")
    args = parser.parse_args()
    try:
        images = [one for root in args.roots for one in chosen(root, args.normals, args.limit)]
        towers = StoredTowers(BundledVision.load(exact=True), args.store)
        started = time.monotonic()
        for index, (path, reference) in enumerate(images, start=1):
            pixels = read_image(path).pixels
            towers.of(pixels)
            if args.turned and reference:
                for quarter in (1, 2, 3):
                    towers.of(np.ascontiguousarray(np.rot90(pixels, quarter)))
            left = (time.monotonic() - started) / index * (len(images) - index)
            if index % 20 == 0:
                print(f"{index}/{len(images)} images, {left / 60:.0f} min left", file=sys.stderr, flush=True)
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
