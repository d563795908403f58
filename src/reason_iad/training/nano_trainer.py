"""The adapter that learns: its weights, what a training row holds, the loss, and what it answers on held-out lines."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
