"""Data sets that list their images in a file: raw VisA, Real-IAD, and `manifest.csv`."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault, ImageDataset, ImageSample, Split, refuse_empty
from reason_iad.datasets.manifest import FILE, read_rows
from reason_iad.datasets.mmad_entry import find_file
from reason_iad.datasets.names import TEST, TRAINING, VALIDATION, is_normal, plain
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
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); raw VisA keeps its split there: {VISA_EXPECTED}") from error
    if not rows or not {"object", "split", "label", "image", "mask"} <= set(rows[0]):
        raise InputError(f"{path} has other columns; expected object, split, label, image and mask")
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    for number, row in enumerate(rows, start=2):
        adder = _Adder(root, Path(VISA_SPLIT).name, number, samples, faults)
        adder.add_row(row["image"], row["object"], row["split"], row["label"], "anomaly", row["mask"])
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
        for number, (split, entry) in enumerate(entries, start=1):
            adder = _Adder(root, file.name, None, samples, faults)
            if not isinstance(entry, dict) or not isinstance(entry.get("image_path"), str):
                faults.append(Fault(f"entry {number}", "has no image_path; expected text; left out", file.name))
                continue
            kind, mask = str(entry.get("anomaly_class", normal)), entry.get("mask_path")
            adder.add(
                f"{folder}/{entry['image_path']}", str(entry.get("category", file.stem)), split, kind != normal,
                kind, f"{folder}/{mask}" if mask else "",
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
    for number, row in read_rows(root):
        adder = _Adder(root, FILE, number, samples, faults)
        kind = row.get("defect_type") or "defect"
        adder.add_row(
            row["image"], row["category"], row["split"], row["label"], kind, row.get("mask") or "",
            row.get("boxes") or "", row.get("group") or "",
        )  # fmt: skip
    refuse_empty("the manifest", root, samples, f"the images that {root / FILE} lists, below {root}")
    return ImageDataset(root.name, tuple(samples), tuple(faults))


@dataclass
class _Adder:
    """Adds an image that a file lists, or says what is wrong with its line."""

    root: Path
    file: str
    line: int | None
    samples: list[ImageSample]
    faults: list[Fault]

    def add_row(
        self,
        name: str | None,
        category: str | None,
        split: str | None,
        label: str | None,
        defect_type: str,
        mask: str,
        boxes: str = "",
        group: str = "",
    ) -> None:
        """Add what a line says in words."""
        if not label or not label.strip() or not category:
            missing = "label" if category and split else "split" if category else "category"
            self._fault(name or "", missing, "is empty; expected a word: the image is left out")
            return
        part: Split = "train" if plain(split or "") in TRAINING else "test"
        if plain(split or "") not in TRAINING | TEST | VALIDATION:
            self._fault(name or "", "split", f"is {split!r}; expected train or test: it is taken for test")
        defective = not (is_normal(label) or plain(label) in ("0", "false"))
        self.add(name or "", category, part, defective, defect_type, mask, self._boxes(name or "", boxes), group)

    def add(
        self,
        name: str,
        category: str,
        split: Split,
        defective: bool,
        defect_type: str,
        mask: str,
        boxes: tuple[tuple[int, int, int, int], ...] = (),
        group: str = "",
    ) -> None:
        """Add an image whose label is known, or say that it is missing."""
        image = find_file(self.root, name)
        if image is None:
            self._fault(name, "image", f"the image is missing; expected it at {self.root / name}")
            return
        masks: tuple[Path, ...] = ()
        if defective and mask:
            found = find_file(self.root, mask)
            if found is None:
                self._fault(name, "mask", f"its mask is missing; expected it at {self.root / mask}")
            masks = () if found is None else (found,)
        kind = defect_type if defective else None
        said = "a reference" if split == "train" and not defective else f"defective, {kind}" if defective else "normal"
        self.samples.append(
            ImageSample(
                image,
                name,
                category,
                split,
                defective,
                kind,
                masks,
                boxes if defective else (),
                group,
                f"{said}, by {self.file}",
            )
        )

    def _boxes(self, name: str, text: str) -> tuple[tuple[int, int, int, int], ...]:
        if not text:
            return ()
        try:
            return tuple((int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1, *_ in json.loads(text))
        except (ValueError, TypeError) as error:
            self._fault(name, "boxes", f"its boxes {text!r} cannot be read ({error}); expected [[x0, y0, x1, y1]]")
            return ()

    def _fault(self, name: str, field: str, what: str) -> None:
        self.faults.append(Fault(name, what, self.file, self.line, field))
