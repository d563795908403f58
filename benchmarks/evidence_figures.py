"""The figure of docs/evidence.md: maps of good and defective parts on one fixed scale.

    python benchmarks/evidence_figures.py [--out docs/images/evidence.png]

The parts are those of the demo, which come with the package. Each is compared with its three references.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from reason_iad.cli.demo import IMAGES
from reason_iad.evidence.compare import compare
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import read_image, resize
from reason_iad.models.vision import BundledVision
from reason_iad.reporting.figures import map_overlay

SIDE = 200  # pixels of a picture
GAP = 6


def main() -> int:
    """Draw one row for each part: the image, and the image under its map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/evidence.png"))
    out = parser.parse_args().out
    vision = BundledVision.load()
    files = sorted(IMAGES.glob("*.jpg"))
    groups = {file.name.split("_")[0] for file in files}
    pairs = []
    for group in sorted(groups):
        mine = [file for file in files if file.name.startswith(f"{group}_")]
        references = [file for file in mine if re.search(r"_reference_\d+$", file.stem)]
        bank = MemoryBank.build([read_image(file).pixels for file in references], vision)
        for file in sorted(set(mine) - set(references), key=lambda one: ("normal" not in one.name, one.name)):
            pixels = read_image(file).pixels
            pairs.append((file.stem.replace("_", " "), pixels, compare(pixels, bank, vision)))
    columns = 3
    rows = -(-len(pairs) // columns)
    canvas = Image.new("RGB", (columns * (SIDE + GAP) + GAP, rows * (2 * SIDE + 3 * GAP + 14) + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (name, pixels, found) in enumerate(pairs):
        left = GAP + index % columns * (SIDE + GAP)
        top = GAP + index // columns * (2 * SIDE + 3 * GAP + 14)
        picture = Image.fromarray(resize(pixels, (SIDE, SIDE)))
        draw.text((left, top), f"{name}, score {found.anomaly_score:.2f}", fill="black")
        canvas.paste(picture, (left, top + 14))
        gray = Image.fromarray(np.asarray(picture.convert("L").convert("RGB")) // 2 + 96).convert("RGBA")
        overlay = Image.fromarray(map_overlay(found.anomaly_map, (SIDE, SIDE)))
        canvas.paste(Image.alpha_composite(gray, overlay).convert("RGB"), (left, top + 14 + SIDE + GAP))
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(out, optimize=True)
    print(f"{out}: {len(pairs)} parts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
