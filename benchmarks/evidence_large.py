"""A fault of 20 pixels on a board of 4,000: found whole and in tiles, with the time it takes.

    python benchmarks/evidence_large.py [--side 4000] [--fault 20] [--boards 4] [--tiles 8] [--json]

Boards are drawn: conductors at fixed places, noise and light that differ. Two good ones are the references.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import FAST_STREAMS, EvidenceOptions, tiled_streams
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels
from reason_iad.models.vision import BundledVision


def board(seed: int, side: int) -> Pixels:
    """A good board (side, side, 3)."""
    rng = np.random.default_rng(7)
    image = np.full((side, side, 3), (20, 90, 40), dtype=np.float32)
    for _ in range(side // 16):
        row, column, length = rng.integers(0, side - 8), rng.integers(0, side // 2), rng.integers(side // 8, side // 2)
        image[row : row + 12, column : column + length] = (200, 150, 60)
    rng = np.random.default_rng(seed)
    return np.clip(image * rng.uniform(0.97, 1.03) + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def main() -> int:
    """Compare faulty and good boards with two good ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--fault", type=int, default=20)
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    vision = BundledVision.load()
    goods = [board(seed, args.side) for seed in (1, 2)]
    result = {}
    for name, streams in (("whole", FAST_STREAMS), ("tiles", tiled_streams(args.tiles))):
        bank = MemoryBank.build(goods, vision, EvidenceOptions(streams=streams, rotations="off"))
        hit, false, calm, seconds = 0, 0, 0, []
        for number in range(args.boards):
            pixels = board(10 + number, args.side)
            calm += not compare(pixels, bank, vision).gate_open
            y, x = np.random.default_rng(number).integers(args.side // 10, args.side * 9 // 10, 2)
            pixels[y : y + args.fault, x : x + args.fault] = (240, 240, 240)
            start = time.process_time()
            found = compare(pixels, bank, vision)
            seconds.append(time.process_time() - start)
            boxes = [region.box_xyxy for region in found.regions((args.side, args.side))]
            touch = [b[0] < x + args.fault and x < b[2] and b[1] < y + args.fault and y < b[3] for b in boxes]
            hit, false = hit + any(touch), false + touch.count(False)
        result[name] = {
            "boards": args.boards, "found": hit, "false_regions": false, "good_boards_calm": calm,
            "processor_s_per_image": round(float(np.median(seconds)), 2),
        }  # fmt: skip
        print(f"{name}: {result[name]}", flush=True)
    if args.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
