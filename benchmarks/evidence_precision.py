"""Whether the comparison with references should run in bfloat16: time and accuracy beside float32, in one run.

    python benchmarks/evidence_precision.py ROOT [--references 4] [--limit 10] [--categories NAME ...] [--repeat 7]

Times are medians of alternating runs on one image: the ViT at 224 px, EfficientNet-Lite0 at 448 px, and the inner
products of an image's patches with those of 16 references. Accuracy is image AUROC on `test`, one draw of references,
with the towers in either precision, and with references learned in float32 as on another machine; the search stays in
float32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence_data import load, usable

from reason_iad.evidence.compare import compare
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.metrics.classification import auroc
from reason_iad.models.vision import BundledVision


def in_turn(one: Callable[[], Any], other: Callable[[], Any], repeat: int) -> tuple[float, float]:
    """Median milliseconds of both, run alternately after a warm-up."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(repeat + 1):
        for action, times in zip((one, other), spent, strict=True):
            started = time.perf_counter()
            action()
            if number:
                times.append((time.perf_counter() - started) * 1000)
    return statistics.median(spent[0]), statistics.median(spent[1])


def main() -> int:
    """Time both precisions, then score both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    full = BundledVision.load_torch()
    half = BundledVision(full.transformer, full.convolutional, halved=True)
    image = [np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)]
    patches, memory = torch.randn(784, 112), torch.randn(16 * 784, 112)
    small, large = patches.bfloat16(), memory.bfloat16()
    parts: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "ViT, 224 px": (lambda: full.vit(image, 224, [7]), lambda: half.vit(image, 224, [7])),
        "EfficientNet-Lite0, 448 px": (lambda: full.efficientnet(image, 448), lambda: half.efficientnet(image, 448)),
        "products with 16 references": (lambda: patches @ memory.T, lambda: small @ large.T),
    }
    print(f"{torch.get_num_threads()} threads\n\n| part | float32 | bfloat16 | ratio |\n|---|---|---|---|")
    for name, (one, other) in parts.items():
        ms, halved = in_turn(one, other, args.repeat)
        print(f"| {name} | {ms:.1f} ms | {halved:.1f} ms | {ms / halved:.2f} |", flush=True)
    print("\n| category | n | AUROC float32 | bfloat16 | bank in float32, image in bfloat16 |\n|---|---|---|---|---|")
    found, gaps = [], []
    for name, root in usable([args.root], args.categories, "test", [args.references]).items():
        images = load(root, args.limit, name, "test")
        references, items = images.draw(0, args.references)
        labels = np.array([item.defective for item in items])
        scores = []
        banks = [MemoryBank.build(references, vision) for vision in (full, half)]
        for bank, vision in ((banks[0], full), (banks[1], half), (banks[0], half)):
            scores.append(np.array([compare(item.pixels, bank, vision).anomaly_score for item in items]))
        found.append([auroc(labels, each) for each in scores])
        gaps.extend(np.abs(scores[1] - scores[0]))
        print(f"| {name} | {len(items)} | " + " | ".join(f"{value:.3f}" for value in found[-1]) + " |", flush=True)
    print("| mean | | " + " | ".join(f"{value:.3f}" for value in np.mean(found, 0)) + " |")
    print(f"\nanomaly scores differ by {np.mean(gaps):.3f}, at most {np.max(gaps):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
