"""What the arithmetic that this processor chooses brings the bundled model and costs, beside float32.

    python benchmarks/nano_precision.py ROOT QUESTIONS [--images 40] [--json]

The questions of every image are asked in both precisions in one run, in turn, with knowledge, evidence of 4 references
and no latents: share of right answers, share of equal answers, the largest and the mean difference of the most likely
option's probability and the milliseconds of
the prefix and of an answer.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from reason_iad.datasets.mmad import read_mmad
from reason_iad.inspection.clock import Clock
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.metrics.intervals import share
from reason_iad.types import InspectionRequest

PRECISIONS = ("auto", "float32")


def load(precision: str) -> Inspector:
    """The inspector with the bundled model in this precision."""
    return Inspector.load(InspectorOptions.from_mapping({"latents": "off", "injection": "off", "dtype": precision}))


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    samples = list(read_mmad(args.root, args.questions).samples)
    random.Random(0).shuffle(samples)
    inspectors = {precision: load(precision) for precision in PRECISIONS}
    found: dict[str, dict[str, list[Any]]] = {
        p: {"right": [], "text": [], "p": [], "prefix": [], "ask": []} for p in PRECISIONS
    }
    for number, sample in enumerate(samples[: args.images]):
        for precision in PRECISIONS if number % 2 else reversed(PRECISIONS):
            columns, clock = found[precision], Clock()
            request = InspectionRequest.of(sample.image, references=sample.templates("random", 4))
            session = inspectors[precision].open(request, clock)
            columns["prefix"].append(clock.milliseconds["prefix"])
            for q in sample.questions:
                began = time.perf_counter()
                answer = session.choose(q.question, q.options, q.kind, think=False).answer
                columns["ask"].append((time.perf_counter() - began) * 1000)
                columns["right"].append(answer.text == q.options[q.target])
                columns["text"].append(answer.text)
                columns["p"].append(max(o.probability for o in answer.options))
        print(f"\r{number + 1} of {args.images} images ", end="", file=sys.stderr, flush=True)
    summary: dict[str, Any] = {"n": len(found["auto"]["right"]), "images": min(args.images, len(samples))}
    print()
    for precision, columns in found.items():
        accuracy = share(sum(columns["right"]), len(columns["right"]))
        prefix, ask = statistics.median(columns["prefix"]), statistics.median(columns["ask"])
        print(f"{precision}: right {accuracy}, prefix {prefix:.0f} ms, an answer {ask:.0f} ms")
        summary[precision] = {"accuracy": accuracy.value, "prefix_ms": prefix, "answer_ms": ask}
    pairs = list(zip(found["auto"]["text"], found["float32"]["text"], strict=True))
    gaps = [abs(a - b) for a, b in zip(found["auto"]["p"], found["float32"]["p"], strict=True)]
    summary["equal"] = sum(a == b for a, b in pairs) / len(pairs)
    summary["probability_gap"] = {"mean": statistics.mean(gaps), "max": max(gaps)}
    mean, most = statistics.mean(gaps), max(gaps)
    print(f"equal answers {summary['equal']:.3f}, the probability differs by {mean:.3f} (at most {most:.3f})")
    if args.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
