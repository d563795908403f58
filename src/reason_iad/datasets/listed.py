"""Data sets that list their images in a file: raw VisA, Real-IAD, and `manifest.csv`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault, ImageDataset, ImageSample, Split, refuse_empty
from reason_iad.datasets.manifest import FILE, read_rows
from reason_iad.errors import InputError

VISA_SPLIT = "split_csv/1cls.csv"
VISA_EXPECTED = f"{VISA_SPLIT} and <category>/Data/Images/{{Normal,Anomaly}}/, masks in <category>/Data/Masks/Anomaly/"
REAL_IAD_EXPECTED = (
    "realiad_jsons/<category>.json, and images in <category>/ (or realiad_1024/<category>/, realiad_512/, realiad_256/)"
)


def read_visa_raw(root: Path) -> ImageDataset:
    """Read VisA as it is published, with the split of its own table (`split_csv/1cls.csv`).

    Raises:
        InputError: the table is missing, or lists nothing that exists.
    """
    path = root / VISA_SPLIT
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); raw VisA keeps its split there: {VISA_EXPECTED}") from error
    if not rows or not {"object", "split", "label", "image", "mask"} <= set(rows[0]):
        raise InputError(f"{path} has other columns; expected object, split, label, image and mask")
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for row in rows:
        defective = row["label"] != "normal"
        split: Split = "train" if row["split"] == "train" else "test"
        _add(root, row["image"], row["object"], split, defective, "anomaly", row["mask"], samples, faults)
    refuse_empty("VisA", root, samples, VISA_EXPECTED)
    return ImageDataset("VisA", tuple(samples), tuple(faults))


def read_real_iad(root: Path) -> ImageDataset:
    """Read Real-IAD by its JSON files, one a category.

    Raises:
        InputError: there is none, or one is in another layout.
    """
    files = sorted(path for folder in root.glob("realiad_jsons*") for path in folder.rglob("*.json"))
    if not files:
        raise InputError(f"{root} holds no realiad_jsons/*.json; expected {REAL_IAD_EXPECTED}")
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for file in files:
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
            meta: dict[str, Any] = listed["meta"]
            prefix, normal = str(meta["prefix"]).strip("/"), str(meta["normal_class"])
            entries: list[tuple[Split, Any]] = [("train", one) for one in listed["train"]]
            entries += [("test", one) for one in listed["test"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} cannot be read ({error!r}); expected meta, train and test of Real-IAD") from error
        folder = _image_folder(root, prefix)
        for split, entry in entries:
            kind = str(entry.get("anomaly_class", normal))
            mask = entry.get("mask_path")
            _add(
                root, f"{folder}/{entry['image_path']}", str(entry.get("category", file.stem)), split, kind != normal,
                kind, f"{folder}/{mask}" if mask else "", samples, faults,
            )  # fmt: skip
    refuse_empty("Real-IAD", root, samples, REAL_IAD_EXPECTED)
    return ImageDataset("Real-IAD", tuple(samples), tuple(faults))


def _image_folder(root: Path, prefix: str) -> str:
    """Where the images of a category lie: at the largest size there is."""
    for size in ("realiad_1024", "realiad_512", "realiad_256"):
        if (root / size / prefix).is_dir():
            return f"{size}/{prefix}"
    return prefix


def read_manifest(root: Path) -> ImageDataset:
    """Read the images that `manifest.csv` lists, with masks, boxes and groups where it has them.

    Raises:
        InputError: the file is missing, or lists nothing that exists.
    """
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for row in read_rows(root):
        defective = row["label"] != "normal"
        split: Split = "train" if row["split"] == "train" else "test"
        boxes = _boxes(row, faults)
        _add(
            root, row["image"], row["category"], split, defective, row.get("defect_type") or "defect",
            row.get("mask", ""), samples, faults, boxes, row.get("group", ""),
        )  # fmt: skip
    refuse_empty("the manifest", root, samples, f"the images that {root / FILE} lists, below {root}")
    return ImageDataset(root.name, tuple(samples), tuple(faults))


def _boxes(row: dict[str, str], faults: list[Fault]) -> tuple[tuple[int, int, int, int], ...]:
    text = row.get("boxes", "")
    if not text:
        return ()
    try:
        return tuple((int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1, *_ in json.loads(text))
    except (ValueError, TypeError) as error:
        faults.append(Fault(row["image"], f"its boxes {text!r} cannot be read ({error}); expected [[x0, y0, x1, y1]]"))
        return ()


def _add(
    root: Path,
    name: str,
    category: str,
    split: Split,
    defective: bool,
    defect_type: str,
    mask: str,
    samples: list[ImageSample],
    faults: list[Fault],
    boxes: tuple[tuple[int, int, int, int], ...] = (),
    group: str = "",
) -> None:
    """Add an image that a file lists, or say that it is missing."""
    image = root / name
    if not image.is_file():
        faults.append(Fault(name, f"the image is missing; expected it at {image}"))
        return
    masks: tuple[Path, ...] = ()
    if defective and mask:
        if (root / mask).is_file():
            masks = (root / mask,)
        else:
            faults.append(Fault(name, f"its mask is missing; expected it at {root / mask}"))
    kind = defect_type if defective else None
    samples.append(ImageSample(image, name, category, split, defective, kind, masks, boxes if defective else (), group))
