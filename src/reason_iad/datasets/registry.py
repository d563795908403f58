"""Data sets by name, and which layout a folder has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from reason_iad.datasets import cross_domain, folders, kaputt, kolektor, listed
from reason_iad.datasets.base import ImageDataset, images_in
from reason_iad.datasets.manifest import FILE
from reason_iad.datasets.names import images_below, masked_stem, plain, subfolders
from reason_iad.errors import InputError

READERS: dict[str, Callable[[Path], ImageDataset]] = {
    "mvtec_ad": partial(folders.read_folders, layout=folders.MVTEC_AD),
    "mvtec_loco": partial(folders.read_folders, layout=folders.MVTEC_LOCO),
    "visa": partial(folders.read_folders, layout=folders.VISA),
    "visa_raw": listed.read_visa_raw,
    "real_iad": listed.read_real_iad,
    "mvtec_ad_2": partial(folders.read_folders, layout=folders.MVTEC_AD_2),
    "autovi": partial(folders.read_folders, layout=folders.AUTOVI),
    "kaputt": kaputt.read_kaputt,
    "cross_domain_vad": cross_domain.read_cross_domain,
    "mpdd": partial(folders.read_folders, layout=folders.MPDD),
    "btad": partial(folders.read_folders, layout=folders.BTAD),
    "kolektor_sdd": kolektor.read_kolektor,
    "kolektor_sdd2": kolektor.read_kolektor_2,
    "goods_ad": partial(folders.read_folders, layout=folders.GOODS_AD),
    "manifest": listed.read_manifest,
    "folder": folders.read_plain,
}


def read_dataset(root: Path, layout: str = "auto") -> ImageDataset:
    """Read a data set.

    Args:
        root: its folder; of the layouts with a folder a category also that of one category.
        layout: one of `READERS`, or "auto" to tell it from what lies there.

    Raises:
        InputError: no such folder or layout, or nothing where the layout keeps it.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder; expected the folder of a data set: check --root")
    if layout == "auto":
        layout = recognize_layout(root)
    if layout not in READERS:
        raise InputError(f"the layout is {layout!r}; expected one of auto, {', '.join(READERS)}")
    return READERS[layout](root)


def recognize_layout(root: Path) -> str:
    """Tell a layout from files and folders that only it has."""
    if (root / FILE).is_file():
        return "manifest"
    if (root / listed.VISA_SPLIT).is_file():
        return "visa_raw"
    if kaputt.find_tables(root) is not None:
        return "kaputt"
    if cross_domain.find_manifests(root):
        return "cross_domain_vad"
    if any(root.glob("realiad_jsons*")):
        return "real_iad"
    if any(images_in(folder) for folder in root.glob("kos*")):
        return "kolektor_sdd"
    if next((root / "train").glob("*_GT.png"), None) is not None:
        return "kolektor_sdd2"
    categories = folders.find_categories(root)
    if not any(one.training and one.tests != [one.folder] for one in categories):
        return "folder"
    below = [one for category in categories for one in subfolders(category.folder)]
    if any(plain(one.name) == "testpublic" for one in below):
        return "mvtec_ad_2"
    kinds = {one.name for category in categories for test in category.tests for one in subfolders(test)}
    if "logical_anomalies" in kinds:
        return "mvtec_loco"
    if any(one.name == "ok" for category in categories for folder in category.training for one in subfolders(folder)):
        return "btad"
    masks = [mask for category in categories for folder in category.masks for mask in images_below(folder)[:1]]
    if any((category.folder / "defects_config.json").is_file() for category in categories):
        return "autovi"
    if not masks or any(masked_stem(mask.stem) for mask in masks):
        return "mvtec_ad"
    return "visa" if kinds <= {"good", "bad"} else "goods_ad"
