"""Fit the fusion of the model's answer and the evidence on held-out lines, and write it into the adapter's settings.

    python -m reason_iad.training.fit_fusion --shards DIR --adapter src/reason_iad/data/nano

The lines are those that `train_nano` kept out of training. Two logistic fits (Platt, 1999): with evidence, against 1 or
4 references, and without. The model thinks as it does in use, latents and injection on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from reason_iad.inspection.dialog import Dialog
from reason_iad.inspection.inspector import DETECTION_QUESTION, NO, YES
from reason_iad.inspection.prompts import context_parts
from reason_iad.inspection.verdict import logit
from reason_iad.metrics.classification import auroc, expected_calibration_error
from reason_iad.models.base import ImageTokens, Prefix
from reason_iad.models.nano import TOKENS, NanoModel
from reason_iad.reasoning.latents import LatentOptions
from reason_iad.training.shards import Shards

IMAGE_HW = (320, 320)


def ask(model: NanoModel, line: dict[str, Any], number: int, shots: str | None) -> tuple[float, float]:
    """The model's probability of a defect and the anomaly score (0.5 without references) of a prepared image."""
    record, tensors = line["records"][number], line["tensors"]
    features = {name: tensors[f"{number}.{name}"][None] for name in ("vit", "fine", "coarse")}
    cells = tensors[f"{number}.evidence{shots}"] if shots else None
    with torch.no_grad():
        embeds = model.projector(features, None if cells is None else cells[None])[0]
    tokens = ImageTokens(embeds, (TOKENS, TOKENS), IMAGE_HW)
    text = record["evidence"][shots] if shots else None
    prefix = model.extend(Prefix(), context_parts(model.info, tokens, line["knowledge"][:2], text))
    grid = None if cells is None else F.max_pool2d(cells.float()[None, None], 2)[0, 0].numpy()
    reply = Dialog(model, prefix, LatentOptions(), True, grid).choose(DETECTION_QUESTION, (YES, NO))
    return reply.probability_of(YES), record["scores"][shots] if shots else 0.5


def fit(features: np.ndarray, labels: np.ndarray, ridge: float = 0.05) -> np.ndarray:
    """Logistic regression with a small ridge on all but the bias: (n, d) and (n,) to weights (d,), bias first."""
    from scipy.optimize import minimize

    penalty = np.array([0.0, *[ridge] * (features.shape[1] - 1)])

    def loss(w: np.ndarray) -> float:
        z = features @ w
        return float(np.mean(np.logaddexp(0, z) - labels * z) + (penalty * w**2).sum())

    result: np.ndarray = minimize(loss, np.zeros(features.shape[1]), method="L-BFGS-B").x
    return result


def main() -> None:
    """Parse the command line, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--images", type=int, default=6, help="images a line")
    args = parser.parse_args()
    settings_path = args.adapter / "adapter.json"
    settings = json.loads(settings_path.read_text())
    model = NanoModel.load(args.adapter)
    held_out = Shards(args.shards, settings["run"]["options"]["held_out"]).held_out
    fusion = {}
    for key in ("with_evidence", "without_evidence"):
        rows, labels = [], []
        for line in held_out:
            for number in range(min(args.images, len(line["records"]))):
                record = line["records"][number]
                known = sorted(record["evidence"])  # empty where a line had too few references
                if key == "with_evidence" and not known:
                    continue
                shots = known[number % len(known)] if key == "with_evidence" else None
                rows.append(ask(model, line, number, shots))
                labels.append(record["defective"])
        fusion[key] = fitted(key, np.array(rows), np.array(labels))
    settings["fusion"] = fusion
    settings_path.write_text(json.dumps(settings, indent=1) + "\n")


def fitted(key: str, rows: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Weights of one fit and a note that says what it rests on."""
    columns = [np.ones(len(rows)), np.array([logit(p) for p in rows[:, 0]])]
    if key == "with_evidence":
        columns.append(np.array([logit(s) for s in rows[:, 1]]))
    features = np.stack(columns, axis=1)
    half = np.arange(len(rows)) % 2 == 0  # honest error: fit on one half, measure on the other, and back
    crossed = np.empty(len(rows))
    for part in (half, ~half):
        crossed[~part] = 1 / (1 + np.exp(-features[~part] @ fit(features[part], labels[part])))
    weights = fit(features, labels)
    error, area = expected_calibration_error(labels.tolist(), crossed.tolist()), auroc(labels, crossed)
    print(f"{key}: {weights.round(2).tolist()}, AUROC {area:.3f}, ECE {error:.3f}, n={len(rows)}; "
          f"model alone {auroc(labels, rows[:, 0]):.3f}, evidence alone {auroc(labels, rows[:, 1]):.3f}")  # fmt: skip
    note = (
        f"Platt scaling of the model's answer{' and the evidence' if len(weights) > 2 else ''} on {len(rows)} held-out "
        f"images, mostly synthetic (cross-fitted calibration error {error:.2f}, AUROC {area:.2f})"
    )
    return {"bias": weights[0], "model": weights[1], "evidence": weights[2] if len(weights) > 2 else 0.0, "note": note}


if __name__ == "__main__":
    main()
