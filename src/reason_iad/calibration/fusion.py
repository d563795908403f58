"""Fit the fusion of a model's answer and the evidence to labeled images, and say how good it is on those left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad.calibration.rows import Row
from reason_iad.errors import InputError
from reason_iad.inspection.verdict import FUSIONS, fusion_key, logit
from reason_iad.metrics.classification import (
    ReliabilityBin,
    auroc,
    balanced_accuracy,
    expected_calibration_error,
    reliability,
)
from reason_iad.metrics.intervals import Estimate, bootstrap
from reason_iad.words import counted

LEAST = 10  # labels, from which a fit is made
FOLDS = 20  # at most
ENOUGH_GROUPS = 4  # categories, from which whole ones are left out; else objects
BINS = 5
RIDGE = 1.8  # loss that a squared unit of weight costs, in all; a mean of 0.05 at most
CALM = 0.36  # anomaly score up to which a part may be cleared without asking the model
LEAST_CALM = 20  # images as calm, from which the range of answers is stored


@dataclass(frozen=True)
class Quality:
    """How good probabilities of a defect are."""

    auroc: Estimate
    balanced_accuracy: Estimate  # at 0.5
    calibration_error: Estimate
    log_loss: float
    bins: tuple[ReliabilityBin, ...]

    @classmethod
    def of(cls, labels: Sequence[bool], probabilities: Sequence[float]) -> Quality:
        """Measure; intervals by bootstrap over images.

        Raises:
            InputError: one of the classes is missing.
        """
        truth, stated = np.asarray(labels, dtype=bool), np.clip(np.asarray(probabilities, dtype=float), 1e-6, 1 - 1e-6)

        def interval(measure: Callable[[Any, Any], float]) -> Estimate:
            return bootstrap(range(len(truth)), lambda index: measure(truth[index], stated[index]), 500)

        return cls(
            interval(auroc),
            interval(lambda y, p: balanced_accuracy(y, p > 0.5)),
            interval(lambda y, p: expected_calibration_error(y, p, BINS)),
            float(-np.mean(np.where(truth, np.log(stated), np.log1p(-stated)))),
            reliability(truth.tolist(), stated.tolist(), BINS),
        )


@dataclass(frozen=True)
class FittedFusion:
    """One fit, and what it brings on images that it did not see.

    Attributes:
        key: which of `FUSIONS`.
        record: as `Fusion.from_settings` reads it.
        before: the mean of the log-odds, what the model says of good parts subtracted where that was asked.
        after: the fit, of images left out.
        n: images.
    """

    key: str
    record: Mapping[str, Any]
    before: Quality
    after: Quality
    n: int


def logistic(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logistic regression with a ridge on all but the bias, which fades with n: (n, d), (n,) to (d,), bias first."""
    from scipy.optimize import minimize

    ridge = min(0.05, RIDGE / len(labels))
    penalty = np.array([0.0, *[ridge] * (features.shape[1] - 1)])

    def loss(w: np.ndarray) -> float:
        z = features @ w
        return float(np.mean(np.logaddexp(0, z) - labels * z) + (penalty * w**2).sum())

    result: np.ndarray = minimize(loss, np.zeros(features.shape[1]), method="L-BFGS-B").x
    return result


def features_of(rows: Sequence[Row], with_evidence: bool, with_offset: bool) -> np.ndarray:
    """Ones, log-odds of the model, and of the evidence where it counts: (n, 2 or 3)."""
    model = [logit(row["model"]) - (row.get("offset") or 0.0) * with_offset for row in rows]
    columns = [np.ones(len(rows)), np.array(model)]
    if with_evidence:
        columns.append(np.array([logit(row["score"]) for row in rows]))
    return np.stack(columns, axis=1)


def check_labels(rows: Sequence[Row]) -> None:
    """Refuse what no fit can be made from.

    Raises:
        InputError: fewer than `LEAST` labels, or of one class only.
    """
    labels = [bool(row["defective"]) for row in rows]
    if len(labels) < LEAST or len(set(labels)) < 2:
        raise InputError(
            f"found {labels.count(False)} normal and {labels.count(True)} defective images; expected at least {LEAST}, "
            "of both kinds, half of them defective at best: add some (what was answered is kept)"
        )


def fold_of(rows: Sequence[Row]) -> np.ndarray:
    """Number of the fold of each row: whole categories where there are enough, else images of one object together."""
    groups = {str(row["group"]) for row in rows}
    by_group = len(groups) >= ENOUGH_GROUPS
    names = [str(row["group"]) if by_group else str(row.get("unit") or row["name"]) for row in rows]
    order = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([order[name] % FOLDS if len(order) > 3 * FOLDS else order[name] for name in names])


def crossed(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities of each fold from a fit to the others: (n,)."""
    found = np.empty(len(labels))
    for fold in np.unique(folds):
        out = folds == fold
        found[out] = 1 / (1 + np.exp(-features[out] @ logistic(features[~out], labels[~out])))
    return found


def fit_fusion(key: str, rows: Sequence[Row], offset: bool | None = None) -> FittedFusion:
    """Fit one form of the fusion.

    Args:
        key: which of `FUSIONS`.
        rows: of images beside so many references.
        offset: whether what the model says of good parts is subtracted; where None, whichever is likelier on images
            left out, if it is known of all.

    Raises:
        InputError: there are too few labels, or of one class only.
    """
    check_labels(rows)
    labels, folds = np.array([bool(row["defective"]) for row in rows]), fold_of(rows)
    with_evidence, known = key != "without_evidence", all(row.get("offset") is not None for row in rows)
    choices = [False, True] if offset is None and known else [bool(offset) and known]
    tried = {one: crossed(features_of(rows, with_evidence, one), labels, folds) for one in choices}
    losses = {one: Quality.of(labels.tolist(), p.tolist()).log_loss for one, p in tried.items()}
    chosen = min(losses, key=losses.__getitem__)
    features = features_of(rows, with_evidence, chosen)
    weights = [round(float(w), 4) for w in logistic(features, labels)]
    plain = 1 / (1 + np.exp(-features_of(rows, with_evidence, known)[:, 1:].sum(axis=1)))
    after = Quality.of(labels.tolist(), tried[chosen].tolist())
    record = {
        "bias": weights[0],
        "model": weights[1],
        "evidence": weights[2] if with_evidence else 0.0,
        "offset": chosen,
        "note": _note(rows, with_evidence, after),
    }
    return FittedFusion(key, record, Quality.of(labels.tolist(), plain.tolist()), after, len(rows))


def _note(rows: Sequence[Row], with_evidence: bool, after: Quality) -> str:
    synthetic = sum(str(row["group"]).startswith("line ") for row in rows)
    real = f"{len(rows) - synthetic} of them real"
    if not synthetic:
        real = "of " + counted(len({row["group"] for row in rows}), "product")
    return (
        f"Platt scaling of the model's answer{' and the evidence' if with_evidence else ''} on {len(rows)} images "
        f"that trained nothing, {real} (on those left out: calibration error {after.calibration_error.value:.2f}, "
        f"AUROC {after.auroc.value:.2f}); other products may differ"
    )


def fit_all(rows: Sequence[Row], offset: bool | None = None) -> tuple[list[FittedFusion], list[str]]:
    """Fit every form of the fusion that there are labels for; gives the fits, and what could not be fitted and why.

    Raises:
        InputError: there are labels for none.
    """
    found, left, first = [], [], None
    for key in FUSIONS:
        told = [row for row in rows if row.get("defective") is not None]
        mine = [row for row in told if fusion_key(row["references"]) == key]
        try:
            found.append(fit_fusion(key, mine, offset))
        except InputError as error:
            first = first or error
            left.append(f"{key}: {error}")
    if not found:
        raise first or InputError("found no labels; expected some")
    return found, left


def answer_range(rows: Sequence[Row], offset: bool) -> dict[str, Any] | None:
    """How far the model's answers go on images like good ones, as `AnswerRange` reads it; None from too few."""
    calm = [row for row in rows if row["references"] >= 2 and row["score"] <= CALM]
    if len(calm) < LEAST_CALM:
        return None
    odds = sorted(logit(row["model"]) - (row.get("offset") or 0.0) * offset for row in calm)
    return {
        "calm": CALM, "lowest": round(odds[0], 2), "middle": round(odds[len(odds) // 2], 2),
        "highest": round(odds[-1], 2), "images": len(odds),
    }  # fmt: skip


def offset_alone(rows: Sequence[Row]) -> dict[str, Any]:
    """The fusion of a model of which only answers about good parts are known: their mean is subtracted.

    With references that happens anyway, about the references themselves.

    Raises:
        InputError: there is no answer.
    """
    odds = [logit(row["model"]) for row in rows]
    if not odds:
        raise InputError("found no image that could be asked about; expected at least one of a good part")
    mean = math.fsum(odds) / len(odds)
    note = (
        f"not calibrated for this model: no labels; its log-odds of a defect on {len(odds)} images taken for good "
        f"parts, {mean:+.2f} on average, were subtracted"
    )
    plain = "not calibrated for this model: no labels; the mean of the log-odds of model and evidence"
    shared = {"bias": 0.0, "model": 1.0, "evidence": 1.0, "offset": True, "note": plain}
    alone = {"bias": round(-mean, 4), "model": 1.0, "evidence": 0.0, "offset": False, "note": note}
    return {"with_evidence": shared, "one_reference": shared, "without_evidence": alone}


def fill(fitted: Sequence[FittedFusion]) -> dict[str, Any]:
    """All forms of the fusion as settings hold them; a form that was not fitted stays the plain mean of log-odds."""
    plain = {"bias": 0.0, "model": 1.0, "evidence": 1.0, "offset": True, "note": "not calibrated in this form"}
    return {key: next((dict(one.record) for one in fitted if one.key == key), plain) for key in FUSIONS}
