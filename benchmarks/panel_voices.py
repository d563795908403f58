"""Is a panel ever worse than the best of its voices? Simulated voices over a grid of skills, and what weighs them.

    python benchmarks/panel_voices.py [--draws 8]

The comparison (its log-odds calibrated, or two to three times too sure) stands beside models that know much, little
or nothing of their own, that repeat it, that guess around 0 or always surely; on many products or one, with four known
good parts of each or none. Printed is AUROC of the panel less that of its best voice, over the grid, for the
weights that are used, for equal ones, and for those of a linear discriminant that knows every label.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import numpy as np

from reason_iad.metrics.anchored import anchored
from reason_iad.metrics.classification import auroc

# Own skill in standard deviations, scale, share of the comparison that is repeated, whether it is always sure.
GUESS, SURE_GUESS = (0.0, 2.0, 0.0, False), (0.0, 1.0, 0.0, True)
REPEATS, READS, GOOD, FAIR = (
    (0.0, 0.6, 1.0, False),
    (0.3, 1.5, 1.0, False),
    (2.0, 2.0, 0.3, False),
    (1.0, 2.0, 0.3, False),
)
PANELS = {
    "a guesser": (GUESS,),
    "one that guesses and is always sure": (SURE_GUESS,),
    "one that repeats the comparison, a guesser": (REPEATS, GUESS),
    "one that reads it and adds noise, a guesser": (READS, GUESS),
    "one that reads it, one that guesses and is sure": (READS, SURE_GUESS),
    "a good model, a guesser": (GOOD, GUESS),
    "a good model, one that guesses and is sure": (GOOD, SURE_GUESS),
    "a good model, a fair one": (GOOD, FAIR),
    "two good models": (GOOD, GOOD),
    "a fair model": (FAIR,),
    "a good model, a fair one, one that reads, a guesser": (GOOD, FAIR, READS, GUESS),
}
COMPARISONS = ((0.7, 1.0), (0.7, 3.0), (2.0, 1.0), (2.0, 2.0), (3.0, 1.0))  # skill, and times too sure
LOTS = ((130, 11, 4, 0.5), (240, 1, 4, 0.5), (240, 1, 0, 0.5), (400, 1, 4, 0.05))  # images, products, goods, defective


def simulate(voices: Any, comparison: Any, lot: Any, rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Log-odds of the comparison (n,) and of the voices (n, m), which are known good parts, and the truth (n,)."""
    (skill, sure), (images, products, goods, defective) = comparison, lot
    n = images + products * goods
    product = np.r_[rng.integers(0, products, images), np.repeat(np.arange(products), goods)]
    known = np.arange(n) >= images
    truth = ~known & (rng.random(n) < defective)
    anchor = np.clip(sure * (skill * (truth * skill + rng.normal(0, 1, n)) - skill**2 / 2), -9, 9)
    scores = []
    for own, scale, repeated, always in voices:
        said = 3.0 * np.sign(rng.normal(0, 1, n)) if always else scale * (own * truth + rng.normal(0, 1, n))
        said = said + repeated * anchor + rng.normal(0, 2, products)[product]
        if goods:  # less what it says of good parts, of which each is compared with the others
            mean = np.array([said[known & (product == one)].mean() for one in range(products)])
            said = (said - mean[product]) * np.where(known, goods / (goods - 1), 1.0)
        scores.append(np.clip(said, -9, 9))
    return anchor, np.array(scores).T, known, truth


def labeled(anchor: Any, scores: Any, truth: Any) -> Any:
    """A linear discriminant that knows every label."""
    both = np.c_[anchor, scores]
    within = sum(np.cov(both[truth == side].T) * (truth == side).mean() for side in (True, False))
    ahead = both[truth].mean(0) - both[~truth].mean(0)
    return both @ np.linalg.solve(within + 1e-6 * np.eye(len(ahead)), ahead)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=8)
    args = parser.parse_args()
    print("| panel beside the comparison | lots | used: mean | worst | equal: mean | worst | with labels: mean |")
    print("|---|---|---|---|---|---|---|")
    everywhere: dict[str, list[float]] = defaultdict(list)
    for name, voices in PANELS.items():
        found = defaultdict(list)
        for comparison in COMPARISONS:
            for lot in LOTS:
                gains = defaultdict(list)
                for draw in range(args.draws):
                    anchor, scores, known, truth = simulate(voices, comparison, lot, np.random.default_rng(draw))
                    told, fit = ~known, anchored(anchor, scores, known)
                    both = np.c_[anchor, scores][told]
                    best = max(auroc(truth[told], one) for one in both.T)
                    joined = {"used": anchor[told] + fit.worth(scores[told]).sum(1), "equal": both.sum(1)}
                    joined["labeled"] = labeled(anchor[told], scores[told], truth[told])
                    for kind, said in joined.items():
                        gains[kind].append(auroc(truth[told], said) - best)
                for kind, values in gains.items():
                    found[kind].append(float(np.mean(values)))
        used, equal, told_all = (found[kind] for kind in ("used", "equal", "labeled"))
        print(f"| {name} | {len(used)} | {np.mean(used):+.3f} | {min(used):+.3f} | {np.mean(equal):+.3f} | "
              f"{min(equal):+.3f} | {np.mean(told_all):+.3f} |", flush=True)  # fmt: skip
        for kind, values in found.items():
            everywhere[kind] += values
    for kind, values in everywhere.items():
        below = np.mean(np.array(values) < -0.01)
        print(
            f"{kind}: mean {np.mean(values):+.4f}, worst {min(values):+.3f}, {below:.1%} of {len(values)} below -0.01"
        )


if __name__ == "__main__":
    main()
