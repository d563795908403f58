"""Choose the defaults of the evidence by leaving out categories, from stored features, on `train` alone.

    python benchmarks/evidence_choices.py STORE ROOT [ROOT ...] [--shots 1 4 16] [--seeds 2] [--limit 20] [--json]

STORE is what `evidence_features.py` filled. Two choices are made:

- *what is compared*: candidates differ in streams or in the tail of the map that is averaged; image AUROC decides;
- *how wide good parts spread*, as far as few references cannot tell (`PRIOR_SPREAD`): what brings the share of normals
  above a score of 0.5 closest to the 5 % that it should be, over all numbers of references, decides.

For each category in turn the candidate that is best on all the *others* is taken, and its figure on the category left
out counts: the mean of these is what the choice is worth on a product that nobody tuned on. `test` is never read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evidence import Remembering
from evidence_data import load, say, usable
from evidence_features import StoredTowers

from reason_iad.errors import ReasonIADError
from reason_iad.evidence import calibrate, significance
from reason_iad.evidence.features import DEFAULT_STREAMS, FAST_STREAMS, EvidenceOptions, Stream, extract
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.metrics.classification import auroc

STATE_7 = Stream("vit", 7, 224, "euclidean")
MEAN = dataclasses.replace(DEFAULT_STREAMS[2], map_weight=1.0)
SPREADS = (0.0, 0.15, 0.25, 0.35, 0.5)


@dataclass(frozen=True)
class Candidate:
    """One way to compare: what, and which share of the map's worst patches is averaged."""

    options: EvidenceOptions
    tail: float = calibrate.WORST_SHARE


CANDIDATES = {
    "default": Candidate(EvidenceOptions()),
    "stride 16 and ViT state 7 (0.1.0)": Candidate(EvidenceOptions(streams=(*FAST_STREAMS, STATE_7))),
    "stride 16 alone (fast)": Candidate(EvidenceOptions(streams=FAST_STREAMS)),
    "mean of the states alone": Candidate(EvidenceOptions(streams=(MEAN,))),
    "default and ViT state 7": Candidate(EvidenceOptions(streams=(*FAST_STREAMS, MEAN, STATE_7))),
    "without turned references": Candidate(EvidenceOptions(rotations="off")),
    "worst 0.5 %": Candidate(EvidenceOptions(), 0.005),
    "worst 2 %": Candidate(EvidenceOptions(), 0.02),
}
Figures = dict[str, dict[str, float]]  # by candidate and category


def measure(category: str, root: Path, towers: StoredTowers, args: argparse.Namespace) -> dict[str, Any]:
    """Mean image AUROC of each candidate, and of each spread the share of normals above 0.5, by k."""
    images = load(root, args.limit, category, "train")
    vision = Remembering(towers)
    areas: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    above: dict[float, list[float]] = {spread: [] for spread in SPREADS}
    for k in args.shots:
        for seed in range(args.seeds):
            references, test = images.draw(seed, k)
            labels = np.array([item.defective for item in test])
            for name, candidate in CANDIDATES.items():
                calibrate.WORST_SHARE = candidate.tail
                bank = MemoryBank.build(references, vision, candidate.options)
                features = [extract([item.pixels], vision, candidate.options) for item in test]
                found = [bank.measure({source: one[0] for source, one in some.items()}).statistic for some in features]
                areas[name].append(auroc(labels, np.array(found)))
                if name == "default":
                    for spread in SPREADS:
                        edge = edge_with(bank, len(references), spread)
                        above[spread].append(float((np.array(found)[~labels] > edge).mean()))
            calibrate.WORST_SHARE = CANDIDATES["default"].tail
    return {
        "areas": {name: float(np.mean(some)) for name, some in areas.items()},
        "above": {str(spread): float(np.mean(some)) for spread, some in above.items()},
    }


def edge_with(bank: MemoryBank, num_references: int, prior: float) -> float:
    """The edge of a bank with another prior spread: the spread is linear in it."""
    normal = bank.calibration
    reach = np.log(0.5 / significance.EDGE_SHARE)
    weight = significance.PRIOR_WEIGHT / (num_references - 1 + significance.PRIOR_WEIGHT)
    change = weight * (prior - significance.PRIOR_SPREAD) * max(normal.median_statistic, 0.3)
    return float(normal.edge_statistic + reach * change)


def left_out(figures: Figures, best: Callable[[list[float]], float]) -> tuple[str, dict[str, str], float]:
    """The choice on all categories, those with each left out, and the mean figure of the categories left out.

    Args:
        figures: by candidate and category.
        best: how good a candidate is, from its figures.
    """
    categories = sorted(next(iter(figures.values())))

    def choose(known: list[str]) -> str:
        return max(figures, key=lambda name: best([figures[name][category] for category in known]))

    each = {out: choose([category for category in categories if category != out]) for out in categories}
    return choose(categories), each, float(np.mean([figures[name][out] for out, name in each.items()]))


def print_choice(title: str, figures: Figures, chosen: tuple[str, dict[str, str], float]) -> None:
    """Print a table of the candidates and what was chosen."""
    categories = sorted(next(iter(figures.values())))
    print(f"\n{title}\n| candidate | mean | " + " | ".join(categories) + " |\n|---|---|" + "---|" * len(categories))
    for name, one in figures.items():
        cells = " | ".join(f"{one[category]:.3f}" for category in categories)
        print(f"| {name} | {np.mean(list(one.values())):.3f} | {cells} |")
    other = sorted({name for name in chosen[1].values() if name != chosen[0]})
    print(f"chosen: {chosen[0]}; with a category left out also: {', '.join(other) or 'nothing else'}")
    print(f"mean over the categories left out: {chosen[2]:.3f}", flush=True)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from reason_iad.models.vision import BundledVision

    towers = StoredTowers(BundledVision.load(exact=True), args.store)
    started = time.monotonic()
    try:
        found = {}
        categories = usable(args.roots, [], "train", [min(args.shots)])
        for category, root in sorted(categories.items()):
            found[category] = measure(category, root, towers, args)
            say(f"{category}: {found[category]} ({(time.monotonic() - started) / 60:.1f} min)")
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    areas = {name: {c: one["areas"][name] for c, one in found.items()} for name in CANDIDATES}
    above = {str(s): {c: one["above"][str(s)] for c, one in found.items()} for s in SPREADS}
    compared = left_out(areas, lambda some: float(np.mean(some)))
    spread = left_out(above, lambda some: -abs(float(np.mean(some)) - significance.EDGE_SHARE))
    print_choice("image AUROC", areas, compared)
    print_choice("share of normals above 0.5, by PRIOR_SPREAD", above, spread)
    if args.json:
        told = {"compared": compared[0], "image_auroc": round(compared[2], 4)}
        print(json.dumps({**told, "prior_spread": float(spread[0]), "above_half": round(spread[2], 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
