"""Figures and tables of `benchmarks/evidence.py` from its records, one a category, k, seed and method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reason_iad.metrics.classification import auroc

OWN = "reason-iad"
VERDICT_FIGURES = ("overkill", "miss", "uncertain", "regions_on_defects", "regions_on_normals")
Record = dict[str, Any]


def image_auroc(records: Sequence[Record], rng: np.random.Generator | None = None) -> float:
    """Mean over categories and seeds; with `rng` seeds and test images of each category are drawn again, by label.

    Not a number where a method gives none, as anomalib's PaDiM with one reference.
    """
    means = []
    for category in sorted({one["category"] for one in records}):
        mine = [one for one in records if one["category"] == category]
        if rng is not None:
            mine = [mine[int(i)] for i in rng.integers(0, len(mine), len(mine))]
        labels = mine[0]["labels"]
        index = np.arange(len(labels))
        if rng is not None:
            index = np.concatenate(
                [rng.choice(np.flatnonzero(labels == kind), (labels == kind).sum()) for kind in (0, 1)]
            )
        finite = all(np.isfinite(one["scores"]).all() for one in mine)
        found = [auroc(one["labels"][index], one["scores"][index]) for one in mine] if finite else [np.nan]
        means.append(np.mean(found))
    return float(np.mean(means))


def interval(records: Sequence[Record], repeats: int = 200) -> tuple[float, float, float]:
    """Image AUROC with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    drawn = [image_auroc(records, rng) for _ in range(repeats)]
    return image_auroc(records), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def mean_over_categories(records: Sequence[Record], key: str) -> float | None:
    """Mean over categories of the mean over seeds of a figure; None where no record has it."""
    categories = sorted({one["category"] for one in records if key in one})
    means = [np.mean([one[key] for one in records if one["category"] == c and key in one]) for c in categories]
    return float(np.mean(means)) if means else None


def table(title: str, names: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a table."""
    print(f"\n{title}\n| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def report(records: list[Record], times: dict[str, float]) -> dict[str, Any]:
    """Print the tables; the figures as one object."""
    shots, methods = sorted({one["k"] for one in records}), list(dict.fromkeys(one["method"] for one in records))
    categories = sorted({one["category"] for one in records})
    result: dict[str, Any] = {name: {} for name in ("image_auroc", "pixel_auroc", "aupro")}
    of = {(k, m): [one for one in records if (one["k"], one["method"]) == (k, m)] for k in shots for m in methods}
    heads = [f"{method} k={k}" for k, method in of]
    rows: dict[str, list[str]] = {}
    for category in [*categories, "mean"]:
        cells = []
        for (k, method), some in of.items():
            value, low, high = interval([one for one in some if category in (one["category"], "mean")])
            cells.append("-" if np.isnan(value) else f"{value:.3f} ({low:.2f}-{high:.2f})")
            if category == "mean" and not np.isnan(value):
                result["image_auroc"].setdefault(str(k), {})[method] = round(value, 4)
        count = sum(len(next(o["labels"] for o in records if o["category"] == c)) for c in categories
                    if category in (c, "mean"))  # fmt: skip
        rows[f"{category}, n = {count}"] = cells
    table("image AUROC (95 % CI)", heads, rows)
    for key in ("pixel_auroc", "aupro"):
        with_masks = [c for c in categories if any(o["category"] == c and key in o for o in records)]
        rows = {}
        for category in [*with_masks, *(["mean"] if with_masks else [])]:
            values = [
                mean_over_categories([o for o in some if category in (o["category"], "mean")], key)
                for some in of.values()
            ]
            rows[category] = ["-" if value is None else f"{value:.3f}" for value in values]
            if category == "mean":
                for (k, method), mean in zip(of, values, strict=True):
                    if mean is not None:
                        result[key].setdefault(str(k), {})[method] = round(mean, 4)
        table({"pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}[key], heads, rows)
    result["ms_per_image"] = times
    for name in VERDICT_FIGURES:
        result[name] = {}
        for k in shots:
            mean = mean_over_categories(of.get((k, OWN), []), name)
            if mean is not None:
                result[name][str(k)] = round(mean, 4)
    if OWN in methods:
        names = [f"{name} k={k}" for name in VERDICT_FIGURES for k in shots]
        rows = {}
        for category in [*categories, "mean"]:
            some = [o for o in records if o["method"] == OWN and category in (o["category"], "mean")]
            values = [
                mean_over_categories([o for o in some if o["k"] == k], name) for name in VERDICT_FIGURES for k in shots
            ]
            rows[category] = ["-" if value is None else f"{value:.2f}" for value in values]
        table("verdicts of the comparison", names, rows)
        for k in shots:
            above = [np.mean([(o["scores"][o["labels"] == kind] > 0.5).mean() for o in of[k, OWN]]) for kind in (0, 1)]
            print(f"k={k}: score above 0.5 in {above[0]:.1%} of normals, {above[1]:.1%} of defectives")
    print("\n" + "\n".join(f"{method}: {spent:.0f} ms an image" for method, spent in times.items()))
    return result
