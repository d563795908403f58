"""Compare ways to train the bundled model's adapter, each for the same number of updates on the same rows.

    python benchmarks/training_variants.py sizes --shards SHARDS --out SIZES --seed 1 [--inspection ROOT]
    python benchmarks/training_variants.py run --shards SHARDS --sizes SIZES --out RUNS --updates 100

A variant goes on from the shipped adapter for `--updates` updates; `as it is` and `nothing changed`
are the controls. A change that takes long to learn is at a disadvantage: this tells what a short training can tell.
Answers on held-out lines, paired with those of `nothing changed`: the difference and its 95 % interval, bootstrapped
over lines.

`sizes` draws the lines of prepared shards once more and takes features at larger image sizes, pooled to the same 8 x 8
tokens; it stops where the features at the usual size are not those of the shard. `run` keeps the result of every
variant in RUNS and goes on where it was stopped; two of them may share the variants by `--only`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reason_iad.images import Pixels
from reason_iad.metrics.intervals import bootstrap
from reason_iad.models.base import VisionTowers
from reason_iad.models.nano import CELLS, VIT_LAYERS, read_adapter, vision_features
from reason_iad.models.sources import default_adapter
from reason_iad.models.vision import BundledVision
from reason_iad.training import held_out, nano_trainer, train_nano
from reason_iad.training.notes import products
from reason_iad.training.shards import Shards
from reason_iad.training.train_options import TrainOptions

SIZES = {322: 384, 448: 512}  # of the ViT and of EfficientNet
STATE = 384  # channels of one hidden state
AS_IT_IS, UNCHANGED = "as it is", "nothing changed"


@dataclass(frozen=True)
class Variant:
    """What differs: the options of the training, the features it sees, the folder of shards."""

    options: dict[str, Any]
    features: Callable[[str, Tensor], Tensor] = lambda _, values: values
    size: int | None = None


def without(*streams: str) -> Callable[[str, Tensor], Tensor]:
    """Features with some streams blank."""
    return lambda name, values: torch.zeros_like(values) if name in streams else values


def only_state(state: int) -> Callable[[str, Tensor], Tensor]:
    """Features with one hidden state of the ViT alone, beside EfficientNet's."""
    start = VIT_LAYERS.index(state) * STATE

    def keep(name: str, values: Tensor) -> Tensor:
        if name != "vit":
            return values
        kept = torch.zeros_like(values)
        kept[..., start : start + STATE] = values[..., start : start + STATE]
        return kept

    return keep


VARIANTS = {
    AS_IT_IS: Variant({}),
    UNCHANGED: Variant({}),
    "448 px": Variant({}, size=448),
    "322 px": Variant({}, size=322),
    "without EfficientNet": Variant({}, without("fine", "coarse")),
    "without the ViT": Variant({}, without("vit")),
    "without stride 8": Variant({}, without("fine")),
    "ViT state 7 alone": Variant({}, only_state(7)),
    "ViT state 9 alone": Variant({}, only_state(9)),
    "ViT state 11 alone": Variant({}, only_state(11)),
    "rank 4": Variant({"lora_rank": 4}),
    "rank 16": Variant({"lora_rank": 16}),
    "rank 32": Variant({"lora_rank": 32}),
    "without knowledge": Variant({"knowledge_share": 0.0, "foreign_share": 0.0}),
    "without evidence": Variant({"evidence_share": 0.0}),
}


def resize_rank(low: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """An update B A, (out, r) and (r, in), in another rank: the nearest there is, or the same with idle directions."""
    old = low.shape[0]
    if rank < old:
        u, s, v = torch.linalg.svd(up @ low, full_matrices=False)
        return s[:rank, None].sqrt() * v[:rank], u[:, :rank] * s[:rank].sqrt()
    idle = torch.randn(rank - old, low.shape[1]) / low.shape[1] ** 0.5
    return torch.cat([low, idle]), torch.cat([up, up.new_zeros(up.shape[0], rank - old)], dim=1)


def start(trainer: nano_trainer.NanoTrainer, rank: int) -> None:
    """Load the adapter that ships with the package in this rank."""
    tensors, settings = read_adapter(default_adapter())
    tensors = {name: t.float() for name, t in tensors.items()}
    tensors["log_scale"] = torch.tensor(float(settings["answer_scale"])).log()
    for name in [n for n in tensors if n.endswith("lora_a")]:
        other = name.replace("lora_a", "lora_b")
        if rank != tensors[name].shape[0]:
            tensors[name], tensors[other] = resize_rank(tensors[name], tensors[other], rank)
    with torch.no_grad():
        for name, weight in trainer.adapter().items():
            weight.copy_(tensors[name])


def load(folder: Path, kept: set[str], variant: Variant) -> Shards:
    """Shards whose names are in `kept`, with the features that the variant sees."""
    shards = Shards(folder, TrainOptions().held_out)
    for lines in (shards.train, shards.held_out):
        lines[:] = [line for line in lines if line["name"] in kept]
        for line in lines:
            for key, values in line["tensors"].items():
                line["tensors"][key] = variant.features(key.partition(".")[2], values)
    return shards


def train_variant(name: str, args: argparse.Namespace, kept: set[str]) -> dict[str, Any]:
    """Train one variant and answer the held-out questions."""
    variant = VARIANTS[name]
    base = TrainOptions(precision=args.precision)
    options = replace(base, **variant.options)
    torch.manual_seed(0)
    trainer = nano_trainer.NanoTrainer.load(options)
    start(trainer, options.lora_rank)
    if args.precision == "bfloat16":
        trainer.halve()
    shards = load(args.sizes / str(variant.size) if variant.size else args.shards, kept, variant)
    adapter = trainer.adapter()
    groups = [
        {"params": [p for n, p in adapter.items() if ("lora_" in n) is low], "base": rate}
        for low, rate in ((False, options.projector_lr / 2), (True, options.lora_lr / 2))
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    others = products()
    started = time.monotonic()
    updates = 0 if name == AS_IT_IS else args.updates
    losses: list[float] = []
    for step in range(updates):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = train_nano.learning_rate(step / updates, step, group["base"], 0.0, 10)
        losses.append(train_nano.update(trainer, shards, options, optimizer, f"0/{step}", others))
        spent = time.monotonic() - started
        left = spent / (step + 1) * (updates - step - 1)
        print(f"\r{name}: update {step + 1} of {updates}, {left / 60:.0f} min left  ", end="", file=sys.stderr)
    spent = time.monotonic() - started
    answers = [asdict(a) for line in shards.held_out for a in held_out.answer_line(trainer, line, base, args.images)]
    print(f"\r{name}: {spent / 60:.1f} min  ", file=sys.stderr)
    size = sum(p.numel() for p in adapter.values())
    return {"updates": updates, "minutes": spent / 60, "weights": size, "losses": losses, "answers": answers}


def run(args: argparse.Namespace) -> None:
    """Train the variants that have no result yet and print the table."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    kept = {p.stem for p in args.sizes.glob("*/*.safetensors")} if args.sizes else set()
    kept = kept or {p.stem for p in args.shards.glob("*.safetensors")}
    for name in args.only or VARIANTS:
        if VARIANTS[name].size and args.sizes is None:
            continue
        path = args.out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
        if not path.exists():
            result = {"name": name, "threads": args.threads, **train_variant(name, args, kept)}
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(result))
            temporary.replace(path)
    print(table(args.out))


def table(folder: Path) -> str:
    """Accuracy of each variant by kind of question, and the paired difference over all of them."""
    results = {r["name"]: r for r in (json.loads(p.read_text()) for p in sorted(folder.glob("*.json")))}
    kinds = list(dict.fromkeys(a["kind"] for r in results.values() for a in r["answers"]))
    lines = [
        "| variant | minutes | weights | " + " | ".join(kinds) + " | all | difference |",
        "|---" * (len(kinds) + 5) + "|",
    ]
    for name in VARIANTS:
        if name not in results:
            continue
        found = results[name]["answers"]
        row = [name, f"{results[name]['minutes']:.1f}", f"{results[name]['weights'] / 1e6:.2f} M"]
        for kind in kinds:
            mine = [a["right"] for a in found if a["kind"] == kind]
            row.append(f"{np.mean(mine):.2f} (n={len(mine)})")
        row.append(f"{np.mean([a['right'] for a in found]):.3f}")
        if name != UNCHANGED and UNCHANGED in results:
            change = differences(found, results[UNCHANGED]["answers"])
            e = bootstrap(range(len(change)), partial(mean_of, change))
            row.append(f"{e.value:+.3f} ({e.low:+.3f} to {e.high:+.3f})")
        else:
            row.append("")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def differences(answers: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[np.ndarray]:
    """What changed between two variants' answers to the same questions, -1, 0 or 1 each, line by line."""
    lines: dict[str, list[int]] = defaultdict(list)
    for a, b in zip(answers, others, strict=True):
        lines[a["line"]].append(int(a["right"]) - int(b["right"]))
    return [np.array(change) for change in lines.values()]


def mean_of(change: list[np.ndarray], index: np.ndarray) -> float:
    """Mean over all questions of some lines."""
    return float(np.concatenate([change[i] for i in index]).mean())


def pooled_features(images: list[Pixels], vision: VisionTowers, size: int) -> dict[str, Tensor]:
    """Features at a larger size, averaged to the usual grid: vit, fine and coarse, each (B, 16, 16, C)."""

    def pool(values: Tensor, cells: int) -> Tensor:
        return F.adaptive_avg_pool2d(values.permute(0, 3, 1, 2), cells)

    hidden = vision.vit(images, size, VIT_LAYERS)
    maps = vision.efficientnet(images, SIZES[size])
    found = {
        "vit": torch.cat([pool(hidden[i], CELLS) for i in VIT_LAYERS], dim=1),
        "fine": F.pixel_unshuffle(pool(maps[8], 2 * CELLS), 2),
        "coarse": pool(maps[16], CELLS),
    }
    return {name: values.permute(0, 2, 3, 1) for name, values in found.items()}


def lines_again(args: argparse.Namespace, wanted: set[str]) -> Iterator[tuple[str, list[Pixels]]]:
    """Images of the prepared lines, drawn once more from the same seed."""
    from reason_iad.training.prepare import pasted, real_lines, synthetic_line
    from reason_iad.training.synth import Synthesizer

    synthesizer = Synthesizer(args.seed, args.size)
    for name in sorted(n for n in wanted if n.startswith("line-")):
        _, images = synthetic_line(synthesizer, int(name.removeprefix("line-")), args.images)
        yield name, [i.pixels for i in images]
    if args.inspection is None:
        return
    rng = np.random.default_rng(args.seed)
    questions = args.inspection / "questions_train.json"
    for name, _, images in real_lines(args.inspection, questions, args.seed, 2 * args.images, args.real_parts):
        both = [*images, *pasted(images, rng)]
        if f"real-{name}" in wanted:
            yield f"real-{name}", [i.pixels for i in both]


def sizes(args: argparse.Namespace) -> None:
    """Write shards with features at the larger sizes."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    torch.set_num_threads(args.threads)
    vision = BundledVision.load(exact=True)
    shards = Shards(args.shards, TrainOptions().held_out)
    validated = [line["name"] for line in shards.held_out]
    step = max(1, len(shards.train) // args.lines)
    wanted = {*validated, *(line["name"] for line in shards.train[::step])}
    for done, (name, images) in enumerate(lines_again(args, wanted)):
        print(f"\r{done + 1} of {len(wanted)} lines ", end="", file=sys.stderr, flush=True)
        with safe_open(args.shards / f"{name}.safetensors", "pt") as file:
            metadata, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        usual = vision_features(images[:1], vision)["coarse"][0]
        if not torch.allclose(usual, tensors["0.coarse"].float(), atol=0.02, rtol=0.02):
            print(f"\n{name}: drawn otherwise than in the shard, left out", file=sys.stderr)
            continue
        for size in SIZES:
            path = args.out / str(size) / f"{name}.safetensors"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images):
                for stream, values in pooled_features([image], vision, size).items():
                    tensors[f"{number}.{stream}"] = values[0].to(torch.float16).contiguous()
            save_file(tensors, path.with_suffix(".part"), metadata)
            path.with_suffix(".part").replace(path)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("sizes")
    p.add_argument("--shards", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seed", type=int, default=1, help="that the shards were prepared with")
    p.add_argument("--images", type=int, default=3, help="as the shards were prepared with")
    p.add_argument("--size", type=int, default=512, help="as the shards were prepared with")
    p.add_argument("--real-parts", type=int, default=2, help="as the shards were prepared with")
    p.add_argument("--inspection", type=Path, help="folder with manifest.csv and questions_train.json")
    p.add_argument("--lines", type=int, default=48, help="to train on, about")
    p.add_argument("--threads", type=int, default=1)
    p.set_defaults(run=sizes)
    p = commands.add_parser("run")
    p.add_argument("--shards", type=Path, required=True)
    p.add_argument("--sizes", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--updates", type=int, default=100)
    p.add_argument("--images", type=int, default=4, help="of each held-out line")
    p.add_argument("--only", nargs="+", choices=list(VARIANTS))
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    p.add_argument("--threads", type=int, default=1)
    p.set_defaults(run=run)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
