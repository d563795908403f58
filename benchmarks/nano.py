"""What a full inspection with the bundled model costs on this machine.

    python benchmarks/nano.py [--repeat 5] [--json]

Each figure comes from a process of its own. `full_ms`: one inspection of a rendered tablet with 4 references, category
recognized, knowledge, evidence, latents (10 steps at most, early stop as in use) and injection, weights loaded and the
references' bank built before; `every_step_ms`: the same with all 10 steps; `no_latents_ms`: without latents; `rss_mb`:
the largest resident memory of the full one; `cold_start_s`: from the start of the process to the first report, weights
in the cache. Medians over `--repeat` images that differ, so that nothing but the bank is reused. With --json the last
line is one object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

SEED = 11
PARTS = ("full", "no_latents", "every_step")


def measure(part: str, repeat: int) -> dict[str, Any]:
    """Inspect rendered tablets, every second one defective."""
    started = time.perf_counter()
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.reasoning.latents import LatentOptions
    from reason_iad.training.synth import Synthesizer

    line = Synthesizer(SEED).make_line(0, "tablet")
    references = [line.normal(1000 + i) for i in range(4)]
    images = [line.defective(i).pixels if i % 2 else line.normal(i) for i in range(repeat + 1)]
    made = time.perf_counter() - started

    class EveryStep(InspectorOptions):
        """All ten steps, whatever they bring."""

        def latent_options(self) -> LatentOptions:
            return LatentOptions(num_steps=self.num_steps, seed=self.seed, sure_entropy=0.0, patience=10_000)

    options = {"full": InspectorOptions(), "no_latents": InspectorOptions(latents="off", injection="off")}
    inspector = Inspector.load(options.get(part) or EveryStep())
    inspector.inspect(images[-1], references=references)
    cold = time.perf_counter() - started - made
    spent, stages = [], []
    for image in images[:repeat]:
        began = time.perf_counter()
        report = inspector.inspect(image, references=references)
        spent.append((time.perf_counter() - began) * 1000)
        stages.append(dict(report.milliseconds))
    return {
        "ms": statistics.median(spent),
        "stages": {name: round(statistics.median(s.get(name, 0.0) for s in stages), 1) for name in stages[0]},
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cold_start_s": cold,
    }


def main() -> None:
    """Measure every part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.part, args.repeat)))
        return
    found = {}
    for part in PARTS:
        command = [sys.executable, __file__, "--part", part, "--repeat", str(args.repeat)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[part] = json.loads(done.stdout.splitlines()[-1])
        stages = ", ".join(f"{name} {ms:.0f}" for name, ms in found[part]["stages"].items())
        print(f"{part}: {found[part]['ms']:.0f} ms ({stages})", flush=True)
    result = {
        "full_ms": round(found["full"]["ms"], 1),
        "every_step_ms": round(found["every_step"]["ms"], 1),
        "no_latents_ms": round(found["no_latents"]["ms"], 1),
        "rss_mb": round(found["full"]["rss_mb"]),
        "cold_start_s": round(found["full"]["cold_start_s"], 2),
    }
    print(json.dumps(result) if args.json else f"memory {result['rss_mb']} MB, cold start {result['cold_start_s']} s")


if __name__ == "__main__":
    main()
