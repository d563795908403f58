"""Data sets with a folder for each category and, in it, a folder for each defect type.

They differ in what normal images are called and in where and how masks are named; each difference is a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reason_iad.datasets.base import (
    Fault,
    ImageDataset,
    ImageSample,
    first_file,
    folders_in,
    images_in,
    refuse_empty,
    relative_name,
)

MASK_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class FolderLayout:
    """Where a data set keeps its images.

    Attributes:
        name: of the data set.
        normal: what the folder of normal images is called.
        training: folders with normal training images, below the category.
        masks: folder of the masks, below the category; below it a folder a defect type.
        mask_stem: name of a mask without suffix, from that of its image.
        several_masks: whether an image has a folder of masks instead of one.
    """

    name: str
    normal: str = "good"
    training: tuple[str, ...] = ("train/good",)
    masks: str = "ground_truth"
    mask_stem: Callable[[str], str] = lambda stem: f"{stem}_mask"
    several_masks: bool = False

    @property
    def expected(self) -> str:
        """What lies where, in words."""
        mask = f"<image>/{'000'}.png" if self.several_masks else f"{self.mask_stem('<image>')}.png"
        return (
            f"<category>/{self.training[0]}/ with normal images, <category>/test/{self.normal}/ and "
            f"<category>/test/<defect_type>/ with test images, <category>/{self.masks}/<defect_type>/{mask} with masks"
        )


def _same_stem(stem: str) -> str:
    return stem


MVTEC_AD = FolderLayout("MVTec AD")
MPDD = FolderLayout("MPDD")
MVTEC_LOCO = FolderLayout("MVTec LOCO", training=("train/good", "validation/good"), several_masks=True)
BTAD = FolderLayout("BTAD", normal="ok", training=("train/ok",), mask_stem=_same_stem)
GOODS_AD = FolderLayout("GoodsAD", mask_stem=_same_stem)
VISA = FolderLayout("VisA (1-class layout)", mask_stem=_same_stem)


def read_folders(root: Path, layout: FolderLayout) -> ImageDataset:
    """Read a data set; `root` may also be the folder of one category.

    Raises:
        InputError: there is no image where the layout keeps them.
    """
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for folder in _categories(root):
        base = root.parent if folder == root else root
        _read_training(base, folder, layout, samples, faults)
        _read_tests(base, folder, layout, samples, faults)
    refuse_empty(layout.name, root, samples, layout.expected)
    return ImageDataset(layout.name, tuple(samples), tuple(faults))


def _categories(root: Path) -> list[Path]:
    if (root / "train").is_dir() or (root / "test").is_dir():
        return [root]
    return [one for one in folders_in(root) if (one / "train").is_dir() or (one / "test").is_dir()]


def _read_training(
    base: Path, folder: Path, layout: FolderLayout, samples: list[ImageSample], faults: list[Fault]
) -> None:
    found = [path for part in layout.training for path in images_in(folder / part)]
    if not found:
        where = folder / layout.training[0]
        faults.append(Fault(folder.name, f"{where} holds no image; {layout.name} keeps normal training images there"))
    samples.extend(ImageSample(path, relative_name(path, base), folder.name, "train", False) for path in found)


def _read_tests(
    base: Path, folder: Path, layout: FolderLayout, samples: list[ImageSample], faults: list[Fault]
) -> None:
    kinds = folders_in(folder / "test")
    if not kinds:
        faults.append(Fault(folder.name, f"{folder / 'test'} holds no folder; {layout.name} keeps test images there"))
    for kind in kinds:
        for path in images_in(kind):
            name = relative_name(path, base)
            if kind.name == layout.normal:
                samples.append(ImageSample(path, name, folder.name, "test", False))
                continue
            masks = _masks(folder, kind.name, path, layout)
            if not masks:
                where = folder / layout.masks / kind.name
                faults.append(Fault(name, f"its mask is missing; {layout.name} keeps it under {where}"))
            samples.append(ImageSample(path, name, folder.name, "test", True, kind.name, masks))


def _masks(folder: Path, kind: str, image: Path, layout: FolderLayout) -> tuple[Path, ...]:
    where = folder / layout.masks / kind
    if layout.several_masks:
        return tuple(images_in(where / image.stem))
    found = first_file([where / f"{layout.mask_stem(image.stem)}{suffix}" for suffix in MASK_SUFFIXES])
    return () if found is None else (found,)


def read_plain(root: Path) -> ImageDataset:
    """Read a plain folder: `good/` or `normal/` and a folder for each defect type, or these below `test/`.

    Normal training images lie in `train/` (or `train/good/`) or `reference/`; masks, where there are any, in
    `masks/<defect_type>/` or `ground_truth/<defect_type>/` under the image's own name or with `_mask` behind it.

    Raises:
        InputError: there is no such folder with images.
    """
    normal = ("good", "normal", "ok")
    top = root / "test" if (root / "test").is_dir() else root
    aside = {"train", "reference", "references", "masks", "mask", "ground_truth"}
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    training = ("train/good", "train/normal", "train", "reference", "references")
    goods = [path for one in training for path in images_in(root / one)]
    samples.extend(ImageSample(path, relative_name(path, root), root.name, "train", False) for path in goods)
    if not samples:
        faults.append(Fault(root.name, f"no normal training image; put some into {root / 'reference'}"))
    for kind in folders_in(top):
        if top == root and kind.name.lower() in aside:
            continue
        defective = kind.name.lower() not in normal
        for path in images_in(kind):
            mask = _plain_mask(root, kind.name, path) if defective else None
            samples.append(
                ImageSample(
                    path, relative_name(path, root), root.name, "test", defective, kind.name if defective else None,
                    () if mask is None else (mask,),
                )
            )  # fmt: skip
    tests = [sample for sample in samples if sample.split == "test"]
    refuse_empty("a plain folder", root, tests, "good/ with normal images and a folder for each defect type")
    return ImageDataset(root.name, tuple(samples), tuple(faults))


def _plain_mask(root: Path, kind: str, image: Path) -> Path | None:
    stems = (image.stem, f"{image.stem}_mask")
    return first_file(
        [
            root / folder / kind / f"{stem}{suffix}"
            for folder in ("masks", "mask", "ground_truth")
            for stem in stems
            for suffix in MASK_SUFFIXES
        ]
    )
