"""Images of a manifest for the evidence benchmarks: references, test images, masks; what cannot be used is named.

`manifest.csv` has a row an image: image, category, split (train or test), label (normal or other), mask (or empty).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.images import Pixels, read_image

PAIRED = {"bare_pcb"}  # each board has its own template: see benchmarks/evidence_paired.py
MASK_SIDE = 112  # pixel figures are computed on this grid, or at full size where a mask would vanish on it
MOST = 16  # references that a draw keeps apart from the test images of `train`


@dataclass(frozen=True, eq=False)
class Item:
    """One image of the manifest, loaded.

    Attributes:
        pixels: (H, W, 3).
        defective: whether its label is another than normal.
        mask: which pixels are defective (H, W); (MASK_SIDE, MASK_SIDE) of a normal image; None where unknown.
    """

    pixels: Pixels
    defective: bool
    mask: np.ndarray | None


@dataclass(frozen=True)
class Category:
    """The images of a category: normals that references are drawn from, and those that figures are computed on."""

    normals: list[Pixels]
    test: list[Item]
    shared: bool  # the test's normals are those of `normals`, less the references

    def draw(self, seed: int, k: int) -> tuple[list[Pixels], list[Item]]:
        """References and test images of a seed; a smaller k draws the first of a larger one."""
        order = [int(i) for i in np.random.default_rng(seed).permutation(len(self.normals))]
        if not self.shared:
            return [self.normals[i] for i in order[:k]], self.test
        most = min(max(k, MOST), len(self.normals) - 3)
        empty = np.zeros((MASK_SIDE, MASK_SIDE), dtype=bool)
        others = [Item(self.normals[i], False, empty) for i in order[most:][:20]]
        return [self.normals[i] for i in order[: min(k, most)]], [*others, *self.test]


def say(text: str) -> None:
    """Tell the person who watches."""
    print(text, file=sys.stderr, flush=True)


def read_manifest(root: Path, only: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a manifest, of some categories or of all that are not paired.

    Raises:
        InputError: there is none.
    """
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{manifest} does not exist; expected a folder with a manifest.csv and its images")
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["category"] not in PAIRED and (not only or row["category"] in only)]


def usable(roots: Sequence[Path], only: Sequence[str], split: str, shots: Sequence[int]) -> dict[str, Path]:
    """Root of each category that figures can be computed for; the others are named with the reason.

    Raises:
        InputError: no category is left, or two roots hold one of the same name.
    """
    found: dict[str, Path] = {}
    for root in roots:
        rows = read_manifest(root, only)
        for category in sorted({row["category"] for row in rows}):
            mine = [row for row in rows if row["category"] == category]
            normals = sum((row["split"], row["label"]) == ("train", "normal") for row in mine)
            spare = 3 if split == "train" else 0
            labels = {row["label"] == "normal" for row in mine if row["split"] == split}
            if normals < min(shots) + spare:
                say(f"{category} is passed over: {normals} normals of train for {min(shots)} references")
            elif len(labels) < 2:
                say(f"{category} is passed over: its {split} images are all of one label")
            elif category in found:
                raise InputError(f"{root} and {found[category]} both hold {category}; give one of them")
            else:
                found[category] = root
                if normals - spare < max(shots):
                    say(f"{category} has {normals - spare} normals for references: all of them at k = {max(shots)}")
    if not found:
        raise InputError(f"{', '.join(map(str, roots))}: no category can be measured; see what was passed over")
    return found


def load(root: Path, limit: int, category: str, split: str) -> Category:
    """Normals of train, and the chosen test images, of a category."""
    mine = read_manifest(root, [category])
    normals = [root / row["image"] for row in mine if (row["split"], row["label"]) == ("train", "normal")]
    test: list[Item] = []
    for normal in (True, False) if split == "test" else (False,):
        some = [row for row in mine if row["split"] == split and (row["label"] == "normal") == normal]
        order = np.random.default_rng(0).permutation(len(some))  # so that a smaller limit takes the first
        test += [load_item(root, some[i]) for i in order[:limit]]
    return Category([read_image(path).pixels for path in normals], test, split == "train")


def load_item(root: Path, row: dict[str, str]) -> Item:
    """One test image with its mask; a normal one has an empty mask."""
    pixels = read_image(root / row["image"]).pixels
    mask: np.ndarray | None = None
    if row["label"] == "normal":
        mask = np.zeros((MASK_SIDE, MASK_SIDE), dtype=bool)
    elif row["mask"]:
        mask = read_mask(root / row["mask"], pixels.shape[:2])
    return Item(pixels, row["label"] != "normal", mask)


def read_mask(path: Path, image_hw: tuple[int, ...]) -> np.ndarray | None:
    """Which pixels are defective, (H, W) of the mask's file; None where the file does not fit the image, which is said.

    A file whose transparency varies is read by that, another by its brightness: from the middle on, or, where it holds
    numbers of classes, from 1 on.
    """
    with Image.open(path) as image:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        gray = np.asarray(image if image.mode in ("L", "I;16", "I", "1") else image.convert("L")).astype(np.int64)
    if alpha.min() < alpha.max():
        say(f"{path}: read by its transparency")
        found = alpha > 127
    elif 0 < gray.max() <= 32:
        say(f"{path}: read as numbers of classes up to {gray.max()}")
        found = gray > 0
    else:
        found = gray > gray.max() / 2 if gray.max() > 0 else gray > 0
    height, width = found.shape
    if abs(height / image_hw[0] / (width / image_hw[1]) - 1) > 0.02:
        say(f"{path} is refused: {width} x {height} does not fit the image of {image_hw[1]} x {image_hw[0]}")
        return None
    if (height, width) != image_hw:
        say(f"{path}: {width} x {height}, scaled to the image of {image_hw[1]} x {image_hw[0]}")
    return found


def on_grid(mask: np.ndarray) -> np.ndarray:
    """A mask on the grid of pixel figures; at its full size where it would vanish there."""
    rows = ((np.arange(MASK_SIDE) + 0.5) * mask.shape[0] / MASK_SIDE).astype(int)
    columns = ((np.arange(MASK_SIDE) + 0.5) * mask.shape[1] / MASK_SIDE).astype(int)
    small: np.ndarray = mask[rows[:, None], columns[None]]
    return mask if mask.any() and not small.any() else small


def meets(mask: np.ndarray, box: tuple[int, int, int, int], image_hw: tuple[int, ...]) -> bool:
    """Whether a box in pixels of an image of `image_hw` holds a defective pixel of its mask (H, W)."""
    y, x = mask.shape[0] / image_hw[0], mask.shape[1] / image_hw[1]
    left, top, right, bottom = box
    return bool(mask[int(top * y) : -int(-bottom * y // 1), int(left * x) : -int(-right * x // 1)].any())
