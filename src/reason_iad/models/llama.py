"""A llama decoder in torch, as far as the bundled model needs one: what transformers' computes, without its import.

The parameters carry transformers' names, so its weights load as they are. Attention is that of `attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reason_iad.models.attention import shared_prefix_attention
from reason_iad.models.llama_graph import LlamaShape


class LlamaOutput(NamedTuple):
    """What a pass gives."""

    last_hidden_state: Tensor  # (M, S, D), final norm applied


class Matrix(nn.Linear):
    """A linear map without a bias, whose weights come from a file: nothing is drawn at random first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        """Leave the memory as it is."""


class Table(nn.Embedding):
    """Vectors of tokens, which come from a file, too."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is."""


class RootMeanSquareNorm(nn.Module):
    """x over its root mean square, times a weight a channel."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon))


class Attention(nn.Module):
    """Grouped attention with rotary positions."""

    def __init__(self, shape: LlamaShape, layer: int) -> None:
        super().__init__()
        self.layer_idx, self.width = layer, shape.head_width
        kept = shape.num_key_value_heads * shape.head_width
        self.q_proj = Matrix(shape.hidden_size, shape.hidden_size)
        self.k_proj = Matrix(shape.hidden_size, kept)
        self.v_proj = Matrix(shape.hidden_size, kept)
        self.o_proj = Matrix(shape.hidden_size, shape.hidden_size)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, **options: Any) -> Tensor:
        """(M, S, D) to (M, S, D)."""
        query, key, value = (
            part(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )  # (M, heads, S, d)
        query, key = _turned(query, *turn), _turned(key, *turn)
        attended, _ = shared_prefix_attention(self, query, key, value, mask, **options)
        result: Tensor = self.o_proj(attended.flatten(2))
        return result


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = Matrix(shape.hidden_size, shape.intermediate_size)
        self.up_proj = Matrix(shape.hidden_size, shape.intermediate_size)
        self.down_proj = Matrix(shape.intermediate_size, shape.hidden_size)
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        result: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return result


class Layer(nn.Module):
    """Attention and feed-forward part, each behind a norm and beside a shortcut."""

    def __init__(self, shape: LlamaShape, number: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape, number), FeedForward(shape)
        self.input_layernorm = RootMeanSquareNorm(shape.hidden_size, shape.norm_eps)
        self.post_attention_layernorm = RootMeanSquareNorm(shape.hidden_size, shape.norm_eps)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, **options: Any) -> Tensor:
        """(M, S, D) to (M, S, D)."""
        x = x + self.self_attn(self.input_layernorm(x), turn, mask, **options)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Llama(nn.Module):
    """The decoder, called as transformers' are."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = Table(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape, number) for number in range(shape.num_layers))
        self.norm = RootMeanSquareNorm(shape.hidden_size, shape.norm_eps)

    @classmethod
    def of(cls, shape: LlamaShape, state: Mapping[str, Tensor]) -> Llama:
        """A decoder with the weights `model.*` of `state`, in float32, which are taken over without a copy."""
        decoder, front = cls(shape), "model."
        named = {name.removeprefix(front): value.float() for name, value in state.items() if name.startswith(front)}
        decoder.load_state_dict(named, assign=True)
        return decoder.eval().requires_grad_(False)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of tokens."""
        return self.embed_tokens

    def forward(
        self, inputs_embeds: Tensor, position_ids: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> LlamaOutput:
        """Run (M, S, D) after `segments`; see `shared_prefix_attention` for the other options."""
        hidden, turn = inputs_embeds, self._angles(position_ids)
        for layer in self.layers:
            hidden = layer(hidden, turn, attention_mask, **options)
        return LlamaOutput(self.norm(hidden))

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions (1 or M, S): each (1 or M, 1, S, d)."""
        width = self.shape.head_width
        steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
        angles = positions[..., None].float() * (1.0 / self.shape.rope_theta**steps)
        angles = torch.cat([angles, angles], dim=-1)[:, None]
        return angles.cos(), angles.sin()


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines
