"""Faults of bare boards found beside their own templates: share hit, and false regions per board.

    python benchmarks/evidence_paired.py ROOT [--json] [--split test] [--category bare_pcb] [--limit N] [--false 1]

ROOT holds `manifest.csv` (image, category, split, label, boxes, group). Each defective board is compared with the good
image of its own `group` at the defaults of paired mode. A labeled fault is hit when a region touches its box; a region
that touches none is false. Regions are taken strongest first over all boards, until there is one false region per
board (`--false`); the default gate's own figures stand beside. Intervals are 95 % bootstraps over boards.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.evidence.paired import compare_paired
from reason_iad.images import read_image

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Board:
    """One board with what was found on it.

    Attributes:
        image: its path in the manifest.
        kinds: of each labeled fault.
        hit_at: peak of the strongest region that touches each fault, in edges of normal; -1 where none does.
        false_at: peak of each region that touches no fault.
        seconds: processor time of the comparison.
    """

    image: str
    kinds: list[str]
    hit_at: np.ndarray
    false_at: np.ndarray
    seconds: float


def inspect(root: Path, row: dict[str, str], template: str) -> Board:
    """Compare one board with its template."""
    pixels, good = read_image(root / row["image"]).pixels, read_image(root / template).pixels
    start = time.process_time()
    found = compare_paired(pixels, good)
    seconds = time.process_time() - start
    faults = json.loads(row["boxes"])
    regions = found.regions((pixels.shape[0], pixels.shape[1]))
    touches = np.array([[_touch(fault[:4], region.box_xyxy) for region in regions] for fault in faults], dtype=bool)
    touches = touches.reshape(len(faults), len(regions))
    down, across = (side / n for side, n in zip(found.raw.shape, pixels.shape[:2], strict=True))
    strengths = np.array([_peak(found.raw, region.box_xyxy, down, across) for region in regions])
    hit_at = np.where(touches, strengths, -1.0).max(axis=1, initial=-1.0)
    return Board(row["image"], [fault[4] for fault in faults], hit_at, strengths[~touches.any(axis=0)], seconds)


def _peak(raw: np.ndarray, box: Box, down: float, across: float) -> float:
    """Largest distance within a box; strengths end at 1, so that the strongest would be tied."""
    left, top, right, bottom = box
    rows, columns = slice(int(top * down), int(np.ceil(bottom * down))), slice(int(left * across), None)
    return float(raw[rows, columns][:, : max(1, int(np.ceil((right - left) * across)))].max())


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def share_hit(boards: list[Board], false_per_board: float) -> tuple[float, float]:
    """Share of the faults hit at that many false regions per board, and the strength from which regions count."""
    false = np.sort(np.concatenate([board.false_at for board in boards]))[::-1]
    allowed = int(false_per_board * len(boards))
    limit = float(false[allowed]) if len(false) > allowed else -0.5  # regions must be stronger than that
    hits = np.concatenate([board.hit_at > limit for board in boards])
    return float(hits.mean()), limit


def figures(boards: list[Board], false_per_board: float) -> dict[str, Any]:
    """All that is reported."""
    rng = np.random.default_rng(0)
    drawn = [
        share_hit([boards[int(i)] for i in rng.integers(0, len(boards), len(boards))], false_per_board)[0]
        for _ in range(500)
    ]
    hit, limit = share_hit(boards, false_per_board)
    kinds = [kind for board in boards for kind in board.kinds]
    at_limit = np.concatenate([board.hit_at > limit for board in boards])
    return {
        "boards": len(boards),
        "faults": len(kinds),
        "hit_at_one_false": round(hit, 4),
        "interval": [round(float(np.quantile(drawn, q)), 4) for q in (0.025, 0.975)],
        "peak_limit": round(limit, 4),
        "hit_by_default": round(float(np.concatenate([board.hit_at >= 0 for board in boards]).mean()), 4),
        "false_by_default": round(float(np.mean([len(board.false_at) for board in boards])), 4),
        "hit_by_kind": {
            kind: [round(float(at_limit[[k == kind for k in kinds]].mean()), 4), kinds.count(kind)]
            for kind in sorted(set(kinds))
        },
        "processor_ms_per_board": round(1000 * float(np.median([board.seconds for board in boards])), 1),
    }


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--category", default="bare_pcb")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--false", type=float, default=1.0, dest="false_per_board", metavar="N")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        manifest = args.root / "manifest.csv"
        if not manifest.is_file():
            raise InputError(f"{manifest} does not exist; expected a folder with a manifest.csv and its images")
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = [
                row for row in csv.DictReader(file) if (row["category"], row["split"]) == (args.category, args.split)
            ]
        templates = {row["group"]: row["image"] for row in rows if row["label"] == "normal"}
        faulty = [row for row in rows if row["label"] != "normal" and row["boxes"]][: args.limit]
        if not faulty:
            raise InputError(f"{manifest} has no faulty image of {args.category!r} in {args.split!r} with boxes")
        boards = []
        for row in faulty:
            boards.append(inspect(args.root, row, templates[row["group"]]))
            print(f"{len(boards)} of {len(faulty)}", file=sys.stderr, end="\r", flush=True)
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    found = figures(boards, args.false_per_board)
    low, high = found["interval"]
    print(
        f"{found['hit_at_one_false']:.3f} ({low:.3f}-{high:.3f}) of {found['faults']} faults on {found['boards']} "
        f"boards hit at {args.false_per_board:g} false region(s) per board"
    )
    print(f"by default {found['hit_by_default']:.3f} hit, {found['false_by_default']:.2f} false regions per board")
    for kind, (share, count) in found["hit_by_kind"].items():
        print(f"  {kind}: {share:.3f} of {count}")
    print(f"{found['processor_ms_per_board']:.0f} ms of processor time per board")
    if args.json:
        print(json.dumps(found, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
