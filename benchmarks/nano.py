"""What an inspection with the bundled model costs on this machine.

    python benchmarks/nano.py [--repeat 5] [--json]

Images are rendered tablets, every second one defective, compared with 4 references whose bank is built before; weights
are loaded. Medians over `--repeat` images that differ. Each part runs in a process of its own:

full_ms         category recognized, knowledge, evidence, latents (10 steps at most, early stop as in use), injection
float32_ms      the same by plain torch in float32, image by image in turn with full_ms of the same process
every_step_ms   the same as full_ms with all 10 steps
no_latents_ms   without latents, each image as if it were the first of its product
next_of_lot_ms  the same for the next image of the product: knowledge is in store
screened_ms     a good part that the evidence clears alone: category given, fast streams, `--reason auto`
busy_ratio      no_latents_ms with two other processes that never rest, over itself
cold_start_s    from the command `reason-iad inspect` for a good part to its end, with the 4 references to be prepared
rss_mb          largest resident memory of the full part

With --json the last line is one object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SEED = 11
PARTS = ("full", "paired", "every_step", "no_latents", "next_of_lot", "screened", "busy")
PRODUCT = "any_product"  # of a part whose category is given


def tablets(count: int, good: int = 4) -> tuple[list[Any], list[Any]]:
    """Images, every second one defective, and references of the same product."""
    from reason_iad.training.synth import Synthesizer

    line = Synthesizer(SEED).make_line(0, "tablet")
    images = [line.defective(i).pixels if i % 2 else line.normal(i) for i in range(count)]
    return images, [line.normal(1000 + i) for i in range(good)]


def load(part: str) -> Any:
    """An inspector with the settings of a part."""
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.reasoning.latent_options import LatentOptions

    class EveryStep(InspectorOptions):
        """All ten steps, whatever they bring."""

        def latent_options(self) -> LatentOptions:
            return LatentOptions(num_steps=self.num_steps, seed=self.seed, sure_entropy=0.0, patience=10_000)

    if part == "every_step":
        return Inspector.load(EveryStep(latents="on", injection="on"))
    if part in ("full", "paired"):
        return Inspector.load(InspectorOptions(latents="on", injection="on"))
    fast = {"streams": "fast", "reason": "auto"} if part == "screened" else {}
    return Inspector.load(InspectorOptions.from_mapping({"latents": "off", "injection": "off", **fast}))


def plain_float32(inspector: Any) -> Any:
    """The same inspector with decoder and towers in torch, in float32."""
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.models.nano import NanoModel, read_adapter
    from reason_iad.models.sources import default_adapter
    from reason_iad.models.vision import BundledVision
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.processor import Arithmetic
    from reason_iad.recognition.prototypes import CategoryPrototypes

    vision = CachedVision(BundledVision.load_torch())
    model = NanoModel.load(vision=vision, arithmetic=Arithmetic("float32", "float32"))
    _, settings = read_adapter(default_adapter())
    return Inspector(inspector.options, model, vision, inspector.knowledge, CategoryPrototypes.load(), settings)


def timed(inspector: Any, image: Any, references: list[Any], category: str | None) -> tuple[float, Any]:
    """Milliseconds of an inspection, and its report."""
    began = time.perf_counter()
    report = inspector.inspect(image, category, references=references)
    return (time.perf_counter() - began) * 1000, report


def measure(part: str, repeat: int) -> dict[str, Any]:
    """Medians of one part."""
    images, references = tablets(2 * (repeat + 1))
    category = None
    if part == "screened":
        images, category = images[::2], PRODUCT  # the good ones
    inspector = load(part)
    others = [plain_float32(inspector)] if part == "paired" else []
    spent: dict[str, list[float]] = {"ms": [], "float32_ms": []}
    stages, asked = [], 0
    with busy(2 if part == "busy" else 0):
        for image in images[: repeat + 1]:
            for name, one in zip(spent, [inspector, *others], strict=False):
                if part in ("no_latents", "busy"):
                    one.model.shared.clear()  # as if each image were the first of its product
                ms, report = timed(one, image, references, category)
                spent[name].append(ms)
            stages.append(dict(report.milliseconds))
            if part == "screened" and report.trace is not None and len(stages) > 1:
                asked += 1  # the evidence did not clear it: another figure
                stages.pop()
                spent["ms"].pop()
    return {
        **{name: statistics.median(times[1:]) for name, times in spent.items() if times},  # the first builds the bank
        "stages": {name: round(statistics.median(s.get(name, 0.0) for s in stages[1:]), 1) for name in stages[-1]},
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "asked": asked,
    }


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many other processes that never rest."""
    others = [multiprocessing.get_context("spawn").Process(target=_never_rest, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()


def _never_rest() -> None:
    while True:
        pass


def cold_start(repeat: int) -> float:
    """Seconds of the command, from its start to its end: the median."""
    from PIL import Image

    images, references = tablets(2)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.png" for name in ("part", *(f"good{i}" for i in range(len(references))))]
        for path, pixels in zip(paths, [images[0], *references], strict=True):
            Image.fromarray(pixels).save(path)
        command = [sys.executable, "-m", "reason_iad.cli.app", "inspect", str(paths[0])]
        command += ["--reference", *map(str, paths[1:])]
        spent = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeat)]
    return statistics.median(spent)


def _seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


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
    from reason_iad import processor

    print(f"{processor.model_name()}, {processor.threads()} threads, {processor.choose()}", flush=True)
    found = {}
    for part in PARTS:
        command = [sys.executable, __file__, "--part", part, "--repeat", str(args.repeat)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[part] = json.loads(done.stdout.splitlines()[-1])
        stages = ", ".join(f"{name} {ms:.0f}" for name, ms in found[part]["stages"].items())
        print(f"{part}: {found[part]['ms']:.0f} ms ({stages})", flush=True)
    if found["screened"]["asked"]:
        print(f"{found['screened']['asked']} good parts of {args.repeat + 1} were not cleared by the evidence")
    result = {
        "processor": processor.model_name(),
        "arithmetic": str(processor.choose()),
        "full_ms": round(found["full"]["ms"], 1),
        "float32_ms": round(found["paired"]["float32_ms"], 1),
        "default_over_float32": round(found["paired"]["ms"] / found["paired"]["float32_ms"], 3),
        **{
            f"{part}_ms": round(found[part]["ms"], 1)
            for part in ("every_step", "no_latents", "next_of_lot", "screened")
        },
        "busy_ratio": round(found["busy"]["ms"] / found["no_latents"]["ms"], 2),
        "cold_start_s": round(cold_start(3), 2),
        "rss_mb": round(found["full"]["rss_mb"]),
    }
    print(json.dumps(result) if args.json else f"memory {result['rss_mb']} MB, cold start {result['cold_start_s']} s")


if __name__ == "__main__":
    main()
