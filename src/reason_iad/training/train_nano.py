"""Train the adapter of the bundled model: projector, latents and low-rank updates, on prepared shards.

    python -m reason_iad.training.train_nano prepare --out DIR [--lines N] [--inspection ROOT]
    python -m reason_iad.training.train_nano train --shards DIR --out DIR [--minutes M] [--seed S] [--start ADAPTER]
    python -m reason_iad.training.train_nano export --run DIR --out DIR [--version V] [--start ADAPTER]
    python -m reason_iad.training.train_nano answer --shards DIR --adapter ADAPTER --out ANSWERS.jsonl
    python -m reason_iad.training.train_nano compare ANSWERS.jsonl OTHERS.jsonl

An update is one normal and one defective image of a line with a few questions each. The loss is the cross-entropy of
the right option under the very probabilities that use will read, at times the likelihood of its text, and, where a
training goes on from an adapter (`--start`), how far answers without details move from those of that adapter. The
language model may be frozen for a first share of the time; then its low-rank updates learn beside the projector.
Checkpoints every few minutes; `train` resumes from the last one, and takes up shards that are written meanwhile.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from reason_iad.training.checkpoints import export, resume, save
from reason_iad.training.held_out import answer_all, behind_details, compare, read_answers, table
from reason_iad.training.nano_trainer import NanoTrainer, Start, drift_of, loss_of, mixed, start_from
from reason_iad.training.notes import Product, products
from reason_iad.training.rows import draw_row
from reason_iad.training.shards import Shards
from reason_iad.training.train_options import TrainOptions

SAVED = 180  # seconds between checkpoints
WATCHED = 50  # updates between looks at held-out lines,
FEW_LINES, FEW_IMAGES = 4, 2  # of which so many, without evidence


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
    options = TrainOptions(
        seed=args.seed, minutes=args.minutes, precision=args.precision, frozen_layers=args.frozen_layers
    )
    if args.workers > 1:
        rendezvous = f"file://{args.out.resolve()}-rendezvous-{os.getppid()}"
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=args.workers)
    torch.manual_seed(options.seed)
    torch.set_num_threads(args.threads)
    trainer = NanoTrainer.load(options)
    if options.precision == "bfloat16":
        trainer.halve()
    trainer.freeze(options.frozen_layers)
    adapter = trainer.adapter()
    if args.start is not None:
        start_from(adapter, args.start)
    start = None if args.start is None else Start(trainer)
    shards, others = Shards(args.shards, options.held_out), products()
    args.out.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        watch(trainer, shards, options, args.out / "start.jsonl")
    optimizer = optimizer_of(adapter, options)
    average = {n: p.detach().clone() for n, p in adapter.items()}
    step, spent = resume(args.out, adapter, average, optimizer)
    size = sum(p.numel() for p in adapter.values() if p.requires_grad)
    say(rank, f"{len(shards.train)} lines, {len(shards.held_out)} held out; {size:,} weights")
    started = saved = time.monotonic()
    losses: list[float] = []
    while (elapsed := agree(spent + time.monotonic() - started)) < options.minutes * 60:
        torch.manual_seed(options.seed * 1_000_003 + step)
        set_learning_rate(optimizer, elapsed / (options.minutes * 60), step, options.warm_up)
        losses.append(update(trainer, shards, options, optimizer, f"{options.seed}/{step}", others, start))
        keep = options.ema if start is not None else min(options.ema, (1 + step) / (10 + step))
        add_to_average(average, adapter, keep)
        step += 1
        if step % 20 == 0:
            say(rank, f"step {step} {elapsed / 60:.1f} min loss {sum(losses[-100:]) / len(losses[-100:]):.3f}")
            shards = shards.with_new()
        if step % WATCHED == 0 and rank == 0:
            watch(trainer, shards, options, args.out / f"step-{step}.jsonl")
        if time.monotonic() - saved > SAVED and rank == 0:
            save(args.out, adapter, average, optimizer, step, elapsed, options)
            saved = time.monotonic()
    if rank == 0:
        save(args.out, adapter, average, optimizer, step, elapsed, options)


def watch(trainer: NanoTrainer, shards: Shards, options: TrainOptions, kept: Path) -> None:
    """Print what the weights of the moment answer on a few held-out lines, and beside those of the start."""
    answers = answer_all(trainer, shards.held_out[:FEW_LINES], options, FEW_IMAGES, kept, (False,))
    print(table(answers), flush=True)
    start = kept.with_name("start.jsonl")
    if kept != start and start.exists():
        print(compare(read_answers(start), answers), flush=True)


def optimizer_of(adapter: dict[str, Any], options: TrainOptions) -> torch.optim.Optimizer:
    """AdamW over projector and latents, and over the low-rank updates, each with its own step size."""
    updates = [p for n, p in adapter.items() if "lora_" in n and p.requires_grad]
    rest = [p for n, p in adapter.items() if "lora_" not in n and p.requires_grad]
    groups = [
        {"params": rest, "base": options.projector_lr, "frozen": 0.0},
        {"params": updates, "base": options.lora_lr, "frozen": options.frozen_share},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float, step: int, warm_up: int) -> None:
    """Set each group's step size for this update; see `learning_rate`."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(share, step, group["base"], group["frozen"], warm_up)


@torch.no_grad()
def add_to_average(average: dict[str, Tensor], adapter: dict[str, Any], keep: float) -> None:
    """Move the average of the weights towards them, in place."""
    for name, weight in adapter.items():
        average[name].lerp_(weight, 1 - keep)


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
    start: Start | None = None,
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
        row = draw_row(trainer.info, trainer.tokenizer, line, number, options, draw, evidence, others)
        with mixed(options):
            stays = start is not None and not row.has_details
            before = start.answers(row) if start is not None and stays else []
            scored = trainer(row, 0.02)
            loss = loss_of(scored, row, options.text_weight)
            if stays:
                loss = loss + options.stay * drift_of(scored, before)
        loss = loss / len(numbers)
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


def learning_rate(share: float, step: int, base: float, frozen_share: float, warm_up: int) -> float:
    """Cosine over the time that is left after the frozen share, with a warm-up of so many updates."""
    if share < frozen_share:
        return 0.0
    phase = (share - frozen_share) / (1 - frozen_share)
    warm = min(1.0, (step + 1) / warm_up) if frozen_share == 0 else min(1.0, phase * 20)
    return base * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0))))


def answer(args: argparse.Namespace) -> None:
    """Ask an adapter about all held-out lines, keep its answers and print them as a table."""
    torch.set_num_threads(args.threads)
    options = TrainOptions()
    trainer, shards = NanoTrainer.of(args.adapter, options), Shards(args.shards, options.held_out)
    found = answer_all(trainer, shards.held_out, options, args.images, args.out)
    print(f"{table(found)}\n\nBehind a detail, less without:\n{behind_details(found)}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--lines", type=int, default=300)
    p.add_argument("--images", type=int, default=3, help="normal and as many defective images a line")
    p.add_argument("--details", type=int, default=3, help="details an image")
    p.add_argument("--size", type=int, default=512, help="pixels of a side of synthetic images")
    p.add_argument("--inspection", type=Path, help="folder with manifest.csv and questions_train.json")
    p.add_argument("--real-parts", type=int, default=2, help="shards a real category")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--worker", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=_prepare)
    p = commands.add_parser("train")
    p.add_argument("--shards", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=60.0)
    p.add_argument("--start", type=Path, help="folder of an exported adapter to go on from")
    p.add_argument("--frozen-layers", type=int, default=0, help="of the language model, from the first one, for speed")
    p.add_argument("--workers", type=int, default=2, help="processes; two share the pair of an update")
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the frozen matrices")
    p.add_argument("--threads", type=int, default=1, help="of each process")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=train)
    p = commands.add_parser("export")
    p.add_argument("--run", dest="run_folder", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--version", default="0.1")
    p.add_argument("--start", type=Path, help="adapter whose fitted settings are kept until they are fitted again")
    p.set_defaults(run=lambda args: print(export(args.run_folder, args.out, args.version, args.start)))
    p = commands.add_parser("answer")
    p.add_argument("--shards", type=Path, required=True)
    p.add_argument("--adapter", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="file that keeps the answers")
    p.add_argument("--images", type=int, default=6, help="of each held-out line")
    p.add_argument("--threads", type=int, default=1)
    p.set_defaults(run=answer)
    p = commands.add_parser("compare")
    p.add_argument("answers", type=Path, nargs=2)
    p.set_defaults(run=lambda args: print(compare(*(read_answers(path) for path in args.answers))))
    args = parser.parse_args()
    args.run(args)


def _prepare(args: argparse.Namespace) -> None:
    from reason_iad.training.prepare import prepare

    prepare(args)


if __name__ == "__main__":
    main()
