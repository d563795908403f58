"""Recognition of the category: the part of benchmarks/knowledge.py behind `--recognition`.

Prototypes and constants come from images of the split `train`, figures from `test`. Each category in turn is left out
and plays the unknown one. `learned` starts from the prototypes that come with the program and adds the other categories
as a user would, from ten images of good parts each.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.errors import InputError
from reason_iad.images import read_image
from reason_iad.metrics.classification import auroc
from reason_iad.metrics.intervals import Estimate, bootstrap, share
from reason_iad.models.base import VisionTowers
from reason_iad.models.vision import BundledVision
from reason_iad.recognition.prototypes import UNKNOWN, CategoryPrototypes, Floats, image_embedding

LEARNED_FROM = 10  # images of good parts


def recognition(root: Path, limit: int, cache: Path | None = None) -> dict[str, Any]:
    """Accuracy with all categories known, AUROC of known against unknown, and the same for learned categories.

    Args:
        root: folder with manifest.csv (image, category, split, label).
        limit: images per category, split and label.
        cache: where image vectors are kept between runs.
    """
    found = _embeddings(root, limit, cache)
    train, test = (
        {c: np.concatenate(list(labels.values())) for c, labels in found[s].items()} for s in ("train", "test")
    )
    result: dict[str, Any] = {"images": f"{sum(map(len, test.values()))} of {len(test)} categories in test"}
    result["all known"] = _named(CategoryPrototypes.build(train), test, train)
    images = [(category, vector) for category, vectors in test.items() for vector in vectors]
    every = [CategoryPrototypes.build({c: v for c, v in train.items() if c != left_out}) for left_out in test]
    shape = (len(images), len(test))  # every image is seen in as many rounds as there are categories
    scores = np.array([[p.similarities(vector).max() for p in every] for _, vector in images]).reshape(shape)
    called = np.array([[p.recognize(vector)[0] == UNKNOWN for p in every] for _, vector in images]).reshape(shape)
    known = np.array([[category != left_out for left_out in test] for category, _ in images]).reshape(shape)
    numbers = range(len(images))  # drawn with all of an image's rounds
    result["each left out in turn"] = {
        "AUROC, known or unknown": bootstrap(
            numbers, lambda i: auroc(known[list(i)].ravel().tolist(), scores[list(i)].ravel().tolist()), repeats=300
        ),
        "unknown called unknown": share(int(called[~known].sum()), int((~known).sum())),
        "known called unknown": bootstrap(
            numbers, lambda i: float(called[list(i)][known[list(i)]].mean()), repeats=300
        ),
    }
    shipped = CategoryPrototypes.load()
    goods = {c: labels["normal"][:LEARNED_FROM] for c, labels in found["train"].items() if "normal" in labels}
    added = [category for category in goods if category not in shipped.categories]
    everything = _learn(shipped, {c: goods[c] for c in added})
    result["shipped, and the others learned"] = _named(everything, test, everything.categories)
    rejected = total = 0
    for left_out in added:
        prototypes = _learn(shipped, {c: goods[c] for c in added if c != left_out})
        rejected += sum(prototypes.recognize(vector)[0] == UNKNOWN for vector in test[left_out])
        total += len(test[left_out])
    result["shipped, and the others learned"]["left out in turn, called unknown"] = share(rejected, total)
    return result


def _learn(prototypes: CategoryPrototypes, goods: Mapping[str, Floats]) -> CategoryPrototypes:
    for category, vectors in goods.items():
        prototypes = prototypes.learn(category, vectors)
    return prototypes


def _named(
    prototypes: CategoryPrototypes, test: Mapping[str, Floats], known: Sequence[str] | Mapping[str, Any]
) -> dict[str, Estimate]:
    names = [(c, prototypes.recognize(vector)[0]) for c, vectors in test.items() if c in known for vector in vectors]
    return {
        "named rightly": share(sum(c == name for c, name in names), len(names)),
        "called unknown": share(sum(name == UNKNOWN for _, name in names), len(names)),
    }


def _embeddings(root: Path, limit: int, cache: Path | None) -> dict[str, dict[str, dict[str, Floats]]]:
    """Image vectors (n, D) by split, category and label."""
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{manifest} does not exist; expected a CSV file with image, category, split, label")
    groups: dict[tuple[str, str, str], list[str]] = {}
    with manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups.setdefault((row["split"], row["category"], row["label"]), []).append(row["image"])
    rng = np.random.default_rng(0)
    known: dict[str, Floats] = dict(np.load(cache)) if cache is not None and cache.is_file() else {}
    vision: VisionTowers | None = None
    found: dict[str, dict[str, dict[str, list[Floats]]]] = {"train": {}, "test": {}}
    for (split, category, label), images in sorted(groups.items()):
        for image in (images[i] for i in sorted(rng.permutation(len(images))[:limit])):
            if image not in known:
                vision = vision or BundledVision.load()
                known[image] = image_embedding(read_image(root / image).pixels, vision)
            found[split].setdefault(category, {}).setdefault(label, []).append(known[image])
    if cache is not None:
        np.savez(cache, **known)  # type: ignore[arg-type]
    return {
        split: {c: {label: np.stack(v) for label, v in labels.items()} for c, labels in categories.items()}
        for split, categories in found.items()
    }
