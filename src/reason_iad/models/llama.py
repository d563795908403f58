"""A llama decoder in torch, as far as the bundled model needs one: what transformers' computes, without its import.

Queries, keys and values come from one product, gate and up from another. Matrices may be held in bfloat16: then
products and attention run in it, while norms, rotations and what the layers add to stay in float32. Attention is that
of `attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reason_iad.models.attention import shared_prefix_attention
from reason_iad.models.llama_graph import LlamaShape
from reason_iad.models.vit import Linear

_JOINED = {  # matrices that are multiplied as one
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}


class LlamaOutput(NamedTuple):
    """What a pass gives."""

    last_hidden_state: Tensor  # (M, S, D), final norm applied


class Matrix(Linear):
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
        self.heads, self.kept = shape.num_heads, shape.num_key_value_heads
        self.qkv_proj = Matrix(shape.hidden_size, (self.heads + 2 * self.kept) * self.width)
        self.o_proj = Matrix(shape.hidden_size, shape.hidden_size)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, **options: Any) -> Tensor:
        """(M, S, D) to (M, S, D)."""
        heads = self.qkv_proj(x).unflatten(-1, (-1, self.width)).transpose(1, 2)  # (M, all heads, S, d)
        turned = _turned(heads[:, : self.heads + self.kept], *turn).to(heads.dtype)
        query, key = torch.split(turned, [self.heads, self.kept], dim=1)
        attended, _ = shared_prefix_attention(self, query, key, heads[:, -self.kept :], mask, **options)
        result: Tensor = self.o_proj(attended.flatten(2))
        return result


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_up_proj = Matrix(shape.hidden_size, 2 * shape.intermediate_size)
        self.down_proj = Matrix(shape.intermediate_size, shape.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        result: Tensor = self.down_proj(nn.functional.silu(gate) * up)
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
    def of(cls, shape: LlamaShape, read: Callable[[str], Tensor], dtype: torch.dtype = torch.float32) -> Llama:
        """A decoder whose weights `read` gives by transformers' names, one by one; its matrices are held in `dtype`."""
        decoder, state = cls(shape), {}
        for name, part in decoder.named_modules():
            if "weight" not in part._parameters:
                continue
            layer, _, kind = name.rpartition(".")
            pieces = [read(f"model.{layer}{'.' * bool(layer)}{one}.weight") for one in _JOINED.get(kind, (kind,))]
            kept = dtype if isinstance(part, Matrix) else torch.float32
            state[f"{name}.weight"] = (
                torch.cat([piece.to(kept) for piece in pieces]) if pieces[1:] else pieces[0].to(kept)
            )
        decoder.load_state_dict(state, assign=True)
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


class TiedHead(nn.Module):
    """Logits by the table of tokens (V, D), in its type: those of the wanted tokens alone where they are named."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", table)

    def forward(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(..., D) to (..., V); the logits of tokens that are not wanted are not computed and not a number."""
        table: Tensor = self.weight  # type: ignore[assignment]
        rows = hidden.reshape(-1, hidden.shape[-1])  # one product: by candidate it would read the table for each
        if wanted is None:
            found = nn.functional.linear(rows, table)
        else:
            found = rows.new_full((len(rows), len(table)), float("nan"))
            found[:, wanted] = nn.functional.linear(rows, table[wanted])
        return found.view(*hidden.shape[:-1], -1)


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines
