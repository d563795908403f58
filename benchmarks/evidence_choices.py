"""Choose the defaults of the evidence by leaving out categories, from stored features, on `train` alone.

    python benchmarks/evidence_choices.py STORE ROOT [ROOT ...] [--shots 1 4 16] [--seeds 2] [--limit 20] [--json]

STORE is what `evidence_features.py` filled; distances are kept in it, too (`evidence_distances.py`), so a run that was
cut off goes on, and another choice costs seconds. Three choices are made:

- *what is compared*: candidates differ in streams, in where the nearest patches are looked for, or in the tail of the
  map that is averaged; image AUROC decides;
- *how wide good parts spread*, as far as few references cannot tell (`PRIOR_SPREAD`): what brings the share of normals
  above a score of 0.5 closest to the 5 % that it should be, over all numbers of references, decides.

For each category in turn the candidate that is best on all the *others* is taken, and its figure on the category left
out counts: the mean of these is what the choice is worth on a product that nobody tuned on. `test` is never read.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from evidence import Remembering
from evidence_data import load, say, usable
from evidence_distances import DENSER, FORMER, HIGHER, LOWER, LOWEST, STREAMS, Distances, Kept
from evidence_features import StoredTowers

from reason_iad.errors import ReasonIADError
from reason_iad.evidence import calibrate, significance
from reason_iad.evidence.calibrate import Array, Calibration
from reason_iad.evidence.features import DEFAULT_STREAMS, EvidenceOptions
from reason_iad.evidence.residuals import fit_calibration
from reason_iad.evidence.search import fuse
from reason_iad.metrics.classification import auroc

EUCLIDEAN, COSINE, MEAN, STATE_7 = (stream.name for stream in DEFAULT_STREAMS)
NOW = {EUCLIDEAN: 1.0, COSINE: 1.0, MEAN: 1.0}
SPREADS = (0.0, 0.15, 0.25, 0.35, 0.5)


@dataclass(frozen=True)
class Candidate:
    """One way to compare: where the nearest patches are looked for, what is fused, which worst share is averaged."""

    weights: dict[str, float] = field(default_factory=lambda: NOW)
    tail: float = calibrate.WORST_SHARE
    view: str = "turned"


CANDIDATES = {
    "default": Candidate(),
    "stride 16 and ViT state 7 (0.1.0)": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, STATE_7: 1.0}),
    "stride 16 alone (fast)": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0}),
    "mean of the states alone": Candidate({MEAN: 1.0}),
    "mean of the states at double weight": Candidate({**NOW, MEAN: 2.0}),
    "default and ViT state 7": Candidate({**NOW, STATE_7: 1.0}),
    "worst 0.15 %": Candidate(tail=0.0015),
    "worst 0.5 %": Candidate(tail=0.005),
    "worst 2 %": Candidate(tail=0.02),
    "mean of states 8 to 12": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, HIGHER.name: 1.0}),
    "mean of states 7, 9, 10, 11": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, LOWER.name: 1.0}),
    "mean of states 7, 9, 10, 11, 12": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, FORMER.name: 1.0}),
    "mean of states 7, 8, 9, 10": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, DENSER.name: 1.0}),
    "mean of states 7, 9": Candidate({EUCLIDEAN: 1.0, COSINE: 1.0, LOWEST.name: 1.0}),
    "without turned references": Candidate(view="upright"),
    "a single reference turned, too": Candidate(view="turned alone"),
    "near the same place": Candidate(view="near"),
    "turned by 30 degrees and its multiples": Candidate(view="any angle"),
    "turned by 5 and 10 degrees": Candidate(view="moved a little"),
    "mirrored": Candidate(view="mirrored"),
}
Figures = dict[str, dict[str, float]]  # by candidate and category


def measure(category: str, root: Path, towers: StoredTowers, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Mean image AUROC of each candidate, and of each spread the share of normals above 0.5, by k."""
    images = load(root, args.limit, category, "train")
    vision = Remembering(towers)
    areas: dict[str, dict[int, list[float]]] = {name: {k: [] for k in args.shots} for name in args.candidates}
    above: dict[float, list[float]] = {spread: [] for spread in SPREADS}
    for seed in range(args.seeds):
        kept = Kept(folder, category, images, vision, seed)
        for k, name in itertools.product(args.shots, args.candidates):
            found, options = distances(kept, k, CANDIDATES[name])
            statistics, normal = judge(found, options, CANDIDATES[name].tail)
            areas[name][k].append(auroc(found.defective, statistics.astype(np.float64)))
            if name == "default":
                for spread in SPREADS:
                    edge = edge_with(normal, found.num_references, spread)
                    above[spread].append(float((statistics[~found.defective] > edge).mean()))
    return {
        "areas": {name: {k: float(np.mean(some)) for k, some in by_k.items()} for name, by_k in areas.items()},
        "above": {str(spread): float(np.mean(some)) for spread, some in above.items()},
    }


def distances(kept: Kept, k: int, candidate: Candidate) -> tuple[Distances, EvidenceOptions]:
    """The distances that a candidate fuses, and how."""
    weighed = [
        dataclasses.replace(stream, weight=candidate.weights[stream.name], map_weight=1.0)
        for stream in STREAMS
        if stream.name in candidate.weights
    ]
    return kept.of(weighed, k, candidate.view), EvidenceOptions(streams=tuple(weighed))


def judge(found: Distances, options: EvidenceOptions, tail: float) -> tuple[Array, Calibration]:
    """Oddness of each test image (T,), and the calibration of the references."""
    usual, calibrate.WORST_SHARE = calibrate.WORST_SHARE, tail
    calibration, _ = fit_calibration(found.normals, options, found.num_references)
    calibrate.WORST_SHARE = usual
    tested = fuse(found.test, calibration.scales, options.weights)
    return calibrate.image_statistic(tested, tail).mean(axis=1), calibration


def edge_with(normal: Calibration, num_references: int, prior: float) -> float:
    """The edge of a calibration with another prior spread: the spread is linear in it."""
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


def print_shots(by_k: dict[str, dict[str, dict[int, float]]], shots: list[int]) -> None:
    """Print the mean over the categories by number of references, and in how many a candidate beats the default."""
    print("\n| candidate | " + " | ".join(f"k = {k}" for k in shots) + " | better in / worse in |")
    print("|---|" + "---|" * (len(shots) + 1))
    for name, each in by_k.items():
        cells = " | ".join(f"{np.mean([one[k] for one in each.values()]):.3f}" for k in shots)
        gains = [np.mean([each[c][k] - by_k["default"][c][k] for k in shots]) for c in each]
        print(f"| {name} | {cells} | {sum(g > 0.002 for g in gains)} / {sum(g < -0.002 for g in gains)} |")


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from reason_iad.models.vision import BundledVision

    towers = StoredTowers(BundledVision.load(exact=True), args.store)
    started = time.monotonic()
    try:
        found = {}
        categories = usable(args.roots, [], "train", [min(args.shots)])
        for category, root in sorted(categories.items()):
            found[category] = measure(category, root, towers, args.store / "distances", args)
            say(f"{category}: {found[category]['areas']['default']} ({(time.monotonic() - started) / 60:.1f} min)")
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    by_k = {name: {c: one["areas"][name] for c, one in found.items()} for name in args.candidates}
    areas = {name: {c: float(np.mean(list(one.values()))) for c, one in each.items()} for name, each in by_k.items()}
    above = {str(s): {c: one["above"][str(s)] for c, one in found.items()} for s in SPREADS}
    compared = left_out(areas, lambda some: float(np.mean(some)))
    spread = left_out(above, lambda some: -abs(float(np.mean(some)) - significance.EDGE_SHARE))
    print_choice("image AUROC", areas, compared)
    print_shots(by_k, args.shots)
    worth = {k: float(np.mean([by_k[name][out][k] for out, name in compared[1].items()])) for k in args.shots}
    print("left out, by k: " + ", ".join(f"{k}: {value:.3f}" for k, value in worth.items()))
    print_choice("share of normals above 0.5, by PRIOR_SPREAD", above, spread)
    if args.json:
        told: dict[str, Any] = {"compared": compared[0], "image_auroc": {k: round(one, 4) for k, one in worth.items()}}
        print(json.dumps({**told, "prior_spread": float(spread[0]), "above_half": round(spread[2], 4)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
