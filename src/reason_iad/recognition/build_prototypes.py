"""Make category prototypes from labeled images: `python -m reason_iad.recognition.build_prototypes --manifest FILE`.

The manifest is a CSV file with the columns image (path beside the manifest), category, split and may_train. Only
images of the split `train` with may_train = yes are used, so that the result may be shipped.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.images import read_image
from reason_iad.models.base import VisionTowers
from reason_iad.models.vision import BundledVision
from reason_iad.recognition.prototypes import STARTER_PROTOTYPES, CategoryPrototypes, Floats, image_embedding

COLUMNS = ("image", "category", "split", "may_train")


def main(arguments: list[str] | None = None) -> int:
    """Build and save prototypes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="CSV file beside the images")
    parser.add_argument("--output", type=Path, default=STARTER_PROTOTYPES, help="default: the starter prototypes")
    options = parser.parse_args(arguments)
    try:
        images = select_images(options.manifest)
        vision = BundledVision.load(exact=True)
        prototypes = CategoryPrototypes.build({name: _embed(name, images[name], vision) for name in images})
        prototypes.save(options.output)
    except ReasonIADError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(  # noqa: T201
        f"{options.output}: {', '.join(prototypes.categories)}; threshold {prototypes.threshold:.3f}, "
        f"temperature {prototypes.temperature:g}"
    )
    return 0


def select_images(manifest: Path) -> dict[str, list[Path]]:
    """The images that may be used, by category in order of name.

    Raises:
        InputError: the manifest is missing, lacks a column, or allows no image.
    """
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or [])]:
                raise InputError(f"{manifest} lacks the columns {missing}; expected {', '.join(COLUMNS)}")
            rows = [row for row in reader if row["split"] == "train" and row["may_train"] == "yes"]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{manifest} cannot be read ({error}); expected a CSV file in UTF-8") from error
    if not rows:
        raise InputError(f"{manifest} has no row with split=train and may_train=yes; expected images that may be used")
    images: dict[str, list[Path]] = {}
    for row in sorted(rows, key=lambda row: (row["category"], row["image"])):
        images.setdefault(row["category"], []).append(manifest.parent / row["image"])
    return images


def _embed(category: str, paths: list[Path], vision: VisionTowers) -> Floats:
    print(f"{category}: {len(paths)} images", file=sys.stderr)  # noqa: T201
    return np.stack([image_embedding(read_image(path).pixels, vision) for path in paths])


if __name__ == "__main__":
    raise SystemExit(main())
