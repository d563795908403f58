"""Fit a temperature for each question type on the lines that were held out from training, and write them down.

    python -m reason_iad.training.fit_temperatures --shards SHARDS --adapter src/reason_iad/data/nano

Prints the calibration error of the most likely option before and after, cross-fitted: fitted on one half of the lines,
measured on the other, and back.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

import torch

from reason_iad.inspection.temperature import ANY_KIND, fit_temperature, temper
from reason_iad.metrics.classification import expected_calibration_error
from reason_iad.training.notes import products
from reason_iad.training.shards import Shards
from reason_iad.training.train_nano import NanoTrainer, TrainOptions, draw_row, start_from

Answer = tuple[int, list[float], int]  # number of the line, probabilities, right option
LEAST = 30  # questions of a type, below which it takes the temperature of all


@torch.no_grad()
def collect(trainer: NanoTrainer, shards: Shards, options: TrainOptions) -> dict[str, list[Answer]]:
    """Answers to the questions of held-out lines, with and without evidence and notes as they fall, by type."""
    found: dict[str, list[Answer]] = defaultdict(list)
    others = products()
    for number, line in enumerate(shards.held_out):
        rng = random.Random(line["name"])  # noqa: S311
        for index in range(len(line["records"])):
            row, features, cells = draw_row(trainer, line, index, options, rng, rng.random() < 0.6, others)
            tokens = trainer.projector(features, cells)[0]
            for (scores, _), q in zip(trainer(row, tokens, 0.0), row.questions, strict=True):
                if q.has_choice:
                    found[q.kind].append((number, scores.softmax(-1).tolist(), q.answer))
    return found


def error(answers: list[Answer], temperatures: tuple[float, float]) -> float:
    """Calibration error of the most likely option; lines of odd and even number each have their temperature."""
    softened = [temper(p, temperatures[line % 2]) for line, p, _ in answers]
    best = [max(range(len(p)), key=p.__getitem__) for p in softened]
    right = [b == target for b, (_, _, target) in zip(best, answers, strict=True)]
    return expected_calibration_error(right, [max(p) for p in softened])


def fit(answers: list[Answer]) -> float:
    """One temperature for these answers."""
    return fit_temperature([p for _, p, _ in answers], [target for _, _, target in answers])


def main() -> None:
    """Collect answers, fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    args = parser.parse_args()
    options = TrainOptions()
    trainer = NanoTrainer(options).eval()
    start_from(trainer.adapter(), args.adapter)
    by_kind = collect(trainer, Shards(args.shards, options.held_out), options)
    by_kind[ANY_KIND] = [answer for answers in by_kind.values() for answer in answers]
    temperatures = {}
    for kind, answers in sorted(by_kind.items()):
        halves = [[a for a in answers if a[0] % 2 == part] for part in (0, 1)]
        if len(answers) < LEAST or not all(halves):
            continue
        temperatures[kind] = round(fit(answers), 3)
        crossed = (fit(halves[1]), fit(halves[0]))
        before, after = error(answers, (1.0, 1.0)), error(answers, crossed)
        print(
            f"{kind}: temperature {temperatures[kind]}, calibration error {before:.3f} to {after:.3f}, n={len(answers)}"
        )
    path = args.adapter / "adapter.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "temperatures": temperatures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
