"""KolektorSDD (an image and a label image side by side, a folder an item) and KolektorSDD2 (train and test folders).

KolektorSDD has no split into normal training and test images of its own: here the normal images of every second item
are training images, so that no item stands on both sides.
"""

from __future__ import annotations

from pathlib import Path

from reason_iad.datasets.base import (
    Fault,
    ImageDataset,
    ImageSample,
    Split,
    first_file,
    folders_in,
    images_in,
    refuse_empty,
    relative_name,
)
from reason_iad.datasets.masks import marks_anything
from reason_iad.errors import ImageError

EXPECTED = "kos01/Part0.jpg with kos01/Part0_label.bmp, and so on"
EXPECTED_2 = "train/10000.png with train/10000_GT.png, and the same in test/"


def read_kolektor(root: Path) -> ImageDataset:
    """Read KolektorSDD.

    Raises:
        InputError: there is no image where it keeps them.
    """
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for number, folder in enumerate(one for one in folders_in(root) if one.name.startswith("kos")):
        for path in images_in(folder):
            if path.stem.endswith("_label"):
                continue
            label = first_file([folder / f"{path.stem}_label{suffix}" for suffix in (".bmp", ".png")])
            name = relative_name(path, root)
            if label is None:
                faults.append(Fault(name, f"its label {path.stem}_label.bmp is missing beside it; left out"))
                continue
            defective = _is_marked(label, name, faults)
            if defective is None:
                continue
            split: Split = "train" if number % 2 == 0 and not defective else "test"
            samples.append(_sample(path, name, split, defective, label, folder.name))
    refuse_empty("KolektorSDD", root, samples, EXPECTED)
    return ImageDataset("KolektorSDD", tuple(samples), tuple(faults))


def read_kolektor_2(root: Path) -> ImageDataset:
    """Read KolektorSDD2; defective training images are left out, since references must be normal.

    Raises:
        InputError: there is no image where it keeps them.
    """
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        for path in images_in(root / split):
            if path.stem.endswith("_GT"):
                continue
            name, label = relative_name(path, root), path.with_name(f"{path.stem}_GT.png")
            if not label.is_file():
                faults.append(Fault(name, f"its mask {label.name} is missing beside it; left out"))
                continue
            defective = _is_marked(label, name, faults)
            if defective is None or (defective and split == "train"):
                continue
            samples.append(_sample(path, name, split, defective, label, ""))
    refuse_empty("KolektorSDD2", root, samples, EXPECTED_2)
    return ImageDataset("KolektorSDD2", tuple(samples), tuple(faults))


def _sample(path: Path, name: str, split: Split, defective: bool, label: Path, group: str) -> ImageSample:
    kind, masks = ("crack", (label,)) if defective else (None, ())
    return ImageSample(path, name, "commutator", split, defective, kind, masks, (), group)


def _is_marked(label: Path, name: str, faults: list[Fault]) -> bool | None:
    """Whether anything is marked as defective in a label image; None where it cannot be read."""
    try:
        return marks_anything(label)
    except ImageError as error:
        faults.append(Fault(name, f"its label cannot be read ({error}); left out"))
        return None
