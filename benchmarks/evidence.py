"""Image AUROC, pixel AUROC and AUPRO of the comparison with normal references, beside other methods in one run.

    python benchmarks/evidence.py ROOT [--json] [--shots 1 4 16] [--seeds 5] [--limit 15] [--cache DIR]
                                       [--split test] [--categories NAME ...] [--methods NAME ...] [--workers 1]

ROOT holds `manifest.csv` (image, category, split, label, mask). References are drawn from the normals of `train`, once
per seed and the same for every method; the figures are those of `test`, at most `--limit` images a label. With
`--split train` they are those of the other images of `train`, to tune on. A category with fewer normals than asked
gives all it has (on `train`, all but three). Features are computed once and kept in `--cache`; what a seed and category
gave is kept there, too, so that a run that was cut off goes on. Compared are

- `reason-iad`: this project's evidence at its defaults, `anomaly_score` and `raw` map; `reason-iad-fast` without ViT;
- `plain`, `patchcore`, `padim`: see `benchmarks/evidence_peers.py`.

Intervals are 95 % bootstraps over test images and seeds. The last line with `--json` is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import multiprocessing
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from evidence_peers import Scorer, padim, patchcore, plain
from torch.nn import functional as F

from reason_iad.benchmark.features import StoredVision, evidence_code
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import FAST_STREAMS, EvidenceOptions
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels, read_image, resize
from reason_iad.metrics.classification import auroc
from reason_iad.metrics.segmentation import pixel_scores
from reason_iad.models.base import VisionTowers

PAIRED = {"bare_pcb"}  # each board has its own template: see benchmarks/evidence_paired.py
MASK_SIDE = 112  # pixel figures are computed on this grid
OWN = "reason-iad"


@dataclass(frozen=True)
class Item:
    """One image of the manifest, loaded."""

    pixels: Pixels
    defective: bool
    mask: np.ndarray | None  # (MASK_SIDE, MASK_SIDE) bool; None where the defect's place is not known


class Remembering:
    """Towers that keep what was asked of the images of one category in memory, above those that keep it on disk."""

    def __init__(self, vision: VisionTowers) -> None:
        self._vision = vision
        self._kept: dict[tuple[int, Any], tuple[Pixels, dict[int, torch.Tensor]]] = {}

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """As in the towers."""
        return self._gather(images, (size, *layers), lambda image: self._vision.vit([image], size, layers))

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, torch.Tensor]:
        """As in the towers."""
        return self._gather(images, ("conv", size), lambda image: self._vision.efficientnet([image], size))

    def _gather(self, images: Sequence[Pixels], what: Any, run: Callable[[Pixels], Any]) -> dict[int, torch.Tensor]:
        found = []
        for image in images:
            key = (id(image), what)
            if key not in self._kept:
                self._kept[key] = (image, run(image))  # holds the image too, so that its id stays taken
            found.append(self._kept[key][1])
        return {level: torch.cat([one[level] for one in found]) for level in found[0]}


def reason_iad(references: Sequence[Pixels], vision: VisionTowers, options: EvidenceOptions | None = None) -> Scorer:
    """This project's comparison."""
    bank = MemoryBank.build(references, vision, options)

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        found = compare(pixels, bank, vision)
        return found.anomaly_score, found.raw

    return score


def reason_iad_fast(references: Sequence[Pixels], vision: VisionTowers) -> Scorer:
    """The same without the ViT."""
    return reason_iad(references, vision, EvidenceOptions(streams=FAST_STREAMS))


METHODS: dict[str, Callable[[Sequence[Pixels], VisionTowers], Scorer]] = {
    OWN: reason_iad,
    "reason-iad-fast": reason_iad_fast,
    "plain": plain,
    "patchcore": patchcore,
    "padim": padim,
}


@dataclass(frozen=True)
class Category:
    """The images of a category: normals that references are drawn from, and those that figures are computed on."""

    normals: list[Pixels]
    test: list[Item]
    shared: bool  # the test's normals are those of `normals`, less the references

    def draw(self, seed: int, k: int) -> tuple[list[Pixels], list[Item]]:
        """References and test images of a seed; a smaller k draws the first of a larger one."""
        order = [int(i) for i in np.random.default_rng(seed).permutation(len(self.normals))]
        if not self.shared:
            return [self.normals[i] for i in order[:k]], self.test
        most = min(max(k, 16), len(self.normals) - 3)
        empty = np.zeros((MASK_SIDE, MASK_SIDE), dtype=bool)
        others = [Item(self.normals[i], False, empty) for i in order[most:][:20]]
        return [self.normals[i] for i in order[: min(k, most)]], [*others, *self.test]


def load(root: Path, limit: int, only: Sequence[str], split: str) -> dict[str, Category]:
    """Normals of train, and the chosen test images, by category."""
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{manifest} does not exist; expected a folder with a manifest.csv and its images")
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] not in PAIRED]
    rows = [row for row in rows if not only or row["category"] in only]
    found: dict[str, Category] = {}
    for category in sorted({row["category"] for row in rows}):
        mine = [row for row in rows if row["category"] == category]
        normals = [root / row["image"] for row in mine if row["split"] == "train" and row["label"] == "normal"]
        test: list[Item] = []
        for label in ("normal", "defective") if split == "test" else ("defective",):
            some = [row for row in mine if row["split"] == split and row["label"] == label]
            order = np.random.default_rng(0).permutation(len(some))  # so that a smaller limit takes the first
            test += [load_item(root, some[i]) for i in order[:limit]]
        found[category] = Category([read_image(path).pixels for path in normals], test, split == "train")
    return found


def load_item(root: Path, row: dict[str, str]) -> Item:
    """One test image with its mask; a normal one has an empty mask."""
    mask: np.ndarray | None = None
    if row["label"] == "normal":
        mask = np.zeros((MASK_SIDE, MASK_SIDE), dtype=bool)
    elif row["mask"]:
        mask = resize(read_image(root / row["mask"]).pixels, (MASK_SIDE, MASK_SIDE))[..., 0] > 127
    return Item(read_image(root / row["image"]).pixels, row["label"] != "normal", mask)


def pixel_figures(items: Sequence[Item], maps: Sequence[np.ndarray]) -> dict[str, float]:
    """Pixel AUROC and AUPRO over the images whose mask is known; empty where no defect has one."""
    known = [(item.mask, one) for item, one in zip(items, maps, strict=True) if item.mask is not None]
    if not any(mask.any() for mask, _ in known):
        return {}
    size = (MASK_SIDE, MASK_SIDE)
    large = [F.interpolate(torch.from_numpy(one)[None, None], size=size, mode="bilinear")[0, 0] for _, one in known]
    scores = pixel_scores((one.half().numpy(), mask) for one, (mask, _) in zip(large, known, strict=True))
    return {"pixel_auroc": scores.auroc(), "aupro": scores.aupro()}


def evaluate(
    data: dict[str, Category], vision: VisionTowers, shots: Sequence[int], seeds: Sequence[int], methods: Sequence[str]
) -> list[dict[str, Any]]:
    """One record per category, k, seed and method, with the score of each test image."""
    records = []
    for category, images in data.items():
        shared = Remembering(vision)
        for k in shots:
            for seed in seeds:
                references, test = images.draw(seed, k)
                for method in methods:
                    score = METHODS[method](references, shared)
                    found = [score(item.pixels) for item in test]
                    records.append(
                        {
                            "category": category, "k": k, "seed": seed, "method": method,
                            "labels": np.array([item.defective for item in test]),
                            "scores": np.array([one for one, _ in found]),
                            **pixel_figures(test, [one for _, one in found]),
                        }
                    )  # fmt: skip
        for k in shots:
            now = {m: [o for o in records if (o["category"], o["k"], o["method"]) == (category, k, m)] for m in methods}
            figures = ", ".join(f"{method} {image_auroc(some):.3f}" for method, some in now.items())
            print(f"{category} k={k}: {figures}", file=sys.stderr, flush=True)
    return records


def evaluate_one(task: tuple[int, str], args: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """The records of one seed and category; those of an earlier run of the same code and options are read."""
    from reason_iad.models.vision import BundledVision

    seed, category = task
    facts = (args.shots, args.limit, args.split, args.methods, evidence_code())
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    kept = cache / "records" / f"{category}-{seed}-{key}.pickle"
    if kept.is_file():
        return cast(list[dict[str, Any]], pickle.loads(kept.read_bytes()))  # noqa: S301 - written below
    data = load(args.root, args.limit, [category], args.split)
    records = evaluate(data, StoredVision(BundledVision.load(), cache), args.shots, [seed], args.methods)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pickle.dumps(records))
    return records


def evaluate_all(categories: Sequence[str], args: argparse.Namespace, cache: Path) -> list[dict[str, Any]]:
    """The records of every seed and category, several at a time with `--workers`."""
    each = functools.partial(evaluate_one, args=args, cache=cache)
    tasks = [(seed, category) for seed in range(args.seeds) for category in categories]
    if args.workers == 1:
        return [record for task in tasks for record in each(task)]
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        return [record for records in pool.imap(each, tasks, chunksize=1) for record in records]


def image_auroc(records: Sequence[dict[str, Any]], rng: np.random.Generator | None = None) -> float:
    """Mean over categories and seeds; with `rng` seeds and test images of each category are drawn again, by label."""
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
        means.append(np.mean([auroc(one["labels"][index], one["scores"][index]) for one in mine]))
    return float(np.mean(means))


def interval(records: Sequence[dict[str, Any]], repeats: int = 200) -> tuple[float, float, float]:
    """Image AUROC with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    drawn = [image_auroc(records, rng) for _ in range(repeats)]
    return image_auroc(records), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def seed_range(records: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """Mean over categories of a pixel figure, and the smallest and largest such mean among the seeds."""
    seeds = sorted({one["seed"] for one in records})
    each = [float(np.mean([one[key] for one in records if one["seed"] == seed and key in one])) for seed in seeds]
    return float(np.mean(each)), min(each), max(each)


def time_methods(
    data: dict[str, Category], vision: VisionTowers, k: int, methods: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Milliseconds of a comparison with k references, features of the query included: wall clock and processor."""
    images = max(data.values(), key=lambda one: len(one.normals))
    found = {}
    for method in methods:
        score = METHODS[method](images.normals[:k], vision)
        score(images.test[0].pixels)
        wall, processor = [], []
        for item in images.test[1:8]:
            start, busy = time.perf_counter(), time.process_time()
            score(item.pixels)
            wall.append((time.perf_counter() - start) * 1000)
            processor.append((time.process_time() - busy) * 1000)
        found[method] = {"wall": round(float(np.median(wall)), 1), "processor": round(float(np.median(processor)), 1)}
    return found


def report(records: list[dict[str, Any]], times: dict[str, dict[str, float]], as_json: bool) -> None:
    """Print the tables, and the JSON object last."""
    shots, methods = sorted({one["k"] for one in records}), list(dict.fromkeys(one["method"] for one in records))
    categories = sorted({one["category"] for one in records})
    counts = {c: next(len(o["labels"]) for o in records if o["category"] == c) for c in categories}
    result: dict[str, dict[str, Any]] = {m: {"ms_per_image": times[m], "categories": {}} for m in methods}
    head = " | ".join(f"{method} k={k}" for k in shots for method in methods)
    print(f"\nimage AUROC (95 % CI)\n| category | n | {head} |\n|---|---|" + "---|" * len(methods) * len(shots))
    for category in [*categories, "mean"]:
        cells = []
        for k in shots:
            for method in methods:
                some = [o for o in records if (o["k"], o["method"]) == (k, method)]
                value, low, high = interval([o for o in some if category in (o["category"], "mean")])
                cells.append(f"{value:.3f} ({low:.2f}-{high:.2f})")
                if category == "mean":
                    result[method].setdefault("image_auroc", {})[k] = round(value, 4)
                    result[method].setdefault("interval", {})[k] = [round(low, 4), round(high, 4)]
                else:
                    result[method]["categories"].setdefault(category, {})[k] = round(value, 4)
        count = sum(counts.values()) if category == "mean" else counts[category]
        print(f"| {category} | {count} | " + " | ".join(cells) + " |")
    for key, title in (("pixel_auroc", "pixel AUROC"), ("aupro", "AUPRO")):
        with_masks = sorted({one["category"] for one in records if key in one})
        print(f"\n{title} (mean: range over seeds)\n| category | {head} |\n|---|" + "---|" * len(methods) * len(shots))
        for category in [*with_masks, *(["mean"] if with_masks else [])]:
            cells = []
            for k in shots:
                for method in methods:
                    some = [o for o in records if (o["k"], o["method"]) == (k, method) and key in o]
                    value, low, high = seed_range([o for o in some if category in (o["category"], "mean")], key)
                    cells.append(f"{value:.3f}" + (f" ({low:.2f}-{high:.2f})" if category == "mean" else ""))
                    if category == "mean":
                        result[method].setdefault(key, {})[k] = round(value, 4)
            print(f"| {category} | " + " | ".join(cells) + " |")
    for k in shots:
        own = [one for one in records if one["method"] == OWN and one["k"] == k]
        if own:
            above = [np.concatenate([o["scores"][o["labels"] == kind] > 0.5 for o in own]).mean() for kind in (0, 1)]
            result[OWN].setdefault("above_half", {})[k] = [round(float(value), 4) for value in above]
            print(f"k={k}: score above 0.5 in {above[0]:.1%} of normals, {above[1]:.1%} of defectives")
    for method, spent in times.items():
        print(f"{method}: {spent['wall']:.0f} ms an image ({spent['processor']:.0f} ms of processor time)")
    if as_json:
        own_result = result.pop(OWN)
        print(json.dumps({**own_result, "peers": result, "threads": torch.get_num_threads()}, allow_nan=False))


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=15, help="test images per category and label")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--cache", type=Path, help="folder that keeps features; a temporary one if not given")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the categories")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        data = load(args.root, 4, args.categories, args.split)
        with tempfile.TemporaryDirectory() as folder:
            records = evaluate_all(sorted(data), args, args.cache or Path(folder))
        report(records, time_methods(data, BundledVision.load(), max(args.shots), args.methods), args.json)
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
