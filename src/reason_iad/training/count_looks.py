"""Count how reliable the finer parts of a measured look are, and write them into the adapter's settings.

    python -m reason_iad.training.count_looks --adapter src/reason_iad/data/nano [--lines 10] [--images 8]

On synthetic lines, whose defects are known by their masks: P(measured | true) of hue, direction and sharpness, where
the comparison with six good parts found the defect. Nearness to an edge is counted and printed, and not written: with
it, types of tiles were named worse by model and look together (docs/naming.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reason_iad.errors import InputError
from reason_iad.evidence.claims import NEEDED, STRONG, VALUES, LookReliability, rates
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import EvidenceOptions
from reason_iad.evidence.looks import Look, look_of, measure_look
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.regions import find_regions
from reason_iad.models.base import VisionTowers
from reason_iad.training.synth import Synthesizer

SEED, REFERENCES, STEP = 11, 6, 7
MOST_TYPES = 5  # of a line
NOT_WRITTEN = ("border",)


def looks(vision: VisionTowers, lines: int, images: int) -> Iterator[tuple[Look, Look, float]]:
    """The true and the measured look of each defect that was found, and the anomaly score."""
    synthesizer, options = Synthesizer(SEED), EvidenceOptions(rotations="off")
    for number in range(lines):
        line = synthesizer.make_line(number * STEP + 1)
        bank = MemoryBank.build([line.normal(1000 + i) for i in range(REFERENCES)], vision, options)
        for kind in list(line.spec.defects)[:MOST_TYPES]:
            for index in range(images):
                try:
                    sample = line.defective(index, kind)
                except InputError:  # cannot be seen in this line's style
                    continue
                found = compare(sample.pixels, bank, vision)
                mask, measured = np.asarray(sample.mask) > 0, measure_look(sample.pixels, found.heat)
                regions = find_regions(found.heat, found.anomaly_map, sample.pixels.shape[:2], max_regions=1)
                if measured is None or not regions:
                    continue
                left, top, right, bottom = regions[0].box_xyxy
                if mask[top:bottom, left:right].any():
                    yield look_of(sample.pixels, mask), measured, found.anomaly_score
        print(f"line {number + 1} of {lines}", flush=True)


def main() -> None:
    """Count, print and write."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--images", type=int, default=8, help="of each type of a line")
    args = parser.parse_args()
    counts = {name: np.zeros((2, len(v), len(v))) for name, v in VALUES.items() if name not in NEEDED}
    for true, measured, score in looks(BundledVision.load(), args.lines, args.images):
        for name, table in counts.items():
            values = VALUES[name]
            table[int(score >= STRONG), values.index(getattr(true, name)), values.index(getattr(measured, name))] += 1
    path = args.adapter / "adapter.json"
    settings = json.loads(path.read_text())
    stored = settings["options"]["looks"]
    for name, table in counts.items():
        share = (table.sum((0, 2)) + 1) / (table.sum() + table.shape[1])
        told = [np.round(rates(name, one), 4).tolist() for one in table]
        print(name, VALUES[name], np.round(share, 4).tolist(), told, f"n={int(table.sum())}")
        if name not in NOT_WRITTEN:
            stored["tables"][name], stored["shares"][name] = told, np.round(share, 4).tolist()
    LookReliability.from_settings(stored)  # what cannot be read back is not written
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
