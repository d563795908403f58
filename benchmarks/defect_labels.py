"""Are 20 names chosen by the label queue worth more than 20 of random inspections?

    python benchmarks/defect_labels.py ROOT --cache DIR --only CATEGORY [--labels 20] [--json FILE]

Descriptions are those that `benchmarks/defect_types.py` keeps in --cache. Ten times, three quarters of the areas of
`train` that the comparison found wait for a name. One arm names the first of the queue, which is ordered anew after
each name; the other names areas at random, the same areas waiting. Macro accuracy on the found areas of `test`, over
all their types: one that got no name is wrong. The interval is of the difference, by bootstrap over the ten draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from defect_types import Area, load_areas

from reason_iad.naming.examples import DefectExample, DefectExamples
from reason_iad.naming.namer import NONE, Namer, NamerSettings
from reason_iad.naming.queue import Waiting, rank

DRAWS, POOL = 10, 0.75


def namer_of(named: Sequence[Area]) -> Namer:
    """A namer by these areas, each described as it was found."""
    found = [
        DefectExample(a.kind, a.image, f"{a.image}-{i}", (1, 1), (i, 0, i + 1, 1), a.seen("found")[None], b"", "", "")
        for i, a in enumerate(named)
    ]
    return Namer(DefectExamples("", tuple(found), 1), NamerSettings.load())


def accuracy(named: Sequence[Area], test: Sequence[Area]) -> float:
    """Macro accuracy on the test's areas."""
    namer = namer_of(named)
    shares: dict[str, list[bool]] = {}
    for area in test:
        found = namer.name(area.seen("found"))
        assert found is not None
        best = next((one.name for one in found.types if one.name != NONE), "")
        shares.setdefault(area.kind, []).append(best == area.kind)
    return float(np.mean([np.mean(one) for one in shares.values()]))


def by_queue(pool: Sequence[Area], labels: int) -> list[Area]:
    """Name the first of the queue, again and again."""
    named: list[Area] = []
    left = list(range(len(pool)))
    while len(named) < labels and left:
        waiting = [Waiting(str(i), pool[i].image, 0, (0, 0, 1, 1), pool[i].seen("found")) for i in left]
        chosen = int(rank(waiting, namer_of(named) if named else None)[0].area.inspection)
        named.append(pool[chosen])
        left.remove(chosen)
    return named


def main() -> None:
    """Draw, name, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", required=True)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    def towers() -> object:
        from reason_iad.models.vision import BundledVision
        from reason_iad.models.vision_cache import CachedVision

        return CachedVision(BundledVision.load())

    train, test = (
        [a for a in load_areas(args.root, args.only, split, args.cache, towers) if a.found is not None]
        for split in ("train", args.split)
    )
    queue, chance = [], []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        order = [int(i) for i in rng.permutation(len(train))]
        pool = [train[i] for i in order[: int(POOL * len(train))]]
        rest = [train[i] for i in order[len(pool) :]] if args.split == "train" else test
        queue.append(accuracy(by_queue(pool, args.labels), rest))
        chance.append(accuracy([pool[int(i)] for i in rng.permutation(len(pool))[: args.labels]], rest))
        print(f"draw {seed}: queue {queue[-1]:.3f}, at random {chance[-1]:.3f}", flush=True)
    gaps = np.array(queue) - np.array(chance)
    rng = np.random.default_rng(0)
    low, high = np.quantile([rng.choice(gaps, len(gaps)).mean() for _ in range(1000)], (0.025, 0.975))
    found = {
        "category": args.only, "labels": args.labels, "queue": round(float(np.mean(queue)), 3),
        "random": round(float(np.mean(chance)), 3), "difference": round(float(gaps.mean()), 3),
        "interval": [round(float(low), 3), round(float(high), 3)], "draws": DRAWS, "waiting": len(pool),
        "test": len(rest),
    }  # fmt: skip
    print(json.dumps(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
