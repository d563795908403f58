"""Images that are no picture of the product: what the comparison says of them, and of true ones.

    python benchmarks/evidence_unsuitable.py ROOT [ROOT ...] [--references 4] [--limit 15] [--cache DIR] [--json]

Of each category one draw of references is compared with normals of `train` that were made black, white, gray, noise,
over-exposed, under-exposed, blurred, cut out (another scale) or shrunk, with images of the other categories, and with
at most `--limit` true images of `test` a label. Told is which share is called normal, and which is named unsuitable.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from evidence import Remembering
from evidence_data import load, say, usable
from evidence_features import StoredTowers
from scipy import ndimage

from reason_iad.errors import ReasonIADError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels, resize

MAX_OVERKILL = 0.02  # the tool's default
SPOILED = 2  # normals of a category that are spoiled
OTHERS = "another product"
TRUE = "true test images"


def spoiled(pixels: Pixels, seed: int) -> Iterator[tuple[str, Pixels]]:
    """An image (H, W, 3) made unsuitable in several ways."""
    height, width = pixels.shape[:2]
    side, values = max(height, width), pixels.astype(np.float32)

    def clipped(changed: np.ndarray) -> Pixels:
        found: Pixels = np.clip(changed, 0, 255).astype(np.uint8)
        return found

    yield "black", np.zeros_like(pixels)
    yield "white", np.full_like(pixels, 255)
    yield "gray", np.full_like(pixels, 128)
    yield "noise", np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    yield "over-exposed", clipped(values * 2.5)
    yield "under-exposed", clipped(values * 0.15)
    yield "blurred", clipped(ndimage.gaussian_filter(values, (0.04 * side, 0.04 * side, 0)))
    yield "cut out", pixels[int(height * 0.3) : int(height * 0.7), int(width * 0.3) : int(width * 0.7)].copy()
    small = resize(pixels, (max(1, int(height * 0.4)), max(1, int(width * 0.4))))
    yield "shrunk", np.pad(small, ((int(height * 0.3),) * 2, (int(width * 0.3),) * 2, (0, 0)), mode="edge")


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--limit", type=int, default=15)
    parser.add_argument("--cache", type=Path, help="folder that keeps features; a temporary one if not given")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    told: dict[str, list[tuple[bool, bool]]] = {}
    try:
        categories = usable(args.roots, [], "test", [args.references])
        data = {name: load(root, args.limit, name, "test") for name, root in categories.items()}
        with tempfile.TemporaryDirectory() as folder:
            stored = StoredTowers(BundledVision.load(exact=True), args.cache or Path(folder))
            for category, images in data.items():
                vision = Remembering(stored)
                order = np.random.default_rng(0).permutation(len(images.normals))
                bank = MemoryBank.build([images.normals[i] for i in order[: args.references]], vision)
                shown = [(TRUE, item.pixels) for item in images.test]
                for seed, index in enumerate(order[args.references :][:SPOILED]):
                    shown += spoiled(images.normals[index], seed)
                shown += [(OTHERS, other.normals[0]) for name, other in data.items() if name != category]
                for kind, pixels in shown:
                    found = compare(pixels, bank, vision)
                    verdict = found.judge(MAX_OVERKILL)
                    told.setdefault(kind, []).append((verdict == "normal", found.unsuitable is not None))
                    if kind != TRUE and verdict == "normal":
                        say(f"{category}: {kind} is called normal, score {found.anomaly_score:.2f}")
                say(f"{category} is done")
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    result = {
        kind: {
            "n": len(some),
            "normal": float(np.mean([n for n, _ in some])),
            "named": float(np.mean([u for _, u in some])),
        }
        for kind, some in told.items()
    }
    print("| images | n | called normal | named as unsuitable |\n|---|---|---|---|")
    for kind, one in result.items():
        print(f"| {kind} | {one['n']} | {one['normal']:.3f} | {one['named']:.3f} |")
    if args.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
