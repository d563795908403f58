"""Whether a greedy coreset, or FAISS, should stand between an image and all patches of its references.

    python benchmarks/evidence_coreset.py ROOT [--references 16] [--limit 15] [--categories NAME ...] [--cache DIR]
        [--no-coresets]

Stride 16 of EfficientNet-Lite0 at 448 px, Euclidean, mean of the worst 1 %: image AUROC on `test` with one draw of
references, the recall (share of patches whose nearest distance is the true one), and the processor time of one search,
for all patches, for greedy coresets of 25, 10 and 1 % (`--no-coresets` leaves them out: they take minutes in a large
bank), and, where faiss-cpu is installed, for its flat and inverted-file indexes over all patches.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from evidence_data import load, usable
from evidence_peers import greedy_coreset

from reason_iad.benchmark.features import StoredVision
from reason_iad.evidence.calibrate import image_statistic
from reason_iad.evidence.patch_index import PatchIndex
from reason_iad.evidence.search import search
from reason_iad.metrics.classification import auroc
from reason_iad.models.vision import BundledVision

Search = Callable[[torch.Tensor], np.ndarray]  # features (H, W, C) to distances (H, W)


def exact(memory: torch.Tensor) -> Search:
    """This project's own search over patches (N, C)."""
    return lambda query: search(query, memory[None, None], ("euclidean",))["euclidean"]


def flat(memory: torch.Tensor) -> Search:
    """FAISS's exact index over the same patches."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(memory.shape[1])
    index.add(memory.numpy())

    def find(query: torch.Tensor) -> np.ndarray:
        squared, _ = index.search(query.reshape(-1, memory.shape[1]).numpy(), 1)
        return np.sqrt(np.maximum(squared, 0)).reshape(query.shape[:2])

    return find


def inverted(memory: torch.Tensor) -> Search:
    """The inverted file that large banks are searched by."""
    index = PatchIndex(memory[None, None], ("euclidean",))
    return lambda query: index.search(query)["euclidean"]


def ways(patches: torch.Tensor, shares: Sequence[float]) -> dict[str, Callable[[], Search]]:
    """Every way to search the patches (N, C), with coresets of these shares."""

    def core(share: float) -> Callable[[], Search]:
        return lambda: exact(patches[greedy_coreset(patches, round(share * len(patches)))])

    found = {"all patches": lambda: exact(patches)} | {f"coreset {s:.0%}": core(s) for s in shares}
    if importlib.util.find_spec("faiss"):
        found |= {"FAISS flat": lambda: flat(patches), "FAISS inverted file": lambda: inverted(patches)}
    return found


def measure(
    make: Callable[[], Search], test: Sequence[torch.Tensor], labels: np.ndarray, truth: Sequence[np.ndarray]
) -> tuple[float, float, float, float]:
    """Image AUROC, recall beside exact distances, processor milliseconds of a search, seconds to build."""
    start = time.process_time()
    find = make()
    built = time.process_time() - start
    start = time.process_time()
    maps = [np.asarray(find(one), np.float32) for one in test]
    spent = (time.process_time() - start) * 1000 / len(test)
    recall = float(np.mean([np.isclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(maps, truth, strict=True)]))
    return auroc(labels, np.array([image_statistic(one) for one in maps])), recall, spent, built


def main() -> int:
    """Measure every way on every category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--limit", type=int, default=15)
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--no-coresets", action="store_true")
    args = parser.parse_args()
    figures: dict[str, list[tuple[float, float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        vision = StoredVision(BundledVision.load(), args.cache or Path(folder))
        for name, root in usable([args.root], args.categories, "test", [args.references]).items():
            images = load(root, args.limit, name, "test")
            references, items = images.draw(0, args.references)
            patches = vision.efficientnet(references, 448)[16].flatten(0, 2)
            test = list(vision.efficientnet([item.pixels for item in items], 448)[16])
            labels = np.array([item.defective for item in items])
            truth = [np.asarray(exact(patches)(one), np.float32) for one in test]
            for name, make in ways(patches, () if args.no_coresets else (0.25, 0.1, 0.01)).items():
                figures.setdefault(name, []).append(measure(make, test, labels, truth))
    print("| search | image AUROC | recall | ms of processor time | s to build |\n|---|---|---|---|---|")
    for name, rows in figures.items():
        score, recall, spent, built = np.mean(rows, axis=0)
        print(f"| {name} | {score:.3f} | {recall:.3f} | {spent:.1f} | {built:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
