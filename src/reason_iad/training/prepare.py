"""Turn synthetic lines and permitted real images into training shards: features, evidence, questions.

A shard is one line (an object of one style, or one real category): normal and defective images with the features of
the frozen towers, and their calibrated evidence against one and against several normal references of the same line.
Written once, atomically, so a stopped run goes on where it was.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from reason_iad.files import write_whole
from reason_iad.images import Pixels, read_image
from reason_iad.models.nano import evidence_cells, vision_features
from reason_iad.models.vision_cache import CachedVision
from reason_iad.training.questions import TrainingQuestion, questions_for, questions_from_mmad
from reason_iad.training.synth import Synthesizer, paste_defect

if TYPE_CHECKING:
    from reason_iad.models.base import VisionTowers

SHOTS = (1, 4)
FEATURE_BYTES = 4 << 20  # of one image, by both towers at all sizes that are asked for


@dataclass(frozen=True)
class PreparedImage:
    """An image before its features are taken."""

    pixels: Pixels
    defective: bool
    questions: tuple[TrainingQuestion, ...]
    mask: Any = None  # (H, W) bool, or None


def synthetic_line(synthesizer: Synthesizer, index: int, num_images: int) -> tuple[list[Pixels], list[PreparedImage]]:
    """References and images of one synthetic line, half of them normal."""
    line = synthesizer.make_line(index)
    rng = np.random.default_rng([synthesizer.seed, index])
    references = [line.normal(1000 + i) for i in range(max(SHOTS))]
    images = []
    for i in range(num_images):
        normal = line.normal_sample(i)
        images.append(PreparedImage(normal.pixels, False, questions_for(normal, rng)))
        sample = line.defective(i)
        images.append(PreparedImage(sample.pixels, True, questions_for(sample, rng), sample.mask))
    return references, images


def real_lines(
    root: Path, questions: Path, seed: int, max_images: int, parts: int
) -> Iterator[tuple[str, list[Pixels], list[PreparedImage]]]:
    """References and images of the real categories that may be trained on, from the training split alone.

    Blended defects on normal images stand beside the real ones.
    """
    rows = [
        r for r in csv.DictReader((root / "manifest.csv").open()) if r["split"] == "train" and r["may_train"] == "yes"
    ]
    asked = json.loads(questions.read_text())
    for category in sorted({r["category"] for r in rows}):
        rng = random.Random(f"{seed}/{category}")  # noqa: S311
        mine = [r for r in rows if r["category"] == category]
        normals = [r for r in mine if r["label"] == "normal"]
        for part in range(parts):
            rng.shuffle(normals)
            rng.shuffle(mine)
            references = normals[: max(SHOTS)]
            kept = {r["image"] for r in references}
            queries = [r for r in mine if r["image"] in asked and r["image"] not in kept]
            chosen = [r for r in queries if r["label"] == "normal"][: max_images // 2]
            chosen += [r for r in queries if r["label"] == "defective"][: max_images // 2]
            if category == "bare_pcb":  # every board is its own object: its template is its only reference
                chosen = chosen[:1]
                references = [r for r in normals if r["group"] == chosen[0]["group"]] or references
            images = [_real_image(root, r, asked) for r in chosen]
            yield f"{category}-{part}", [_read(root, r) for r in references[: max(SHOTS)]], images


def _read(root: Path, row: dict[str, str]) -> Pixels:
    return read_image(root / row["image"]).pixels


def _real_image(root: Path, row: dict[str, str], asked: dict[str, Any]) -> PreparedImage:
    questions = questions_from_mmad(asked[row["image"]])
    mask = read_image(root / row["mask"]).pixels[..., 0] > 0 if row["mask"] else None
    return PreparedImage(_read(root, row), row["label"] == "defective", questions, mask)


def pasted(images: Sequence[PreparedImage], rng: np.random.Generator) -> list[PreparedImage]:
    """Blended defects on the normal images among some real ones, with detection, place and look asked."""
    found = []
    for image in images:
        if image.defective:
            continue
        sample = paste_defect(image.pixels, rng)
        asked = [q for q in image.questions if q.kind.startswith("Object")]
        asked += [q for q in questions_for(sample, rng) if not q.kind.startswith("Object")]
        found.append(PreparedImage(sample.pixels, True, tuple(asked), sample.mask))
    return found


def prepare_shard(
    path: Path,
    references: list[Pixels],
    images: list[PreparedImage],
    vision: VisionTowers,
    knowledge: Sequence[str] = (),
) -> None:
    """Compute features and evidence of one line and write them."""
    from safetensors.torch import save

    from reason_iad.evidence.compare import compare
    from reason_iad.evidence.looks import measure_look
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.inspection.prompts import evidence_line

    shared: Any = CachedVision(vision, (len(images) + 4) * FEATURE_BYTES)
    banks = {k: MemoryBank.build(references[:k], shared) for k in SHOTS if k <= len(references)}
    tensors: dict[str, Tensor] = {}
    records = []
    for start in range(0, len(images), 8):
        batch = images[start : start + 8]
        for name, value in vision_features([i.pixels for i in batch], shared).items():
            for offset in range(len(batch)):
                tensors[f"{start + offset}.{name}"] = value[offset].to(torch.float16).contiguous()
    for number, image in enumerate(images):
        texts, scores = {}, {}
        for k, bank in banks.items():
            found = compare(image.pixels, bank, shared)
            tensors[f"{number}.evidence{k}"] = evidence_cells(found.anomaly_map).to(torch.float16)
            look = measure_look(image.pixels, found.heat)
            texts[str(k)] = evidence_line(found.text(image.pixels.shape[:2]), look)
            scores[str(k)] = found.anomaly_score
        if image.mask is not None:
            tensors[f"{number}.mask"] = evidence_cells(image.mask.astype(np.float32)).to(torch.float16)
        questions = [asdict(q) for q in image.questions]
        records.append({"defective": image.defective, "questions": questions, "evidence": texts, "scores": scores})
    metadata = {"records": json.dumps(records), "knowledge": json.dumps(list(knowledge))}
    write_whole(path, save(tensors, metadata))


def report_progress(done: int, total: int, started: float) -> None:
    """Say on standard error how far the preparation is."""
    spent = time.monotonic() - started
    left = spent / max(done, 1) * (total - done)
    print(f"\rprepared {done}/{total} lines, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
