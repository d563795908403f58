"""Image AUROC, pixel AUROC, AUPRO and verdicts of the comparison with normal references, beside other methods.

    python benchmarks/evidence.py ROOT [ROOT ...] [--json] [--shots 1 4 16] [--seeds 5] [--limit 15] [--cache DIR]
        [--split test] [--categories NAME ...] [--methods NAME ...] [--anomalib PYTHON] [--workers 1]

ROOT holds `manifest.csv`. References are drawn from the normals of `train`, once per seed and the same for every
method; the figures are those of `test`, at most `--limit` images a label. With `--split train` they are those of the
other images of `train`, to tune on. A category with one label only, or without normals enough, is named and passed
over; one with fewer normals than the most references gives all it has, which is said. Features are computed once and
kept in `--cache` (see `evidence_features.py`), and so is what a seed and category gave: a run that was cut off goes on.

- `reason-iad`: this project's evidence at its defaults; `reason-iad-fast` without ViT;
- `anomalib-patchcore`, `anomalib-padim`: anomalib itself, with `--anomalib` and the interpreter that has it;
- `plain`, `patchcore`, `padim`: see `benchmarks/evidence_peers.py`.

Verdicts are those of the comparison alone at the tool's default false-alarm rate of 2 %. Intervals are 95 % bootstraps
over test images and seeds. The last line with `--json` is one object: `image_auroc`, `pixel_auroc` and `aupro` by k and
method, `ms_per_image` by method (processor time, features included), and of `reason-iad` by k: `overkill` (normals
called defective), `miss` (defectives called normal), `uncertain` (of all), `regions_on_defects` (of the defectives not
called normal whose mask is known, those whose first region meets it) and `regions_on_normals` (normals with a region
that is not marked weak). All are means over categories.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from evidence_data import Category, Item, load, meets, on_grid, say, usable
from evidence_features import StoredTowers
from evidence_peers import Anomalib, Scorer, padim, patchcore, plain
from evidence_report import OWN, VERDICT_FIGURES, Record, image_auroc, report
from torch.nn import functional as F

from reason_iad.benchmark.features import evidence_code
from reason_iad.errors import ReasonIADError
from reason_iad.evidence.compare import EvidenceMap, compare
from reason_iad.evidence.features import FAST_STREAMS, EvidenceOptions
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import Pixels
from reason_iad.metrics.segmentation import pixel_scores
from reason_iad.models.base import VisionTowers

MAX_OVERKILL = 0.02  # the tool's default


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


def own(references: Sequence[Pixels], vision: VisionTowers, fast: bool = False) -> Callable[[Pixels], EvidenceMap]:
    """This project's comparison, with all that it says."""
    bank = MemoryBank.build(references, vision, EvidenceOptions(streams=FAST_STREAMS) if fast else None)
    return lambda pixels: compare(pixels, bank, vision)


def reason_iad(references: Sequence[Pixels], vision: VisionTowers, fast: bool = False) -> Scorer:
    """This project's comparison: score and uncalibrated map."""
    ask = own(references, vision, fast)

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        found = ask(pixels)
        return found.anomaly_score, found.raw

    return score


METHODS: dict[str, Callable[[Sequence[Pixels], VisionTowers], Scorer]] = {
    OWN: reason_iad,
    "reason-iad-fast": functools.partial(reason_iad, fast=True),
    "plain": plain,
    "patchcore": patchcore,
    "padim": padim,
}
PEERS = ("anomalib-patchcore", "anomalib-padim")


@functools.cache
def anomalib(python: Path) -> Anomalib:
    """One process of anomalib for all."""
    return Anomalib(python)


def method_of(name: str, python: Path | None) -> Callable[[Sequence[Pixels], VisionTowers], Scorer]:
    """The method of a name."""
    if name in METHODS:
        return METHODS[name]
    peer = anomalib(python or Path(sys.executable))
    return peer.patchcore if name == "anomalib-patchcore" else peer.padim


def pixel_figures(items: Sequence[Item], maps: Sequence[np.ndarray]) -> dict[str, float]:
    """Pixel AUROC and AUPRO over the images whose mask is known; empty where no defect has one."""
    known = [(on_grid(item.mask), one) for item, one in zip(items, maps, strict=True) if item.mask is not None]
    if not any(mask.any() for mask, _ in known) or not all(np.isfinite(one).all() for _, one in known):
        return {}
    large = [
        F.interpolate(torch.from_numpy(one)[None, None].float(), size=mask.shape, mode="bilinear")[0, 0]
        for mask, one in known
    ]
    scores = pixel_scores((one.half().numpy(), mask) for one, (mask, _) in zip(large, known, strict=True))
    return {"pixel_auroc": scores.auroc(), "aupro": scores.aupro()}


def verdict_figures(items: Sequence[Item], found: Sequence[EvidenceMap]) -> dict[str, float]:
    """What the tool would say of the images, as shares; those that no image counts for are left out."""
    told: dict[str, list[bool]] = {name: [] for name in VERDICT_FIGURES}
    for item, one in zip(items, found, strict=True):
        hw = (item.pixels.shape[0], item.pixels.shape[1])
        verdict = one.judge(MAX_OVERKILL)
        regions = one.shown(hw, verdict)
        told["uncertain"].append(verdict == "uncertain")
        if not item.defective:
            told["overkill"].append(verdict == "defective")
            told["regions_on_normals"].append(any(not region.weak for region in regions))
            continue
        told["miss"].append(verdict == "normal")
        if verdict != "normal" and item.mask is not None and item.mask.any():
            told["regions_on_defects"].append(bool(regions) and meets(item.mask, regions[0].box_xyxy, hw))
    return {name: float(np.mean(some)) for name, some in told.items() if some}


def evaluate_one(task: tuple[int, str, Path], args: argparse.Namespace, cache: Path) -> list[Record]:
    """The records of one seed and category; those of an earlier run of the same code and options are read."""
    from reason_iad.models.vision import BundledVision

    seed, category, root = task
    facts = (str(root.resolve()), args.shots, args.limit, args.split, args.methods, evidence_code())
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    kept = cache / "records" / f"{category}-{seed}-{key}.pickle"
    if kept.is_file():
        return cast(list[Record], pickle.loads(kept.read_bytes()))  # noqa: S301 - written below
    images = load(root, args.limit, category, args.split)
    vision = Remembering(StoredTowers(BundledVision.load(exact=True), cache))
    records = [record for k in args.shots for record in evaluate(category, images, vision, k, seed, args)]
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(".draft")
    draft.write_bytes(pickle.dumps(records))
    draft.replace(kept)
    return records


def evaluate(
    category: str, images: Category, vision: VisionTowers, k: int, seed: int, args: argparse.Namespace
) -> list[Record]:
    """One record per method, with the score of each test image."""
    references, test = images.draw(seed, k)
    records = []
    for method in args.methods:
        started = time.process_time()
        extra: dict[str, float] = {}
        if method == OWN:
            ask = own(references, vision)
            all_of_it = [ask(item.pixels) for item in test]
            found = [(one.anomaly_score, one.raw) for one in all_of_it]
            extra = verdict_figures(test, all_of_it)
        else:
            score = method_of(method, args.anomalib)(references, vision)
            found = [score(item.pixels) for item in test]
        records.append(
            {
                "category": category, "k": k, "seed": seed, "method": method, **extra,
                "labels": np.array([item.defective for item in test]), "scores": np.array([one for one, _ in found]),
                **pixel_figures(test, [one for _, one in found]),
            }
        )  # fmt: skip
        area = image_auroc(records[-1:])
        say(f"seed {seed}, {category}, k={k}, {method}: {area:.3f} ({time.process_time() - started:.0f} s)")
    return records


def evaluate_all(categories: dict[str, Path], args: argparse.Namespace, cache: Path) -> list[Record]:
    """The records of every seed and category, several at a time with `--workers`."""
    each = functools.partial(evaluate_one, args=args, cache=cache)
    tasks = [(seed, category, root) for seed in range(args.seeds) for category, root in sorted(categories.items())]
    if args.workers == 1:
        return [record for task in tasks for record in each(task)]
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        return [record for records in pool.imap(each, tasks, chunksize=1) for record in records]


def time_methods(images: Category, vision: VisionTowers, k: int, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of processor time of a comparison with k references, features of the query included."""
    found = {}
    for method in args.methods:
        score = method_of(method, args.anomalib)(images.normals[:k], vision)
        score(images.test[0].pixels)
        spent = []
        for item in images.test[1:8]:
            busy = time.perf_counter() if method in PEERS else time.process_time()  # theirs runs in another process
            score(item.pixels)
            spent.append(((time.perf_counter() if method in PEERS else time.process_time()) - busy) * 1000)
        found[method] = round(float(np.median(spent)), 1)
    return found


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", type=Path, nargs="+", metavar="ROOT")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=15, help="test images per category and label")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, *PEERS])
    parser.add_argument("--anomalib", type=Path, help="interpreter of an environment with anomalib (benchmarks/peers)")
    parser.add_argument("--cache", type=Path, help="folder that keeps features; a temporary one if not given")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the categories")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.methods = args.methods or [*METHODS, *(PEERS if args.anomalib else ())]
    if args.anomalib is None and set(args.methods) & set(PEERS):
        parser.error("anomalib's methods need --anomalib with the interpreter that has it; see benchmarks/peers")
    try:
        categories = usable(args.roots, args.categories, args.split, args.shots)
        with tempfile.TemporaryDirectory() as folder:
            records = evaluate_all(categories, args, args.cache or Path(folder))
        largest = max(categories, key=lambda name: len(load(categories[name], 8, name, "test").normals))
        images = load(categories[largest], 8, largest, "test")
        result = report(records, time_methods(images, BundledVision.load(), max(args.shots), args))
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
