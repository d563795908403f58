"""Image and pixel AUROC of the comparison with normal references, beside two plain methods on the same features.

    python benchmarks/evidence.py ROOT [--json] [--shots 1 4 16] [--seeds 2] [--limit 30] [--categories NAME ...]

ROOT holds `manifest.csv` (image, category, split, label, mask). References are drawn from the normals of `train`, once
per seed and the same for every method; the figures are those of `test`, at most `--limit` images a label. A category
with fewer normals than asked gives all it has. Compared are

- `reason-iad`: this project's evidence, `anomaly_score` and `raw` map;
- `plain`: cosine distance to the nearest reference patch on EfficientNet-Lite0 strides 8 + 16, mean of the worst 1 %;
- `patchcore`: written from its paper (Roth et al., 2022) on the same features: 3 x 3 neighborhoods, both strides at the
  finer grid, greedy coreset of 1 % (at least 1,000 patches), Euclidean distance, reweighted maximum.

The last line with `--json` is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import VisionTower
from reason_iad.evidence.memory_bank import ReferenceBank
from reason_iad.images import Pixels, read_image, resize
from reason_iad.metrics.classification import auroc

PAIRED = {"bare_pcb"}  # each board has its own template: not compared with a set of normals
SIZE = 448
MASK_SIDE = 112  # pixel figures are computed on this grid

Scorer = Callable[[Pixels], tuple[float, np.ndarray]]  # image score, anomaly map (h, w)


@dataclass(frozen=True)
class Item:
    """One image of the manifest, loaded."""

    pixels: Pixels
    defective: bool
    mask: np.ndarray | None  # (MASK_SIDE, MASK_SIDE) bool; None where the defect's place is not known


class Remembering:
    """A vision tower that keeps the features of every image of a category, so that each is computed once."""

    def __init__(self, vision: VisionTower) -> None:
        self._vision = vision
        self._kept: dict[tuple[int, str, int, tuple[int, ...]], tuple[Pixels, dict[int, torch.Tensor]]] = {}

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """As in the tower."""
        wanted = tuple(layers)
        return self._gather(images, ("vit", size, wanted), lambda image: self._vision.vit([image], size, wanted))

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, torch.Tensor]:
        """As in the tower."""
        return self._gather(images, ("efficientnet", size, ()), lambda image: self._vision.efficientnet([image], size))

    def _gather(self, images: Sequence[Pixels], what: Any, run: Callable[[Pixels], Any]) -> dict[int, torch.Tensor]:
        found = []
        for image in images:
            key = (id(image), *what)
            if key not in self._kept:
                self._kept[key] = (image, run(image))  # holds the image too, so that its id stays taken
            found.append(self._kept[key][1])
        return {level: torch.cat([one[level] for one in found]) for level in found[0]}


def reason_iad(references: Sequence[Pixels], vision: VisionTower) -> Scorer:
    """This project's comparison at its defaults."""
    bank = ReferenceBank.build(references, vision)

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        found = compare(pixels, bank, vision)
        return found.anomaly_score, found.raw

    return score


def plain(references: Sequence[Pixels], vision: VisionTower) -> Scorer:
    """Cosine distance at the stride-16 grid, both strides, without calibration."""

    def describe(images: Sequence[Pixels]) -> torch.Tensor:
        levels = vision.efficientnet(images, SIZE)
        fine = F.avg_pool2d(levels[8].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return torch.cat([F.normalize(fine, dim=-1), F.normalize(levels[16], dim=-1)], dim=-1) / 2**0.5

    memory = describe(references).flatten(0, 2)

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        query = describe([pixels])[0]
        distance = 1 - (query.flatten(0, 1) @ memory.T).amax(dim=1)
        worst = distance.topk(max(1, round(len(distance) * 0.01))).values.mean()
        return float(worst), distance.reshape(query.shape[:2]).numpy()

    return score


def patchcore(references: Sequence[Pixels], vision: VisionTower) -> Scorer:
    """PatchCore with nine neighbors in the reweighting, as in the paper."""

    def describe(images: Sequence[Pixels]) -> torch.Tensor:
        levels = vision.efficientnet(images, SIZE)
        parts = []
        for stride in (8, 16):
            local = F.avg_pool2d(levels[stride].permute(0, 3, 1, 2), 3, stride=1, padding=1)
            side = levels[8].shape[1]
            parts.append(F.interpolate(local, size=(side, side), mode="bilinear", align_corners=False))
        return torch.cat(parts, dim=1).permute(0, 2, 3, 1)

    patches = describe(references).flatten(0, 2)
    memory = patches[greedy_coreset(patches, max(1000, len(patches) // 100))]

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        query = describe([pixels])[0]
        flat = query.flatten(0, 1)
        nearest, index = torch.cdist(flat, memory).min(dim=1)
        worst = int(nearest.argmax())
        around = torch.cdist(memory[index[worst]][None], memory)[0].topk(min(9, len(memory)), largest=False).indices
        to_neighbors = torch.cdist(flat[worst][None], memory[around])[0]
        weight = 1 - torch.exp(nearest[worst] - torch.logsumexp(to_neighbors, dim=0))
        return float(weight * nearest[worst]), nearest.reshape(query.shape[:2]).numpy()

    return score


METHODS: dict[str, Callable[[Sequence[Pixels], VisionTower], Scorer]] = {
    "reason-iad": reason_iad,
    "plain": plain,
    "patchcore": patchcore,
}


def greedy_coreset(patches: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of `count` patches, each the farthest from those before, after a random projection to 64 dimensions."""
    if count >= len(patches):
        return torch.arange(len(patches))
    generator = torch.Generator().manual_seed(0)
    projected = patches @ torch.randn(patches.shape[1], 64, generator=generator) / 8.0
    norms = (projected**2).sum(dim=1)
    chosen = [int(torch.randint(len(patches), (1,), generator=generator))]
    gap = torch.full((len(patches),), float("inf"))
    for _ in range(count - 1):
        last = projected[chosen[-1]]
        gap = torch.minimum(gap, norms - 2 * projected @ last + last @ last)
        chosen.append(int(gap.argmax()))
    return torch.tensor(chosen)


def load(root: Path, limit: int, only: Sequence[str]) -> dict[str, tuple[list[Pixels], list[Item]]]:
    """Normals of train, and the chosen test images, by category."""
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{manifest} does not exist; expected a folder with a manifest.csv and its images")
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] not in PAIRED]
    rows = [row for row in rows if not only or row["category"] in only]
    found: dict[str, tuple[list[Pixels], list[Item]]] = {}
    for category in sorted({row["category"] for row in rows}):
        mine = [row for row in rows if row["category"] == category]
        normals = [root / row["image"] for row in mine if row["split"] == "train" and row["label"] == "normal"]
        order = np.random.default_rng(0)
        test: list[Item] = []
        for label in ("normal", "defective"):
            some = [row for row in mine if row["split"] == "test" and row["label"] == label]
            test += [load_item(root, some[i]) for i in order.permutation(len(some))[:limit]]
        found[category] = ([read_image(path).pixels for path in normals], test)
    return found


def load_item(root: Path, row: dict[str, str]) -> Item:
    """One test image with its mask; a normal one has an empty mask."""
    mask: np.ndarray | None = None
    if row["label"] == "normal":
        mask = np.zeros((MASK_SIDE, MASK_SIDE), dtype=bool)
    elif row["mask"]:
        mask = resize(read_image(root / row["mask"]).pixels, (MASK_SIDE, MASK_SIDE))[..., 0] > 127
    return Item(read_image(root / row["image"]).pixels, row["label"] != "normal", mask)


def pixel_auroc(items: Sequence[Item], maps: Sequence[np.ndarray]) -> float | None:
    """AUROC over all pixels of images whose mask is known; None where no defect has one."""
    known = [(item.mask, one) for item, one in zip(items, maps, strict=True) if item.mask is not None]
    if not any(mask.any() for mask, _ in known):
        return None
    size = (MASK_SIDE, MASK_SIDE)
    scores = [F.interpolate(torch.from_numpy(one)[None, None], size=size, mode="bilinear") for _, one in known]
    return auroc(np.concatenate([mask.ravel() for mask, _ in known]), torch.cat(scores).flatten().numpy())


def evaluate(
    data: dict[str, tuple[list[Pixels], list[Item]]], vision: VisionTower, shots: Sequence[int], seeds: int
) -> list[dict[str, Any]]:
    """One record per category, k, seed and method, with the score of each test image."""
    records = []
    for category, (normals, test) in data.items():
        shared = Remembering(vision)
        for k in shots:
            for seed in range(seeds):
                chosen = np.random.default_rng(seed).permutation(len(normals))[:k]
                for method, prepare in METHODS.items():
                    score = prepare([normals[i] for i in chosen], shared)
                    found = [score(item.pixels) for item in test]
                    records.append(
                        {
                            "category": category, "k": k, "seed": seed, "method": method,
                            "labels": np.array([item.defective for item in test]),
                            "scores": np.array([one for one, _ in found]),
                            "pixel_auroc": pixel_auroc(test, [one for _, one in found]),
                        }
                    )  # fmt: skip
        for k in shots:
            now = {m: [o for o in records if (o["category"], o["k"], o["method"]) == (category, k, m)] for m in METHODS}
            figures = ", ".join(f"{method} {image_auroc(some):.3f}" for method, some in now.items())
            print(f"{category} k={k}, {len(test)} test images: {figures}", file=sys.stderr, flush=True)
    return records


def image_auroc(records: Sequence[dict[str, Any]], rng: np.random.Generator | None = None) -> float:
    """Mean over categories and seeds; with `rng` the test images of each category are drawn again, by label."""
    means = []
    for category in sorted({one["category"] for one in records}):
        mine = [one for one in records if one["category"] == category]
        labels = mine[0]["labels"]
        index = np.arange(len(labels))
        if rng is not None:
            index = np.concatenate(
                [rng.choice(np.flatnonzero(labels == kind), (labels == kind).sum()) for kind in (0, 1)]
            )
        means.append(np.mean([auroc(labels[index], one["scores"][index]) for one in mine]))
    return float(np.mean(means))


def interval(records: Sequence[dict[str, Any]], repeats: int = 200) -> tuple[float, float, float]:
    """Image AUROC with the 95 % bootstrap interval over test images."""
    rng = np.random.default_rng(0)
    drawn = [image_auroc(records, rng) for _ in range(repeats)]
    return image_auroc(records), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def time_methods(
    data: dict[str, tuple[list[Pixels], list[Item]]], vision: VisionTower, k: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of a comparison with k references, features of the query included: wall clock and processor."""
    normals, test = max(data.values(), key=lambda pair: len(pair[0]))
    found = {}
    for method, prepare in METHODS.items():
        score = prepare(normals[:k], vision)
        score(test[0].pixels)
        wall, processor = [], []
        for item in test[:7]:
            start, busy = time.perf_counter(), time.process_time()
            score(item.pixels)
            wall.append((time.perf_counter() - start) * 1000)
            processor.append((time.process_time() - busy) * 1000)
        found[method] = {"wall": float(np.median(wall)), "processor": float(np.median(processor))}
    return found


def report(records: list[dict[str, Any]], times: dict[str, dict[str, float]], as_json: bool) -> None:
    """Print the tables, and the JSON object last."""
    shots = sorted({one["k"] for one in records})
    categories = sorted({one["category"] for one in records})
    result: dict[str, Any] = {}
    for title, key in (("image AUROC (95 % CI)", "image"), ("pixel AUROC", "pixel")):
        print(f"\n{title}\n| category | n | " + " | ".join(f"{m} k={k}" for m in METHODS for k in shots) + " |")
        print("|---|---|" + "---|" * (len(METHODS) * len(shots)))
        for category in [*categories, "mean"]:
            cells = []
            for method in METHODS:
                summary = result.setdefault(
                    method, {"image_auroc": {}, "interval": {}, "pixel_auroc": {}, "categories": {}}
                )
                for k in shots:
                    some = [o for o in records if o["method"] == method and o["k"] == k]
                    some = [o for o in some if category in (o["category"], "mean")]
                    if key == "image":
                        value, low, high = interval(some)
                        cells.append(f"{value:.3f} ({low:.2f}-{high:.2f})")
                        if category == "mean":
                            summary["image_auroc"][k], summary["interval"][k] = (
                                round(value, 4),
                                [round(low, 4), round(high, 4)],
                            )
                        else:
                            summary["categories"].setdefault(category, {})[k] = round(value, 4)
                        continue
                    values = [o["pixel_auroc"] for o in some if o["pixel_auroc"] is not None]
                    cells.append(f"{np.mean(values):.3f}" if values else "-")
                    if category == "mean" and values:
                        summary["pixel_auroc"][k] = round(float(np.mean(values)), 4)
            tested = {o["category"]: len(o["labels"]) for o in records if category in (o["category"], "mean")}
            print(f"| {category} | {sum(tested.values())} | " + " | ".join(cells) + " |")
    for k in shots:
        own = [one for one in records if one["method"] == "reason-iad" and one["k"] == k]
        above = {
            kind: float(np.concatenate([one["scores"][one["labels"] == truth] > 0.5 for one in own]).mean())
            for kind, truth in (("normal", False), ("defective", True))
        }
        result["reason-iad"].setdefault("above_half", {})[k] = {kind: round(value, 4) for kind, value in above.items()}
        print(f"k={k}: score above 0.5 in {above['normal']:.1%} of normals, {above['defective']:.1%} of defectives")
    for method, spent in times.items():
        result[method]["ms_per_image"] = {name: round(value, 1) for name, value in spent.items()}
        print(f"{method}: {spent['wall']:.0f} ms an image ({spent['processor']:.0f} ms of processor time)")
    if as_json:
        peers = {method: result[method] for method in METHODS if method != "reason-iad"}
        print(json.dumps({**result["reason-iad"], "peers": peers, "threads": torch.get_num_threads()}, allow_nan=False))


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=30, help="test images per category and label")
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        data = load(args.root, args.limit, args.categories)
        vision = BundledVision.load()
        records = evaluate(data, vision, args.shots, args.seeds)
        report(records, time_methods(data, vision, max(args.shots)), args.json)
    except ReasonIADError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
