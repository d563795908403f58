"""Fit the fusion of the model's answer and the evidence, and write it into the adapter's settings.

    python -m reason_iad.training.fit_fusion --adapter src/reason_iad/data/nano --rows rows.jsonl [--lines 24]
        [--real ROOT ...] [--per-category 8] [--without NAME ...]

Asked through the inspector as in use are synthetic lines of another seed than the training's, and the images of `train`
of each ROOT that weights may be trained on (`may_train` in its manifest.csv). Each answer is kept in `--rows` at once:
a run that was cut off goes on. Three logistic fits (Platt, 1999): with evidence against several references, against one
(which shows little of what varies), and without. The errors told are of lines and categories that the fit left out.
The fit itself is that of `reason-iad calibrate`, which makes the same from the same answers (`--rows`).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from reason_iad.calibration.fusion import fit_all
from reason_iad.calibration.report import CalibrationReport
from reason_iad.calibration.rows import Case, RowFile, collect
from reason_iad.files import write_whole
from reason_iad.images import read_image
from reason_iad.inspection.inspector import Inspector
from reason_iad.recognition.prototypes import CategoryPrototypes
from reason_iad.training.synth import Synthesizer

SEED = 7  # not the seed that made the training's lines
SEVERAL = 4  # references of a category; the other fit has one


def synthetic_cases(num_lines: int, images: int) -> Iterator[Case]:
    """Images of synthetic lines, half of them defective; lines take turns with several references and with one."""
    synthesizer = Synthesizer(SEED)
    for index in range(num_lines):
        line = synthesizer.make_line(index)
        references = tuple(line.normal(1000 + i) for i in range(SEVERAL if index % 2 == 0 else 1))
        for i in range(images):
            pixels = line.defective(i).pixels if i % 2 == 1 else line.normal(i)
            yield Case(f"line {index}", str(i), pixels, references, i % 2 == 1)
            if i < images // 2:
                yield Case(f"line {index}", f"{i} alone", pixels, (), i % 2 == 1)


def real_cases(root: Path, per_category: int, without: Sequence[str]) -> Iterator[Case]:
    """Images of `train` that weights may be trained on, half of them defective, beside several references or one."""
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["may_train"] == "yes"]
    rows = [row for row in rows if row["category"] not in without]
    for category in sorted({row["category"] for row in rows}):
        mine = [row for row in rows if row["category"] == category]
        some: dict[bool, list[dict[str, str]]] = {}
        for defective in (False, True):
            kind = [row for row in mine if (row["label"] != "normal") == defective]
            some[defective] = [kind[int(i)] for i in np.random.default_rng(SEED).permutation(len(kind))]
        good, bad = some[False], some[True]
        if len(good) <= SEVERAL or not bad:
            continue
        references = tuple(read_image(root / row["image"]).pixels for row in good[:SEVERAL])
        for index in range(per_category):
            kind = bad if index % 2 == 1 else good[SEVERAL:]
            if index // 2 < len(kind):
                row = kind[index // 2]
                shown = references if index // 2 % 2 == 0 else references[:1]
                yield Case(category, row["image"], read_image(root / row["image"]).pixels, shown, index % 2 == 1)


def main() -> None:
    """Parse the command line, collect, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="file that keeps the answers")
    parser.add_argument("--lines", type=int, default=24)
    parser.add_argument("--images", type=int, default=4, help="images a line, half of them defective")
    parser.add_argument("--real", type=Path, nargs="+", default=[], help="folders with a manifest.csv")
    parser.add_argument("--without", nargs="+", default=[], help="categories to pass over, such as paired ones")
    parser.add_argument("--per-category", type=int, default=8, help="real images a category, half of them defective")
    args = parser.parse_args()
    loaded = Inspector.load()  # without its settings, which may hold the fusions of an earlier version
    unset = Inspector(loaded.options, loaded.model, loaded.vision, loaded.knowledge, CategoryPrototypes.load())
    kept = RowFile.open(args.rows)
    for root in args.real:
        collect(unset, real_cases(root, args.per_category, args.without), kept, _say)
    collect(unset, synthetic_cases(args.lines, args.images), kept, _say)
    fusions, left = fit_all(kept.rows, offset=False)
    report = CalibrationReport("nano", fusions, (), left)
    print(report.to_markdown())
    path = args.adapter / "adapter.json"
    settings = json.loads(path.read_text())
    settings["fusion"] |= {one.key: dict(one.record) for one in fusions}
    write_whole(path, json.dumps(settings, indent=1) + "\n")


def _say(text: str) -> None:
    print(f"\r{text[:100]:<100}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
