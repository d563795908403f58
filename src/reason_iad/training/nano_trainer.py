"""The adapter that learns: its weights, the scores of a training row, the loss, and the start that it stays near."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad.models.decoder import Tokenizer
from reason_iad.models.nano import NUM_LATENTS, TEMPLATE, Projector, StreamWidths, read_adapter
from reason_iad.training.packing import IMAGE, LATENTS, PATCHES
from reason_iad.training.questions import KINDS
from reason_iad.training.rows import TrainingRow
from reason_iad.training.train_options import TrainOptions

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Scored = list[tuple[Tensor, Tensor]]  # of each question: scores of its options (C,), log-likelihood of its right text


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
    """The language model, frozen, with everything that learns around it.

    Args:
        language_model: a llama of transformers, with its head.
        tokenizer: of the language model.
        options: say how large the updates are.
    """

    def __init__(self, language_model: Any, tokenizer: Tokenizer, options: TrainOptions) -> None:
        from reason_iad.models.attention import register_attention
        from reason_iad.models.base import ModelInfo

        super().__init__()
        self.tokenizer, self.language_model = tokenizer, language_model
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
        layers = len(self.language_model.model.layers)
        self.info = ModelInfo(
            "nano", "training", width, layers, 2048, "content", False, 4.0, False, TEMPLATE, reads_hue=True
        )

    @classmethod
    def load(cls, options: TrainOptions) -> NanoTrainer:
        """Around the language model of the weights cache."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from reason_iad import weights

        folder = weights.resolve("smollm2-135m")
        language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(language_model, AutoTokenizer.from_pretrained(folder), options)

    @classmethod
    def of(cls, adapter: Path, options: TrainOptions) -> NanoTrainer:
        """An exported adapter, which is asked in the words that it has learned to read."""
        found = cls.load(options).eval()
        settings = start_from(found.adapter(), adapter)
        found.info = replace(found.info, reads_hue=bool(settings.get("reads_hue", False)))
        return found

    def freeze(self, layers: int) -> None:
        """Let so many of the first layers stay as they are, and all that comes before them: no gradient goes there."""
        if not layers:
            return
        for part in (self.projector, *self.language_model.model.layers[:layers]):
            part.requires_grad_(False)
        self.latents.requires_grad_(False)

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

    def read(self, row: TrainingRow) -> Tensor:
        """Tokens of a row's pictures, one after the other: (64 Q, D). Evidence belongs to the image alone."""
        parts = [self.projector({name: values[:1] for name, values in row.features.items()}, row.cells)]
        if row.has_details:
            parts.append(self.projector({name: values[1:] for name, values in row.features.items()}, None))
        return torch.cat(parts).flatten(0, 1)

    def forward(self, row: TrainingRow, noise: float = 0.0) -> Scored:
        """Scores of the options (C,) of each question, and the mean log-likelihood of its right text or 0."""
        packed, tokens = row.packed, self.read(row)
        ids = torch.tensor(packed.token_ids)
        embeds = self.language_model.model.embed_tokens(ids.clamp(min=0))
        slots = torch.tensor(packed.slots)
        thoughts = self.latents + noise * torch.randn_like(self.latents)
        for kind, source in ((IMAGE, tokens), (PATCHES, tokens), (LATENTS, thoughts)):
            where = ids == kind
            if where.any():
                embeds = embeds.index_put((where.nonzero()[:, 0],), source[slots[where]])
        hidden = self.language_model.model(
            inputs_embeds=embeds[None],
            position_ids=torch.tensor(packed.positions)[None],
            attention_mask=packed.mask()[None, None],
            use_cache=False,
        ).last_hidden_state[0]
        logits = self.language_model.lm_head(hidden[torch.cat([q.rows for q in packed.questions])])
        results, start = [], 0
        for q in packed.questions:
            part = logits[start : start + len(q.rows)]
            start += len(part)
            forks = len(q.tree.ending.rows)
            scores = self.log_scale.exp() * q.tree.read(part[None, :forks])[0]
            text = (
                -F.cross_entropy(part[forks:], q.tree.text_targets) if len(q.tree.text_rows) else logits.new_zeros(())
            )
            results.append((scores, text))
        return results


class Start:
    """The adapter that a training went on from: what it answered is kept where there is nothing new to see."""

    def __init__(self, trainer: NanoTrainer) -> None:
        self._trainer = trainer
        self._weights = {name: weight.detach().clone() for name, weight in trainer.adapter().items()}

    @torch.no_grad()
    def answers(self, row: TrainingRow) -> list[Tensor]:
        """Its log-probabilities of the options (C,) of each question of a row."""
        with self._in_place():
            return [scores.log_softmax(-1) for scores, _ in self._trainer(row)]

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Let the trainer be the start for a moment; nothing is copied."""
        now = self._trainer.adapter()
        held = {name: weight.data for name, weight in now.items()}
        try:
            for name, weight in now.items():
                weight.data = self._weights[name]
            yield
        finally:
            for name, weight in now.items():
                weight.data = held[name]


def loss_of(results: Scored, row: TrainingRow, text_weight: float) -> Tensor:
    """Mean loss of a row's questions; detection counts double."""
    total, weight = torch.zeros(()), 0.0
    for (scores, likelihood), q in zip(results, row.packed.questions, strict=True):
        w = 2.0 if q.kind == KINDS[0] else 1.0
        loss = -(text_weight if q.has_choice else 1.0) * likelihood
        if q.has_choice:
            loss = loss + F.cross_entropy(scores, torch.tensor(q.answer))
        total, weight = total + w * loss, weight + w
    return total / weight


def drift_of(results: Scored, before: list[Tensor]) -> Tensor:
    """How far answers have moved from those before: the mean Kullback-Leibler divergence over questions."""
    moved = [
        F.kl_div(scores.log_softmax(-1), said, reduction="sum", log_target=True)
        for (scores, _), said in zip(results, before, strict=True)
    ]
    return torch.stack(moved).mean()


def mixed(options: TrainOptions) -> torch.autocast:
    """The precision that the matrix products run in."""
    return torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")


def start_from(adapter: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Copy an exported adapter into the weights that learn; returns its settings."""
    tensors, settings = read_adapter(folder)
    tensors["log_scale"] = torch.tensor(math.log(float(settings["answer_scale"])))
    with torch.no_grad():
        for name, weight in adapter.items():
            weight.copy_(tensors[name])
    return settings
