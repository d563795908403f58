"""Train the adapter of the bundled model: projector, latents and low-rank updates, on prepared shards.

    python -m reason_iad.training.train_nano prepare --out DIR [--lines N] [--inspection ROOT]
    python -m reason_iad.training.train_nano train --shards DIR --out DIR [--minutes M] [--seed S] [--start ADAPTER]
    python -m reason_iad.training.train_nano export --run DIR --out src/reason_iad/data/nano

An update is one normal and one defective image of a line with a few questions each. The loss is the cross-entropy of
the right option under the very probabilities that use will read, and at times the likelihood of its text. The
language model may be frozen for a first share of the time; then its low-rank updates learn beside the projector.
`--start` goes on from an exported adapter. Checkpoints every few minutes; `train` resumes from the last one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from reason_iad.files import replacing
from reason_iad.training.nano_trainer import (
    NanoTrainer,
    TrainOptions,
    draw_row,
    loss_of,
    mixed,
    start_from,
    validate,
)
from reason_iad.training.notes import Product, products
from reason_iad.training.shards import Shards


def train(args: argparse.Namespace) -> None:
    """Run or resume a training; ends in time and leaves a safetensors checkpoint.

    With two workers each takes one image of the pair on a thread of its own and the gradients are summed: on two cores
    that beats two threads in one process, whose many small products wait for each other.
    """
    if args.workers == 1:
        train_worker(0, args)
        return
    torch.multiprocessing.spawn(train_worker, (args,), nprocs=args.workers)  # type: ignore[attr-defined, no-untyped-call]


def train_worker(rank: int, args: argparse.Namespace) -> None:
    """One of the processes that train together; the first keeps time, prints and saves."""
    options = TrainOptions(seed=args.seed, minutes=args.minutes, precision=args.precision)
    if args.workers > 1:
        rendezvous = f"file://{args.out.resolve()}-rendezvous-{os.getppid()}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=args.workers)
    torch.manual_seed(options.seed)
    torch.set_num_threads(args.threads)
    trainer = NanoTrainer(options)
    if options.precision == "bfloat16":
        trainer.halve()
    shards = Shards(args.shards, options.held_out)
    others = products()
    adapter = trainer.adapter()
    if args.start is not None:
        start_from(adapter, args.start)
    optimizer = optimizer_of(adapter, options)
    average = {n: p.detach().clone() for n, p in adapter.items()}
    step, spent = resume(args.out, adapter, average, optimizer)
    size = sum(p.numel() for p in adapter.values())
    say(rank, f"{len(shards.train)} lines, {len(shards.held_out)} held out; {size:,} weights")
    started = saved = time.monotonic()
    losses: list[float] = []
    while (elapsed := agree(spent + time.monotonic() - started)) < options.minutes * 60:
        torch.manual_seed(options.seed * 1_000_003 + step)
        set_learning_rate(optimizer, elapsed / (options.minutes * 60), step)
        losses.append(update(trainer, shards, options, optimizer, f"{options.seed}/{step}", others))
        add_to_average(average, adapter, min(options.ema, (1 + step) / (10 + step)))
        step += 1
        if step % 20 == 0:
            say(rank, f"step {step} {elapsed / 60:.1f} min loss {sum(losses[-50:]) / len(losses[-50:]):.3f}")
        if step % 500 == 0 and rank == 0:
            say(rank, json.dumps(validate(trainer, shards, options), indent=1))
        if time.monotonic() - saved > 240 and rank == 0:
            save(args.out, adapter, average, optimizer, step, elapsed, options)
            saved = time.monotonic()
    if rank == 0:
        save(args.out, adapter, average, optimizer, step, elapsed, options)
        load_average(adapter, average)
        result = validate(trainer, shards, options)
        (args.out / "validation.json").write_text(json.dumps(result, indent=1))
        say(rank, json.dumps(result, indent=1))


def optimizer_of(adapter: dict[str, Any], options: TrainOptions) -> torch.optim.Optimizer:
    """AdamW over projector and latents, and over the low-rank updates, each with its own step size."""
    updates = [p for n, p in adapter.items() if "lora_" in n]
    rest = [p for n, p in adapter.items() if "lora_" not in n]
    groups = [
        {"params": rest, "base": options.projector_lr, "frozen": 0.0},
        {"params": updates, "base": options.lora_lr, "frozen": options.frozen_share},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float, step: int) -> None:
    """Set each group's step size for this update; see `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(share, step, group["base"], group["frozen"])


@torch.no_grad()
def add_to_average(average: dict[str, Tensor], adapter: dict[str, Any], keep: float) -> None:
    """Move the average of the weights towards them, in place."""
    for name, weight in adapter.items():
        average[name].lerp_(weight, 1 - keep)


@torch.no_grad()
def load_average(adapter: dict[str, Any], average: dict[str, Tensor]) -> None:
    """Set the weights to their average, in place."""
    for name, weight in adapter.items():
        weight.copy_(average[name])


def say(rank: int, text: str) -> None:
    """Print from the first process."""
    if rank == 0:
        print(text, flush=True)


def agree(seconds: float) -> float:
    """The first process's clock, so that all stop and slow down together."""
    if not dist.is_initialized():
        return seconds
    clock = torch.tensor([seconds], dtype=torch.float64)
    dist.broadcast(clock, 0)
    return float(clock)


def update(
    trainer: NanoTrainer,
    shards: Shards,
    options: TrainOptions,
    optimizer: torch.optim.Optimizer,
    seed: str,
    others: Sequence[Product],
) -> float:
    """One optimizer step on a normal and a defective image of a line, shared among processes; returns the loss."""
    rng = random.Random(seed)  # noqa: S311
    line = rng.choice(shards.train)
    by_label = {label: [i for i, r in enumerate(line["records"]) if r["defective"] is label] for label in (False, True)}
    numbers = [rng.choice(found) for found in by_label.values() if found]
    evidence = rng.random() < options.evidence_share
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    total = 0.0
    for number in numbers[rank::world]:
        draw = random.Random(f"{seed}/{number}")  # noqa: S311
        row, features, cells = draw_row(trainer, line, number, options, draw, evidence, others)
        with mixed(options):
            tokens = trainer.projector(features, cells)[0]
            loss = loss_of(trainer, trainer(row, tokens, 0.02), row, options.text_weight) / len(numbers)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    weights = [p for g in optimizer.param_groups for p in g["params"]]
    if world > 1:
        total = share_gradients(weights, total)
    nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def share_gradients(weights: list[nn.Parameter], loss: float) -> float:
    """Sum gradients and losses over the processes, in one message; returns the summed loss."""
    flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in weights])
    flat = torch.cat([flat, torch.tensor([loss])])
    dist.all_reduce(flat)
    start = 0
    for p in weights:
        p.grad = flat[start : start + p.numel()].view_as(p).clone()
        start += p.numel()
    return float(flat[-1])


def learning_rate(share: float, step: int, base: float, frozen_share: float) -> float:
    """Cosine over the time that is left after the frozen share, with a warm-up of 50 updates."""
    if share < frozen_share:
        return 0.0
    phase = (share - frozen_share) / (1 - frozen_share)
    warm = min(1.0, (step + 1) / 50) if frozen_share == 0 else min(1.0, phase * 20)
    return base * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0))))


def save(
    folder: Path,
    adapter: dict[str, Any],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    spent: float,
    options: TrainOptions,
) -> None:
    """Write a checkpoint atomically: weights, their average, the optimizer's moments, and where the run is."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weights.{n}": p.detach().contiguous() for n, p in adapter.items()}
    tensors |= {f"average.{n}": p.contiguous() for n, p in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = value.clone().contiguous()
    record = {"step": step, "seconds": spent, "options": asdict(options)}
    with replacing(folder / "checkpoint.safetensors") as draft:
        save_file(tensors, draft, {"run": json.dumps(record)})


def resume(
    folder: Path, adapter: dict[str, Any], average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load the last checkpoint of a run, if there is one; returns its step and seconds."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0, 0.0
    with safe_open(path, "pt") as file, torch.no_grad():
        run = json.loads(file.metadata()["run"])
        for n, p in adapter.items():
            p.copy_(file.get_tensor(f"weights.{n}"))
            average[n].copy_(file.get_tensor(f"average.{n}"))
        state: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key in file.keys():  # noqa: SIM118
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                state[int(index)][name] = file.get_tensor(key)
    optimizer.load_state_dict({"state": dict(state), "param_groups": optimizer.state_dict()["param_groups"]})
    print(f"resuming at step {run['step']}, {run['seconds'] / 60:.1f} min")
    return int(run["step"]), float(run["seconds"])


def export(args: argparse.Namespace) -> None:
    """Write the averaged weights as the adapter that ships with the package."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(args.run_folder / "checkpoint.safetensors", "pt") as file:
        run = json.loads(file.metadata()["run"])
        names = [k.removeprefix("average.") for k in file.keys() if k.startswith("average.")]  # noqa: SIM118
        tensors = {n: file.get_tensor(f"average.{n}") for n in names}
    scale = float(tensors.pop("log_scale").exp())
    args.out.mkdir(parents=True, exist_ok=True)
    save_file({n: t.to(torch.float16).contiguous() for n, t in tensors.items()}, args.out / "adapter.safetensors")
    settings = {"version": args.version, "answer_scale": scale, "lora_scale": run["options"]["lora_scale"], "run": run}
    (args.out / "adapter.json").write_text(json.dumps(settings, indent=1) + "\n")
    size = (args.out / "adapter.safetensors").stat().st_size
    print(f"{args.out}: {size / 1e6:.1f} MB after {run['step']} updates, answer scale {scale:.2f}")


def prepare(args: argparse.Namespace) -> None:
    """Write shards of synthetic lines and, where a data folder is given, of permitted real categories."""
    import numpy as np

    from reason_iad.models.vision import BundledVision
    from reason_iad.training.prepare import pasted, prepare_shard, real_lines, report_progress, synthetic_line
    from reason_iad.training.questions import knowledge_for
    from reason_iad.training.synth import Synthesizer

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    vision = BundledVision.load(exact=True)
    started = time.monotonic()
    mine = [i for i in range(args.lines) if i % args.workers == args.worker]
    synthesizer = Synthesizer(args.seed)
    for done, index in enumerate(mine):
        path = args.out / f"line-{index:05d}.safetensors"
        if not path.exists():
            references, images = synthetic_line(synthesizer, index, args.images)
            prepare_shard(path, references, images, vision, knowledge_for(synthesizer.make_line(index).category))
        report_progress(done + 1, len(mine), started)
    if args.inspection is None or args.worker != 0:
        return
    rng = np.random.default_rng(args.seed)
    questions = args.inspection / "questions_train.json"
    for name, references, images in real_lines(args.inspection, questions, args.seed, 2 * args.images, args.real_parts):
        path = args.out / f"real-{name}.safetensors"
        if not path.exists():
            prepare_shard(path, references, [*images, *pasted(images, rng)], vision)
        print(f"\r{name}: {len(images)} images  ", end="", file=sys.stderr)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--lines", type=int, default=300)
    p.add_argument("--images", type=int, default=5, help="normal and as many defective images a line")
    p.add_argument("--inspection", type=Path, help="folder with manifest.csv and questions_train.json")
    p.add_argument("--real-parts", type=int, default=12, help="shards a real category")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--worker", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=prepare)
    p = commands.add_parser("train")
    p.add_argument("--shards", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=60.0)
    p.add_argument("--start", type=Path, help="folder of an exported adapter to go on from")
    p.add_argument("--workers", type=int, default=2, help="processes; two share the pair of an update")
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the frozen matrices")
    p.add_argument("--threads", type=int, default=1, help="of each process")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=train)
    p = commands.add_parser("export")
    p.add_argument("--run", dest="run_folder", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--version", default="0.1")
    p.set_defaults(run=export)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
