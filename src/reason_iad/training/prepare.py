"""Turn synthetic lines and permitted real images into training shards: features, evidence, questions.

A shard is one line (an object of one style, or one real category): normal and defective images with the features of
the frozen towers, their calibrated evidence against one and against several normal references of the same line, and
details of them beside the same places of the references. Written once, atomically, so a stopped run goes on where it
was; held-out lines come first, so that a training which reads along has all of them from the beginning.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import time
import zlib
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
from reason_iad.reasoning.details import parts_of
from reason_iad.training.details import draw_details, look_text, record_of
from reason_iad.training.questions import TrainingQuestion, knowledge_for, questions_for, questions_from_mmad
from reason_iad.training.shards import is_held_out
from reason_iad.training.synth import Synthesizer, paste_defect
from reason_iad.training.synth_measure import describe
from reason_iad.training.train_options import TrainOptions

if TYPE_CHECKING:
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.models.base import VisionTowers

SHOTS = (1, 4)
FEATURE_BYTES = 4 << 20  # of one image, by both towers at all sizes that are asked for
SMALL_SHARE = 0.7  # of defects that are drawn smaller than usual,
REACH = (0.15, 0.6)  # by so much, evenly in the logarithm: most then cover 0.03 to 1 % of the image


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
        sample = line.defective(i, reach=draw_reach(rng))
        images.append(PreparedImage(sample.pixels, True, questions_for(sample, rng), sample.mask))
    return references, images


def draw_reach(rng: np.random.Generator) -> float:
    """How large a defect is drawn beside its usual size."""
    return float(np.exp(rng.uniform(*np.log(REACH)))) if rng.random() < SMALL_SHARE else 1.0


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
        sample = paste_defect(image.pixels, rng, draw_reach(rng))
        asked = [q for q in image.questions if q.kind.startswith("Object")]
        asked += [q for q in questions_for(sample, rng) if not q.kind.startswith("Object")]
        found.append(PreparedImage(sample.pixels, True, tuple(asked), sample.mask))
    return found


def prepare_shard(
    path: Path,
    references: list[Pixels],
    images: list[PreparedImage],
    vision: VisionTowers,
    details: int,
    knowledge: Sequence[str] = (),
) -> None:
    """Compute features, evidence and up to so many `details` of each image of one line, and write them."""
    from safetensors.torch import save

    from reason_iad.evidence.memory_bank import MemoryBank

    shared: Any = CachedVision(vision, (len(references) + 4) * FEATURE_BYTES)
    banks = {k: MemoryBank.build(references[:k], shared) for k in SHOTS if k <= len(references)}
    tensors: dict[str, Tensor] = {}
    records = []
    for number, image in enumerate(images):
        rng = np.random.default_rng([zlib.crc32(path.name.encode()), number])
        record, found = prepare_image(image, references, banks, shared, details, rng)
        records.append(record)
        tensors |= {f"{number}.{name}": value for name, value in found.items()}
    metadata = {"records": json.dumps(records), "knowledge": json.dumps(list(knowledge))}
    write_whole(path, save(tensors, metadata))


def prepare_image(
    image: PreparedImage,
    references: list[Pixels],
    banks: dict[int, MemoryBank],
    vision: Any,
    details: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a shard tells of an image, and the features, evidence and details that it keeps, in float16."""
    from reason_iad.evidence.compare import compare
    from reason_iad.evidence.looks import measure_look
    from reason_iad.inspection.detail_views import views_of
    from reason_iad.inspection.nearest import Compared

    tensors = {name: value[0] for name, value in vision_features([image.pixels], vision).items()}
    record: dict[str, Any] = {"defective": image.defective, "questions": [asdict(q) for q in image.questions]}
    record |= {"evidence": {}, "scores": {}, "looks": {}, "details": [], "look": None}
    for k, bank in banks.items():
        found = compare(image.pixels, bank, vision)
        tensors[f"evidence{k}"] = evidence_cells(found.anomaly_map)
        look = measure_look(image.pixels, found.heat)
        record["evidence"][str(k)] = found.text(image.pixels.shape[:2])
        record["scores"][str(k)] = found.anomaly_score
        record["looks"][str(k)] = None if look is None else asdict(look)
    if image.mask is not None:
        tensors["mask"] = evidence_cells(image.mask.astype(np.float32))
        seen = describe(image.pixels, image.mask, "")
        record["look"] = look_text(seen.size, seen.shape, seen.tone)
    good = tuple(references)
    views = views_of(image.pixels, found, Compared(bank, good), good, vision)  # of most references, the last bank's
    for at, drawn in enumerate(draw_details(views, found, image.mask, details, rng)):
        record["details"].append(record_of(drawn))
        pictures = [part for part in parts_of(drawn.detail) if not isinstance(part, str)]
        tensors |= {f"detail{at}.{name}": value for name, value in vision_features(pictures, vision).items()}
    return record, {name: value.to(torch.float16).contiguous() for name, value in tensors.items()}


def prepare(args: argparse.Namespace) -> None:
    """Write shards of synthetic lines and, where a data folder is given, of permitted real categories."""
    from reason_iad.models.vision import BundledVision

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    vision = BundledVision.load(exact=True)
    started = time.monotonic()
    mine = [i for i in range(args.lines) if i % args.workers == args.worker]
    mine.sort(key=lambda i: not is_held_out(f"line-{i:05d}", TrainOptions().held_out))
    synthesizer = Synthesizer(args.seed, args.size)
    for done, index in enumerate(mine):
        path = args.out / f"line-{index:05d}.safetensors"
        if not path.exists():
            references, images = synthetic_line(synthesizer, index, args.images)
            knowledge = knowledge_for(synthesizer.make_line(index).category)
            prepare_shard(path, references, images, vision, args.details, knowledge)
        report_progress(done + 1, len(mine), started)
    if args.inspection is not None and args.worker == 0:
        prepare_real(args, vision)


def prepare_real(args: argparse.Namespace, vision: VisionTowers) -> None:
    """Write shards of the permitted real categories."""
    rng = np.random.default_rng(args.seed)
    questions = args.inspection / "questions_train.json"
    for name, references, images in real_lines(args.inspection, questions, args.seed, 2 * args.images, args.real_parts):
        both = [*images, *pasted(images, rng)]
        path = args.out / f"real-{name}.safetensors"
        if not path.exists():
            prepare_shard(path, references, both, vision, args.details)
        print(f"\r{name}: {len(both)} images  ", end="", file=sys.stderr)


def report_progress(done: int, total: int, started: float) -> None:
    """Say on standard error how far the preparation is."""
    spent = time.monotonic() - started
    left = spent / max(done, 1) * (total - done)
    print(f"\rprepared {done}/{total} lines, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
