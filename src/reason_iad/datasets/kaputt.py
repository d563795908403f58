"""Kaputt (Hoefer et al., 2025): parcels' items in trays, each with one to three references of the same item.

Layout read from the data set's own README and from anomalib's reader: `query-<split>.parquet` and
`reference-<split>.parquet` at the root or under `datasets/`, with paths of images relative to the root, or to
`query-image/` and `reference-image/`. Its masks show the item, not the defect, so they do not say where a defect is.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reason_iad.datasets.base import Fault, ImageDataset, ImageSample, refuse_empty
from reason_iad.errors import InputError

Picture = Literal["crop", "image"]
EXPECTED = (
    "query-test.parquet and reference-test.parquet (at the root or under datasets/), and the images that they name "
    "(from the root, or from query-crop/ and reference-crop/)"
)
QUERY = ("capture_id", "item_identifier", "defect", "defect_types", "item_material")


def find_tables(root: Path) -> Path | None:
    """The folder that holds the tables; None where there is none."""
    return next((one for one in (root, root / "datasets") if (one / "query-test.parquet").is_file()), None)


def read_kaputt(root: Path, picture: Picture = "crop") -> ImageDataset:
    """Read the test split: every query with the references of its own item; categories are the materials.

    Args:
        root: of the data set.
        picture: the item cut out of its tray, as the published baselines take it, or the whole tray.

    Raises:
        InputError: the tables are missing or have other columns, or pyarrow is not installed.
    """
    tables = find_tables(root)
    if tables is None:
        raise InputError(f"{root} holds no query-test.parquet; Kaputt keeps it there or under datasets/: {EXPECTED}")
    faults: list[Fault] = []
    references = _references(root, tables / "reference-test.parquet", picture, faults)
    samples: list[ImageSample] = []
    column = f"query_{picture}"
    minor = 0
    for number, row in enumerate(_rows(tables / "query-test.parquet", (*QUERY, column)), start=1):
        where = str(row["capture_id"])
        name, image = _find(root, f"query-{picture}", row[column])
        if image is None:
            faults.append(Fault(where, f"the image is missing; expected it at {root / str(row[column])}",
                                "query-test.parquet", number, column))  # fmt: skip
            continue
        if row["defect"] is None:
            faults.append(Fault(where, "is empty; expected true or false: left out", "query-test.parquet", number,
                                "defect"))  # fmt: skip
            continue
        item = str(row["item_identifier"])
        defective = bool(row["defect"])
        minor += defective and not bool(row.get("major_defect", True))
        kinds = "+".join(sorted(part.strip() for part in str(row["defect_types"] or "").split(",") if part.strip()))
        if item not in references:
            faults.append(Fault(where, f"its item {item} has no reference; left out", "reference-test.parquet"))
            continue
        samples.append(
            ImageSample(
                image, name, str(row["item_material"] or "unknown"), "test", defective,
                (kinds or "defect") if defective else None, group=item, references=references[item],
                taken=f"{'defective' if defective else 'normal'}, by query-test.parquet",
            )
        )  # fmt: skip
    refuse_empty("Kaputt", root, samples, EXPECTED)
    taken = (
        f"test split, {picture}s of the items: {len(samples)} queries, {sum(s.defective for s in samples)} defective "
        f"({minor} of them minor), each compared with the references of its own item",
        "masks show the items and not the defects, so nothing is measured pixel by pixel",
    )
    return ImageDataset("Kaputt", tuple(samples), tuple(faults), taken)


def _references(root: Path, table: Path, picture: Picture, faults: list[Fault]) -> dict[str, tuple[Path, ...]]:
    column = f"reference_{picture}"
    found: dict[str, list[Path]] = defaultdict(list)
    for number, row in enumerate(_rows(table, ("item_identifier", column)), start=1):
        for name in str(row[column] or "").split(","):
            _, image = _find(root, f"reference-{picture}", name.strip())
            if image is None:
                faults.append(Fault(str(row["item_identifier"]), f"its reference is missing; expected it at "
                                    f"{root / name.strip()}", table.name, number, column))  # fmt: skip
            else:
                found[str(row["item_identifier"])].append(image)
    return {item: tuple(images) for item, images in found.items()}


def _find(root: Path, folder: str, name: Any) -> tuple[str, Path | None]:
    """An image that a table names, relative to the root or to the folder that its archive unpacks to."""
    text = os.fspath(str(name or ""))
    for relative in (text, f"{folder}/{text}"):
        if text and ".." not in Path(text).parts and (root / relative).is_file():
            return relative, root / relative
    return text, None


def _rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path} is a Parquet file and pyarrow is not installed; expected it for Kaputt: "
            "pip install 'reason-iad[datasets]'"
        ) from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({error}); expected {EXPECTED}") from error
    if missing := sorted(set(columns) - set(table.column_names)):
        raise InputError(f"{path} has the columns {sorted(table.column_names)}; expected also {', '.join(missing)}")
    found: list[Mapping[str, Any]] = table.to_pylist()
    return found
