"""What each setting of the latent loop brings on real questions: the measurement behind its defaults.

    python benchmarks/latent_defaults.py ROOT QUESTIONS --out RUN [--images 60] [--minutes 30]
        [--only NAME ...] [--worker i/n] [--seed 0]
    python benchmarks/latent_defaults.py --report RUN [--json]

Every question about an image is answered from the same stored prompt (knowledge and evidence from 4 references) by
every variant; a variant differs from `ours`, the defaults, in one thing. Reported beside the plain answer, paired: the
change of the right option's log-probability and of accuracy with bootstrap intervals, how many answers changed, the
gain of reward and milliseconds. Early stopping is off, so that a variant's work is what its name says, but for
`patience 1` and `patience 2`, which stop as an inspection does. One JSON line a question, so a stopped run goes on; a
folder holds one choice of variants. Choose settings on a training split only.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reason_iad.datasets.mmad import read_mmad
from reason_iad.errors import InputError
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import question_text
from reason_iad.metrics.intervals import bootstrap
from reason_iad.reasoning import scoring, thought
from reason_iad.reasoning.answers import Ending, reader_for
from reason_iad.reasoning.injection import AttentionInjector, Injector, NoInjection, RandomInjector
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, Surroundings
from reason_iad.reasoning.rewards import RewardWeights
from reason_iad.reasoning.scoring import Scored, SuffixScorer, ask
from reason_iad.types import InspectionRequest

OURS = LatentOptions(sure_entropy=0.0, patience=10_000, margin=0.0)
VARIANTS: dict[str, tuple[LatentOptions, str]] = {
    "ours": (OURS, "attention"),
    "own positions": (OURS, "attention"),
    "early layers": (OURS, "attention"),
    "late layers": (OURS, "attention"),
    "random patches": (OURS, "random"),
    "no injection": (OURS, "none"),
    "exact gradient": (replace(OURS, mode="gradient"), "attention"),
    "published": (replace(LatentOptions.paper(), sure_entropy=0.0), "attention"),
    "w 0": (replace(OURS, weights=RewardWeights(answer=0.0)), "attention"),
    "w 0.5": (replace(OURS, weights=RewardWeights(answer=0.5)), "attention"),
    "w 0, no injection": (replace(OURS, weights=RewardWeights(answer=0.0)), "none"),
    "w 0, sigma 0.3": (replace(OURS, weights=RewardWeights(answer=0.0), sigma=0.3), "attention"),
    "w 1": (replace(OURS, weights=RewardWeights(answer=1.0)), "attention"),
    "lambda 0": (replace(OURS, weights=RewardWeights(stability=0.0)), "attention"),
    "L 2": (replace(OURS, num_latents=2), "attention"),
    "L 8": (replace(OURS, num_latents=8), "attention"),
    "sigma 0.3": (replace(OURS, sigma=0.3), "attention"),
    "3 steps": (replace(OURS, num_steps=3), "attention"),
    "patience 1": (LatentOptions(patience=1), "attention"),
    "patience 2": (LatentOptions(patience=2), "attention"),
}


class OwnPositions(SuffixScorer):
    """Injected patches keep the positions that they have in the image; the ending counts on after the latents."""

    def score(self, latents: Tensor, patches: Sequence[int] = (), attend: bool = False) -> Scored:
        """Remember what stands where."""
        self._count, self._patches = latents.shape[1], torch.tensor(list(patches), dtype=torch.long)
        return super().score(latents, patches, attend)

    def _offsets(self, ahead: int, ending: Ending) -> Tensor:
        if ahead == 0:
            return super()._offsets(ahead, ending)
        own = self._patches + self.prefix.query_image.start - self.prefix.next_position
        return torch.cat([torch.arange(self._count), own, ending.offsets + self._count])


def edge_layers(late: bool) -> Any:
    """The first or the last third of the layers."""

    def layers(count: int) -> frozenset[int]:
        third = max(1, count // 3)
        return frozenset(range(count - third, count) if late else range(third))

    return layers


@contextmanager
def changed(name: str) -> Iterator[None]:
    """Variants that are not settings."""
    kept = SuffixScorer, scoring.middle_layers
    if name == "own positions":
        thought.SuffixScorer = OwnPositions  # type: ignore[attr-defined]
    if name in ("early layers", "late layers"):
        scoring.middle_layers = edge_layers(name == "late layers")
    try:
        yield
    finally:
        thought.SuffixScorer, scoring.middle_layers = kept  # type: ignore[attr-defined]


def think(dialog: OpenDialog, name: str, question: str, options: Sequence[str]) -> dict[str, Any]:
    """One variant's answer to one question."""
    settings, kind = VARIANTS[name]
    model = dialog._model
    injectors: dict[str, Injector] = {
        "attention": AttentionInjector(), "random": RandomInjector(), "none": NoInjection(),
    }  # fmt: skip
    with changed(name):
        reader = reader_for(model, options)
        prefix, base = ask(model, dialog.prefix, question_text(model.info, question, options), reader)
        dialog._latents, dialog._neutral = settings, None
        neutral = dialog._neutral_attention() if kind == "attention" else None
        began = time.monotonic()
        reasoner = LatentReasoner(model, settings, injector=injectors[kind])
        known = Surroundings(None if neutral is None else lambda: neutral, dialog._evidence)
        result = reasoner.run(prefix, reader, known, base)
    return {
        "base": list(result.trace.base_answer), "answer": list(result.probabilities),
        "reward": [result.trace.start_reward, result.trace.best_reward], "patches": len(result.trace.patches),
        "milliseconds": round((time.monotonic() - began) * 1000, 1),
    }  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Answer every chosen question by every variant and append the answers."""
    index, count = (int(part) for part in args.worker.split("/"))
    samples = list(read_mmad(args.root, args.questions).samples)
    random.Random(args.seed).shuffle(samples)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"records-{index}.jsonl"
    done = {r["image"] for r in read(args.out)}
    inspector = Inspector.load(InspectorOptions(latents="off", injection="off"))
    started = time.monotonic()
    mine = samples[: args.images][index::count]
    for number, sample in enumerate(mine):
        if args.minutes and time.monotonic() - started > args.minutes * 60:
            break
        if str(sample.image) in done:
            continue
        request = InspectionRequest.of(sample.image, references=sample.templates("random", 4))
        dialog = inspector.open(request).dialog
        assert isinstance(dialog, OpenDialog)
        lines = []
        for q in sample.questions:
            found = {name: think(dialog, name, q.question, q.options) for name in args.only}
            lines.append({"image": str(sample.image), "type": q.kind, "target": q.target, "variants": found})
        with path.open("a", encoding="utf-8") as file:  # an image at once: a stopped run repeats none
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        left = (time.monotonic() - started) / (number + 1) * (len(mine) - number - 1)
        print(f"\r{number + 1}/{len(mine)} images, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)


def read(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def report(folder: Path, as_json: bool) -> None:
    """A line a variant, against the plain answer."""
    records = read(folder)
    if not records:
        raise InputError(f"{folder} holds no records; run the benchmark first")
    images = len({r["image"] for r in records})
    print(f"{len(records)} questions on {images} images; changes against the plain answer\n")
    print("| variant | log-probability of the right option | accuracy, points | changed | reward | ms |")
    print("|---|---|---|---|---|---|")
    summary: dict[str, Any] = {"n": len(records)}
    for name in records[0]["variants"]:
        columns: dict[str, list[float]] = defaultdict(list)
        for r in records:
            v, right = r["variants"][name], r["target"]
            columns["gain"].append(_log(v["answer"][right]) - _log(v["base"][right]))
            before, after = (max(range(len(p)), key=p.__getitem__) for p in (v["base"], v["answer"]))
            columns["accuracy"].append(100.0 * ((after == right) - (before == right)))
            columns["changed"].append(float(before != after))
            columns["reward"].append((v["reward"][1] or 0.0) - (v["reward"][0] or 0.0))
            columns["ms"].append(v["milliseconds"])
        mean = {key: sum(values) / len(values) for key, values in columns.items()}
        shown = {}
        for key in ("gain", "accuracy"):
            values = np.array(columns[key])
            found = bootstrap(range(len(values)), partial(_mean_at, values))
            shown[key] = [found.value, found.low, found.high]
        gain, accuracy = (f"{a:+.3f} [{b:+.3f}, {c:+.3f}]" for a, b, c in shown.values())
        rest = f"{sum(columns['changed']):.0f} | {mean['reward']:+.3f} | {mean['ms']:.0f}"
        print(f"| {name} | {gain} | {accuracy} | {rest} |")
        summary[name] = {**shown, "changed": sum(columns["changed"]), "reward": mean["reward"], "ms": mean["ms"]}
    if as_json:
        print(json.dumps(summary))


def _mean_at(values: np.ndarray, index: Any) -> float:
    return float(values[index].mean())


def _log(p: float) -> float:
    return math.log(max(p, 1e-6))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("questions", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("runs/latent-defaults"))
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--worker", default="0/1")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.report is None:
        run(args)
    report(args.report or args.out, args.json)


if __name__ == "__main__":
    main()
