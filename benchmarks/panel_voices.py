"""When are two annotators of a panel one voice? A model that repeats the comparison, joined with it and apart.

    python benchmarks/panel_voices.py [--images 240] [--draws 12]

Simulated: the comparison, a model that repeats it with noise and with or without skill of its own, one that guesses,
and with or without a good model of another kind. Printed are AUROC, balanced accuracy and log loss of the panel.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from reason_iad.inspection import panel
from reason_iad.inspection.panel import EVIDENCE, PanelMemory, join_defect
from reason_iad.inspection.session import DETECTION
from reason_iad.metrics.classification import auroc, balanced_accuracy


def simulate(count: int, noise: float, skill: float, good: bool, seed: int) -> tuple[Any, dict[str, Any]]:
    """Truth (n,), and log-odds of each voice (n,)."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.5
    sign = np.where(truth, 1.0, -1.0)
    evidence = 1.2 * sign + rng.normal(0, 1.5, count)
    odds = {"reader": evidence + skill * sign + rng.normal(0, noise, count), EVIDENCE: evidence}
    odds["guess"] = rng.normal(0, 2, count)
    if good:
        odds["good"] = 1.2 * sign + rng.normal(0, 1.5, count)
    return truth, odds


def joined(odds: dict[str, Any], bound: float) -> Any:
    """Probability of a defect by the panel (n,), annotators joined from a correlation on, whatever is left."""
    panel.ALIKE = panel.COPIES = bound
    said = {name: 1 / (1 + np.exp(-values)) for name, values in odds.items()}
    votes = [{name: float(values[i]) for name, values in said.items()} for i in range(len(odds["guess"]))]
    memory = PanelMemory()
    for number, vote in enumerate(votes):
        memory.add(DETECTION, str(number), {name: [p, 1 - p] for name, p in vote.items()})
    return np.array([join_defect(vote, memory.weights(DETECTION))[0] for vote in votes])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--draws", type=int, default=12)
    args = parser.parse_args()
    print("| voices | own skill | correlation | one voice: AUROC, balanced accuracy, log loss | apart |")
    print("|---|---|---|---|---|")
    for good in (False, True):
        for skill in (0.0, 0.3):
            for noise in (1.0, 0.8, 0.6, 0.45, 0.35, 0.25, 0.15, 0.08):
                found: dict[float, list[tuple[float, float, float]]] = {0.5: [], 1.01: []}
                alike = []
                for seed in range(args.draws):
                    truth, odds = simulate(args.images, noise, skill, good, seed)
                    alike.append(np.corrcoef(odds["reader"], odds[EVIDENCE])[0, 1])
                    for bound, rows in found.items():
                        p = np.clip(joined(odds, bound), 1e-6, 1 - 1e-6)
                        loss = -float(np.mean(np.where(truth, np.log(p), np.log(1 - p))))
                        rows.append((auroc(truth, p), balanced_accuracy(truth, p > 0.5), loss))
                cells = [", ".join(f"{value:.3f}" for value in np.mean(rows, axis=0)) for rows in found.values()]
                print(f"| {3 + good} | {skill} | {np.mean(alike):.3f} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
