"""The bundled language model as an ONNX graph: a llama decoder run from stored keys and values.

Axes as in `attention`: M rows that share a past of N tokens, S tokens of each row, G query heads for each of the K
key-value heads, d head width, D width. The past is read in place, for all rows in one product a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.models.onnx_writer import FUSED, GraphWriter, Weights

VERSION = 1  # raise it when the graph computes something else


@dataclass(frozen=True)
class LlamaShape:
    """Sizes of a llama decoder."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    vocab_size: int
    norm_eps: float
    rope_theta: float
    context_length: int

    @property
    def head_width(self) -> int:
        """Entries of a head."""
        return self.hidden_size // self.num_heads

    @classmethod
    def from_config(cls, config: dict[str, Any], context_length: int) -> LlamaShape:
        """Read a `config.json` of transformers."""
        rope = config.get("rope_parameters") or config
        return cls(
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            num_key_value_heads=config["num_key_value_heads"],
            vocab_size=config["vocab_size"],
            norm_eps=config["rms_norm_eps"],
            rope_theta=float(rope["rope_theta"]),
            context_length=context_length,
        )


def write_llama(folder: Path, name: str, shape: LlamaShape, weights: Weights) -> None:
    """Write the decoder.

    Inputs: `embeds` (M, S, D), `positions` (M, S), `mask` (S, S) added to the scores among the suffix, `captured` (1,)
    how many rows of attention are wanted, `key.i` and `value.i` (K, N, d) of the past of layer i.
    Outputs: `hidden` (M, S, D), final norm applied; `new_key.i`, `new_value.i` (K, M, S, d); `attention.i`
    (M, captured, N + S), the mean over heads.
    """
    writer = GraphWriter(folder, name)
    _Decoder(writer, shape, weights).write()
    writer.save()


class _Decoder:
    def __init__(self, writer: GraphWriter, shape: LlamaShape, weights: Weights) -> None:
        self.w, self.shape, self.weights = writer, shape, weights

    def write(self) -> None:
        w, shape = self.w, self.shape
        hidden = w.input("embeds", ("M", "S", shape.hidden_size))
        w.input("positions", ("M", "S"), "INT64")
        w.input("mask", ("S", "S"))
        w.input("captured", (1,), "INT64")
        for layer in range(shape.num_layers):
            w.input(f"key.{layer}", (shape.num_key_value_heads, "N", shape.head_width))
            w.input(f"value.{layer}", (shape.num_key_value_heads, "N", shape.head_width))
        self._rotation()
        self._shapes()
        normed = w.node(
            "SimplifiedLayerNormalization", hidden, self._norm("model.layers.0.input_layernorm"),
            axis=-1, epsilon=shape.norm_eps,
        )  # fmt: skip
        for layer in range(shape.num_layers):
            front = f"model.layers.{layer}"
            attended = self._attention(layer, normed)
            normed, hidden = self._add_and_norm(attended, hidden, f"{front}.post_attention_layernorm")
            following = f"model.layers.{layer + 1}.input_layernorm" if layer + 1 < shape.num_layers else "model.norm"
            normed, hidden = self._add_and_norm(self._feed_forward(layer, normed), hidden, following)
        w.output("hidden", normed, ("M", "S", shape.hidden_size))

    def _norm(self, name: str) -> str:
        return self.w.weight(f"{name}.weight", self.weights(f"{name}.weight"))

    def _add_and_norm(self, change: str, hidden: str, norm: str) -> tuple[str, str]:
        """The sum of both, and the sum normed: (normed, sum)."""
        normed, _, _, total = self.w.node(
            "SkipSimplifiedLayerNormalization", change, hidden, self._norm(norm),
            outputs=4, domain=FUSED, epsilon=self.shape.norm_eps,
        )  # fmt: skip
        return normed, total

    def _matrix(self, name: str, *parts: str, scale: float = 1.0) -> str:
        """Maps (out, in) side by side, transposed, as one product takes them: (in, all out)."""
        joined = np.concatenate([self.weights(f"{part}.weight") for part in parts])
        return self.w.weight(name, joined.T * np.float32(scale))

    def _rotation(self) -> None:
        """Tables of cosines and sines by position: each (context, d / 2)."""
        width = self.shape.head_width
        frequencies = 1.0 / self.shape.rope_theta ** (np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
        angles = np.arange(self.shape.context_length, dtype=np.float32)[:, None] * frequencies.astype(np.float32)
        self.w.weight("cosines", np.cos(angles))
        self.w.weight("sines", np.sin(angles))

    def _turn(self, states: str, heads: int) -> str:
        return str(
            self.w.node("RotaryEmbedding", states, "positions", "cosines", "sines", domain=FUSED, num_heads=heads)
        )

    def _attention(self, layer: int, normed: str) -> str:
        w, shape = self.w, self.shape
        front, width, kv = f"model.layers.{layer}.self_attn", shape.head_width, shape.num_key_value_heads
        groups = shape.num_heads // kv
        joined = w.node(
            "MatMul", normed, self._matrix(f"{front}.qkv", *(f"{front}.{part}_proj" for part in ("q", "k", "v")))
        )
        sizes = w.integers(shape.hidden_size, kv * width, kv * width)
        query, key, value = w.node("Split", joined, sizes, outputs=3, axis=-1)
        query, key = self._turn(query, shape.num_heads), self._turn(key, kv)
        # (M, S, H d) to (K, M G S, d): all rows against the one stored copy
        query = w.node("Reshape", query, w.integers(0, 0, kv, groups, width))
        query = w.node("Transpose", query, perm=[2, 0, 3, 1, 4])  # (K, M, G, S, d)
        flat = w.node("Reshape", query, w.integers(kv, -1, width))
        key, value = (
            w.node("Transpose", w.node("Reshape", part, w.integers(0, 0, kv, width)), perm=[2, 0, 1, 3])
            for part in (key, value)
        )  # (K, M, S, d)
        w.output(f"new_key.{layer}", key, (kv, "M", "S", width))
        w.output(f"new_value.{layer}", value, (kv, "M", "S", width))
        scaling = width**-0.5
        far = w.node("FusedMatMul", flat, f"key.{layer}", domain=FUSED, transB=1, alpha=scaling)  # (K, M G S, N)
        own = w.node("Reshape", query, self.by_row)
        own = w.node("FusedMatMul", own, key, domain=FUSED, transB=1, alpha=scaling)  # (K, M, G S, S)
        own = w.node("Add", self._reshape(own, self.own_scores), "mask")
        weights = w.node("Softmax", w.node("Concat", self._reshape(far, self.far_scores), own, axis=-1), axis=-1)
        self._capture(layer, weights)
        far, own = w.node("Split", weights, self.lengths, outputs=2, axis=-1)
        far = w.node("MatMul", self._reshape(far, self.far_flat), f"value.{layer}")  # (K, M G S, d)
        own = w.node("MatMul", self._reshape(own, self.own_rows), value)  # (K, M, G S, d)
        both = w.node("Add", self._reshape(far, self.heads), self._reshape(own, self.heads))
        both = w.node("Transpose", both, perm=[1, 3, 0, 2, 4])  # (M, S, K, G, d)
        both = w.node("Reshape", both, w.integers(0, 0, shape.hidden_size))
        return str(w.node("MatMul", both, self._matrix(f"{front}.o", f"{front}.o_proj")))

    def _shapes(self) -> None:
        """Shapes that every layer brings its scores into; a past of no tokens is one, so no 0 may mean "as it was"."""
        w, kv, width = self.w, self.shape.num_key_value_heads, self.shape.head_width
        heads = w.integers(kv)
        groups = w.integers(self.shape.num_heads // kv)
        rows = w.node("Gather", w.node("Shape", "embeds"), w.integers(0))  # M, as a list of one
        length = w.node("Gather", w.node("Shape", "embeds"), w.integers(1))  # S
        past = w.node("Gather", w.node("Shape", "key.0"), w.integers(1))  # N
        grouped = w.node("Mul", groups, length)  # G S
        flat = w.node("Mul", rows, grouped)  # M G S

        def shape(*sizes: str) -> str:
            return str(w.node("Concat", *sizes, axis=0))

        self.lengths = shape(past, length)
        self.by_row = shape(heads, rows, grouped, w.integers(width))
        self.far_scores = shape(heads, rows, groups, length, past)
        self.own_scores = shape(heads, rows, groups, length, length)
        self.far_flat = shape(heads, flat, past)
        self.own_rows = shape(heads, rows, grouped, length)
        self.heads = shape(heads, rows, groups, length, w.integers(width))

    def _reshape(self, values: str, shape: str) -> str:
        return str(self.w.node("Reshape", values, shape, allowzero=1))

    def _capture(self, layer: int, weights: str) -> None:
        w = self.w
        rows = w.node("Slice", weights, w.integers(0), "captured", w.integers(3))
        w.output(f"attention.{layer}", w.node("ReduceMean", rows, axes=[0, 2], keepdims=0), ("M", "captured", "all"))

    def _feed_forward(self, layer: int, normed: str) -> str:
        w, front = self.w, f"model.layers.{layer}.mlp"
        both = w.node("MatMul", normed, self._matrix(f"{front}.both", f"{front}.gate_proj", f"{front}.up_proj"))
        gate, up = w.node(
            "Split", both, w.integers(self.shape.intermediate_size, self.shape.intermediate_size), outputs=2, axis=-1
        )
        opened = w.node("Mul", w.node("QuickGelu", gate, domain=FUSED, alpha=1.0), up)  # alpha 1 is silu
        return str(w.node("MatMul", opened, self._matrix(f"{front}.down", f"{front}.down_proj")))
