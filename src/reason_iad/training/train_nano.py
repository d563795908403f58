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
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad.files import replacing
from reason_iad.models.nano import NUM_LATENTS, TEMPLATE, TOKENS, Projector, StreamWidths, read_adapter
from reason_iad.training.notes import Product, ask_notes, products
from reason_iad.training.packing import IMAGE, LATENTS, PATCHES, PackedRow, QuestionItem, pack
from reason_iad.training.questions import FREE_FORM, KINDS, TrainingQuestion
from reason_iad.training.shards import Shards

SEEN = (KINDS[0], KINDS[3], KINDS[4], FREE_FORM)  # what the image answers, whatever the notes speak of
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class TrainOptions:
    """Everything that a run depends on besides its shards."""

    seed: int = 0
    minutes: float = 60.0
    projector_lr: float = 5e-4
    lora_lr: float = 3e-4
    lora_rank: int = 8
    lora_scale: float = 2.0
    frozen_share: float = 0.0  # of the time, during which the language model stays as it is
    questions_per_image: int = 5
    options_per_question: int = 4
    text_share: float = 0.25  # of questions whose right text is learned too
    text_weight: float = 0.3  # of its likelihood beside the choice
    evidence_share: float = 0.6  # of images that come with evidence
    knowledge_share: float = 0.3  # of images with the notes of their own product
    foreign_share: float = 0.3  # of images with notes of another product, which then answer what is asked about it
    latents_share: float = 0.5
    ema: float = 0.998
    precision: str = "float32"  # bfloat16 is faster where the processor has it
    held_out: int = 12  # every n-th line is for validation alone


class LowRank(nn.Module):
    """A frozen linear map with a trained low-rank update: x W^T + scale * x A^T B^T."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (..., in) giving (..., out)."""
        result: Tensor = self.base(x) + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)
        return result


class NanoTrainer(nn.Module):
    """The language model, frozen, with everything that learns around it."""

    def __init__(self, options: TrainOptions) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from reason_iad import weights
        from reason_iad.models.attention import register_attention
        from reason_iad.models.base import ModelInfo

        super().__init__()
        folder = weights.resolve("smollm2-135m")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.language_model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.language_model.requires_grad_(False)
        self.language_model.config._attn_implementation = register_attention()
        for layer in self.language_model.model.layers:
            for block in (layer.self_attn, layer.mlp):
                for name in ADAPTED:
                    if hasattr(block, name):
                        setattr(block, name, LowRank(getattr(block, name), options.lora_rank, options.lora_scale))
        width = self.language_model.config.hidden_size
        self.projector = Projector(StreamWidths(), width)
        self.latents = nn.Parameter(torch.randn(NUM_LATENTS, width) * 0.1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(4.0)))
        self.info = ModelInfo("nano", "training", width, 30, 2048, "content", False, 4.0, False, TEMPLATE)

    def halve(self) -> None:
        """Hold the frozen matrices in bfloat16; what learns stays in float32."""
        for module in self.language_model.modules():
            if isinstance(module, LowRank):
                module.base.to(torch.bfloat16)

    def adapter(self) -> dict[str, Tensor]:
        """Everything that learns, under the names that use reads."""
        found = {f"projector.{n}": p for n, p in self.projector.named_parameters()}
        found |= {n: p for n, p in self.language_model.named_parameters() if "lora_" in n}
        return {**found, "latents": self.latents, "log_scale": self.log_scale}

    def forward(self, row: PackedRow, tokens: Tensor, noise: float) -> list[tuple[Tensor, Tensor]]:
        """Scores of the options (C,) of each question, and the mean log-likelihood of its right text or 0."""
        ids = torch.tensor(row.token_ids)
        embeds = self.language_model.model.embed_tokens(ids.clamp(min=0))
        slots = torch.tensor(row.slots)
        thoughts = self.latents + noise * torch.randn_like(self.latents)
        for kind, source in ((IMAGE, tokens), (PATCHES, tokens), (LATENTS, thoughts)):
            where = ids == kind
            if where.any():
                embeds = embeds.index_put((where.nonzero()[:, 0],), source[slots[where]])
        hidden = self.language_model.model(
            inputs_embeds=embeds[None],
            position_ids=torch.tensor(row.positions)[None],
            attention_mask=row.mask()[None, None],
            use_cache=False,
        ).last_hidden_state[0]
        logits = self.language_model.lm_head(hidden[torch.cat([q.rows for q in row.questions])])
        results, start = [], 0
        for q in row.questions:
            part = logits[start : start + len(q.rows)]
            start += len(part)
            forks = len(q.tree.ending.rows)
            scores = self.log_scale.exp() * q.tree.read(part[None, :forks])[0]
            text = (
                -F.cross_entropy(part[forks:], q.tree.text_targets) if len(q.tree.text_rows) else logits.new_zeros(())
            )
            results.append((scores, text))
        return results


def draw_row(
    trainer: NanoTrainer,
    line: dict[str, Any],
    number: int,
    options: TrainOptions,
    rng: random.Random,
    evidence: bool,
    others: Sequence[Product],
) -> tuple[PackedRow, dict[str, Tensor], Tensor | None]:
    """Choose questions, knowledge, evidence, latents and patches for one image and lay them out."""
    record, tensors = line["records"][number], line["tensors"]
    asked = take_turns([TrainingQuestion(**q) for q in record["questions"]], rng)
    draw = rng.random()
    notes: tuple[str, ...] = ()
    if draw < options.foreign_share:
        notes, about = ask_notes(rng.choice(others), others, rng, 2)
        asked = take_turns([*(q for q in asked if q.kind in SEEN), *about], rng)
    elif draw < options.foreign_share + options.knowledge_share and line["knowledge"]:
        normal, *defects = line["knowledge"]
        notes = (normal, *rng.sample(defects, min(3, len(defects))))
    shots = rng.choice(sorted(record["evidence"])) if record["evidence"] and evidence else None
    cells = tensors[f"{number}.evidence{shots}"] if shots else None
    items = []
    for q in asked[: options.questions_per_image]:
        latents = NUM_LATENTS if rng.random() < options.latents_share else 0
        patches = draw_patches(tensors, number, cells, rng) if latents and rng.random() < 0.6 else ()
        wrong = [o for o in q.options if o != q.answer]
        choices = [q.answer, *rng.sample(wrong, min(len(wrong), options.options_per_question - 1))]
        rng.shuffle(choices)
        learn = rng.random() < options.text_share
        answer = choices.index(q.answer)
        items.append(QuestionItem(q.kind, q.question, tuple(choices), answer, latents, patches, learn))
    text = record["evidence"][shots] if shots and rng.random() < 0.9 else None
    row = pack(trainer.info, trainer.tokenizer, items, notes, text, TOKENS * TOKENS)
    features = {name: tensors[f"{number}.{name}"][None] for name in ("vit", "fine", "coarse")}
    return row, features, None if cells is None else cells[None]


def take_turns(asked: list[TrainingQuestion], rng: random.Random) -> list[TrainingQuestion]:
    """Detection first, then one question of each kind in random order, then the second ones, and so on."""
    rng.shuffle(asked)
    by_kind: dict[str, list[TrainingQuestion]] = defaultdict(list)
    for q in asked:
        by_kind[q.kind].append(q)
    kinds = [k for k in by_kind if k != KINDS[0]]
    rng.shuffle(kinds)
    rounds = zip_longest(*(by_kind[k] for k in kinds))
    return [*by_kind[KINDS[0]], *(q for turn in rounds for q in turn if q is not None)]


def draw_patches(tensors: dict[str, Tensor], number: int, cells: Tensor | None, rng: random.Random) -> tuple[int, ...]:
    """Patches to inject: often those of the defect, or of the strongest evidence, else any."""
    count = rng.choice((2, 4))
    guide = tensors.get(f"{number}.mask") if rng.random() < 0.6 else cells
    if guide is not None:
        weights = F.max_pool2d(guide.float()[None, None], 2)[0, 0].flatten()
        hot = [int(i) for i in weights.topk(count).indices if weights[i] > 0]
        if hot:
            return tuple(hot)
    return tuple(rng.sample(range(TOKENS * TOKENS), count))


def loss_of(trainer: NanoTrainer, results: list[tuple[Tensor, Tensor]], row: PackedRow, text_weight: float) -> Tensor:
    """Mean loss of a row's questions; detection counts double."""
    total, weight = torch.zeros(()), 0.0
    for (scores, likelihood), q in zip(results, row.questions, strict=True):
        w = 2.0 if q.kind == KINDS[0] else 1.0
        loss = -(text_weight if q.has_choice else 1.0) * likelihood
        if q.has_choice:
            loss = loss + F.cross_entropy(scores, torch.tensor(q.answer))
        total, weight = total + w * loss, weight + w
    return total / weight


@torch.no_grad()
def answer_held_out(trainer: NanoTrainer, shards: Shards, options: TrainOptions, images: int) -> list[dict[str, Any]]:
    """Answer the questions about the first images of each held-out line, with evidence and without.

    Returns:
        kind, evidence, line and whether the answer was right, of every question.
    """
    trainer.eval()
    others = products()
    found = []
    for evidence in (True, False):
        for line in shards.held_out:
            rng = random.Random(line["name"])  # noqa: S311
            for number in range(min(images, len(line["records"]))):
                if evidence and not line["records"][number]["evidence"]:
                    continue
                row, features, cells = draw_row(trainer, line, number, options, rng, evidence, others)
                with mixed(options):
                    scored = trainer(row, trainer.projector(features, cells)[0], 0.0)
                for (scores, _), q in zip(scored, row.questions, strict=True):
                    if q.has_choice:
                        right = int(scores.argmax()) == q.answer
                        found.append({"kind": q.kind, "evidence": evidence, "line": line["name"], "right": right})
    trainer.train()
    return found


def validate(trainer: NanoTrainer, shards: Shards, options: TrainOptions) -> dict[str, str]:
    """Accuracy per question type on held-out lines, with and without evidence."""
    found: dict[str, list[bool]] = defaultdict(list)
    for answer in answer_held_out(trainer, shards, options, 4):
        found[f"{answer['kind']}{' +evidence' if answer['evidence'] else ''}"].append(answer["right"])
    return {k: f"{sum(v) / len(v):.2f} (n={len(v)})" for k, v in sorted(found.items())}


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
    groups = [
        {"params": [p for n, p in adapter.items() if "lora_" not in n], "base": options.projector_lr, "frozen": 0.0},
        {
            "params": [p for n, p in adapter.items() if "lora_" in n],
            "base": options.lora_lr,
            "frozen": options.frozen_share,
        },
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    average = {n: p.detach().clone() for n, p in adapter.items()}
    step, spent = resume(args.out, adapter, average, optimizer)
    size = sum(p.numel() for p in adapter.values())
    say(rank, f"{len(shards.train)} lines, {len(shards.held_out)} held out; {size:,} weights")
    started = saved = time.monotonic()
    losses: list[float] = []
    while (elapsed := agree(spent + time.monotonic() - started)) < options.minutes * 60:
        torch.manual_seed(options.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(elapsed / (options.minutes * 60), step, group["base"], group["frozen"])
        losses.append(update(trainer, shards, options, optimizer, f"{options.seed}/{step}", others))
        with torch.no_grad():
            keep = min(options.ema, (1 + step) / (10 + step))
            for n, p in adapter.items():
                average[n].lerp_(p, 1 - keep)
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
        with torch.no_grad():
            for n, p in adapter.items():
                p.copy_(average[n])
        result = validate(trainer, shards, options)
        (args.out / "validation.json").write_text(json.dumps(result, indent=1))
        say(rank, json.dumps(result, indent=1))


def mixed(options: TrainOptions) -> torch.autocast:
    """The precision that the matrix products run in."""
    return torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")


def start_from(adapter: dict[str, Any], folder: Path) -> None:
    """Copy an exported adapter into the weights that learn."""
    tensors, settings = read_adapter(folder)
    tensors["log_scale"] = torch.tensor(math.log(float(settings["answer_scale"])))
    with torch.no_grad():
        for name, weight in adapter.items():
            weight.copy_(tensors[name])


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
