"""Fit the fusion of the model's answer and the evidence, and write it into the adapter's settings.

    python -m reason_iad.training.fit_fusion --adapter src/reason_iad/data/nano --rows rows.jsonl [--lines 24]
        [--real ROOT ...] [--per-category 8] [--without NAME ...]

Asked through the inspector as in use are synthetic lines of another seed than the training's, and the images of `train`
of each ROOT that weights may be trained on (`may_train` in its manifest.csv). Each answer is kept in `--rows` at once:
a run that was cut off goes on. Three logistic fits (Platt, 1999): with evidence against several references, against one
(which shows little of what varies), and without. The errors told are of lines and categories that the fit left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.images import Pixels, read_image
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES
from reason_iad.inspection.verdict import FUSIONS, fusion_key, logit
from reason_iad.metrics.classification import auroc, expected_calibration_error
from reason_iad.recognition.prototypes import CategoryPrototypes
from reason_iad.training.synth import Synthesizer
from reason_iad.types import InspectionRequest

SEED = 7  # not the seed that made the training's lines
SEVERAL = 4  # references of a category; the other fit has one


@dataclass(frozen=True, eq=False)
class Case:
    """One image to ask about: `group` is the line or category that a fit leaves out as a whole."""

    group: str
    name: str
    pixels: Pixels
    references: tuple[Pixels, ...]
    defective: bool


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


def collect(inspector: Inspector, cases: Iterator[Case], path: Path) -> list[dict[str, Any]]:
    """The model's probability, the anomaly score (0.5 without references) and the truth of each case."""
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(row["group"], row["name"], row["references"]) for row in known}
    with path.open("a", encoding="utf-8") as file:
        for case in cases:
            count = len(case.references)
            if (case.group, case.name, count) in done:
                continue
            started = time.monotonic()
            session = inspector.open(InspectionRequest(case.pixels, references=case.references))
            reply = session.dialog.choose(DETECTION_QUESTION, (YES, NO))
            summary = session.context.summary
            row = {
                "group": case.group, "name": case.name, "references": count, "defective": case.defective,
                "model": reply.probability_of(YES), "score": 0.5 if summary is None else summary.anomaly_score,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()
            known.append(row)
            said = f"{len(known)}: {case.group} {case.name}, {time.monotonic() - started:.1f} s"
            print(f"\r{said[:100]:<100}", end="", file=sys.stderr, flush=True)
    return known


def fit(features: np.ndarray, labels: np.ndarray, ridge: float = 0.05) -> np.ndarray:
    """Logistic regression with a small ridge on all but the bias: (n, d) and (n,) to weights (d,), bias first."""
    from scipy.optimize import minimize

    penalty = np.array([0.0, *[ridge] * (features.shape[1] - 1)])

    def loss(w: np.ndarray) -> float:
        z = features @ w
        return float(np.mean(np.logaddexp(0, z) - labels * z) + (penalty * w**2).sum())

    result: np.ndarray = minimize(loss, np.zeros(features.shape[1]), method="L-BFGS-B").x
    return result


def fitted(key: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Weights of one fit and a note that says what it rests on."""
    models, scores = (np.array([row[name] for row in found]) for name in ("model", "score"))
    labels, groups = np.array([row["defective"] for row in found]), np.array([row["group"] for row in found])
    columns = [np.ones(len(found)), np.array([logit(p) for p in models])]
    if key != "without_evidence":
        columns.append(np.array([logit(s) for s in scores]))
    features = np.stack(columns, axis=1)
    left_out = np.empty(len(found))  # an honest error: of lines and categories that the fit has not seen
    for group in np.unique(groups):
        out = groups == group
        left_out[out] = 1 / (1 + np.exp(-features[out] @ fit(features[~out], labels[~out])))
    weights = [round(float(w), 4) for w in fit(features, labels)]
    error, area = expected_calibration_error(labels.tolist(), left_out.tolist(), 5), auroc(labels, left_out)
    alone = f"model alone {auroc(labels, models):.3f}, evidence alone {auroc(labels, scores):.3f}"
    print(f"{key}: {weights}, AUROC {area:.3f}, calibration error {error:.3f}, n={len(found)}; {alone}")
    real = sum(not group.startswith("line ") for group in groups)
    note = (
        f"Platt scaling of the model's answer{' and the evidence' if len(weights) > 2 else ''} on {len(found)} images "
        f"that trained nothing, {real} of them real (on lines and categories left out: calibration error {error:.2f}, "
        f"AUROC {area:.2f}); other products may differ"
    )
    return {"bias": weights[0], "model": weights[1], "evidence": weights[2] if len(weights) > 2 else 0.0, "note": note}


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
    rows: list[dict[str, Any]] = []
    for root in args.real:
        rows = collect(unset, real_cases(root, args.per_category, args.without), args.rows)
    rows = collect(unset, synthetic_cases(args.lines, args.images), args.rows)
    path = args.adapter / "adapter.json"
    settings = json.loads(path.read_text())
    by_key = {key: [row for row in rows if fusion_key(row["references"]) == key] for key in FUSIONS}
    settings["fusion"] = {key: fitted(key, found) for key, found in by_key.items()}
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
