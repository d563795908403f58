"""Fit the fusion of the model's answer and the evidence, and write it into the adapter's settings.

    python -m reason_iad.training.fit_fusion --adapter src/reason_iad/data/nano [--lines 24]

The images are synthetic lines of another seed than the training's, asked through the inspector as in use. Three
logistic fits (Platt, 1999): with evidence against 4 references, against one (whose scores lie lower), and without.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES
from reason_iad.inspection.verdict import FUSIONS, fusion_key, logit
from reason_iad.metrics.classification import auroc, expected_calibration_error
from reason_iad.recognition.prototypes import CategoryPrototypes
from reason_iad.training.synth import Synthesizer
from reason_iad.types import InspectionRequest

SEED = 7  # not the seed that made the training's lines


def collect(inspector: Inspector, num_lines: int, images: int) -> dict[str, list[tuple[float, float, bool]]]:
    """The model's probability, the anomaly score (0.5 without references) and the truth, image by image."""
    synthesizer = Synthesizer(SEED)
    rows: dict[str, list[tuple[float, float, bool]]] = {key: [] for key in FUSIONS}
    started = time.monotonic()
    for index in range(num_lines):
        line = synthesizer.make_line(index)
        references = [line.normal(1000 + i) for i in range(4 if index % 2 == 0 else 1)]
        for i in range(images):
            defective = i % 2 == 1
            pixels = line.defective(i).pixels if defective else line.normal(i)
            for shown in (references, []):
                if not shown and i >= images // 2:
                    continue
                session = inspector.open(InspectionRequest(pixels, references=tuple(shown)))
                reply = session.dialog.choose(DETECTION_QUESTION, (YES, NO))
                summary = session.context.summary
                score = 0.5 if summary is None else summary.anomaly_score
                rows[fusion_key(len(shown))].append((reply.probability_of(YES), score, defective))
        left = (time.monotonic() - started) / (index + 1) * (num_lines - index - 1)
        print(f"\r{index + 1}/{num_lines} lines, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
    return rows


def fit(features: np.ndarray, labels: np.ndarray, ridge: float = 0.05) -> np.ndarray:
    """Logistic regression with a small ridge on all but the bias: (n, d) and (n,) to weights (d,), bias first."""
    from scipy.optimize import minimize

    penalty = np.array([0.0, *[ridge] * (features.shape[1] - 1)])

    def loss(w: np.ndarray) -> float:
        z = features @ w
        return float(np.mean(np.logaddexp(0, z) - labels * z) + (penalty * w**2).sum())

    result: np.ndarray = minimize(loss, np.zeros(features.shape[1]), method="L-BFGS-B").x
    return result


def fitted(key: str, found: list[tuple[float, float, bool]]) -> dict[str, Any]:
    """Weights of one fit and a note that says what it rests on."""
    models, scores = np.array([r[0] for r in found]), np.array([r[1] for r in found])
    labels = np.array([r[2] for r in found])
    columns = [np.ones(len(found)), np.array([logit(p) for p in models])]
    if key != "without_evidence":
        columns.append(np.array([logit(s) for s in scores]))
    features = np.stack(columns, axis=1)
    half = (np.arange(len(found)) // 2) % 2 == 0  # an honest error: fit on one half, measure on the other, and back
    crossed = np.empty(len(found))
    for part in (half, ~half):
        crossed[~part] = 1 / (1 + np.exp(-features[~part] @ fit(features[part], labels[part])))
    weights = [round(float(w), 4) for w in fit(features, labels)]
    error, area = expected_calibration_error(labels.tolist(), crossed.tolist(), 5), auroc(labels, crossed)
    alone = f"model alone {auroc(labels, models):.3f}, evidence alone {auroc(labels, scores):.3f}"
    print(f"{key}: {weights}, AUROC {area:.3f}, calibration error {error:.3f}, n={len(found)}; {alone}")
    note = (
        f"Platt scaling of the model's answer{' and the evidence' if len(weights) > 2 else ''} on {len(found)} "
        f"synthetic images that trained nothing (cross-fitted: calibration error {error:.2f}, AUROC {area:.2f}); "
        "real images may differ"
    )
    return {"bias": weights[0], "model": weights[1], "evidence": weights[2] if len(weights) > 2 else 0.0, "note": note}


def main() -> None:
    """Parse the command line, collect, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=24)
    parser.add_argument("--images", type=int, default=4, help="images a line, half of them defective")
    args = parser.parse_args()
    loaded = Inspector.load()  # without its settings, which may hold the fusions of an earlier version
    unset = Inspector(loaded.options, loaded.model, loaded.vision, loaded.knowledge, CategoryPrototypes.load())
    rows = collect(unset, args.lines, args.images)
    path = args.adapter / "adapter.json"
    settings = json.loads(path.read_text())
    settings["fusion"] = {key: fitted(key, found) for key, found in rows.items()}
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
