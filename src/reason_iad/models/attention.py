"""Attention over a shared prefix: candidates attend to one stored copy of the prompt's keys and values.

Axes: M rows that share the prefix, H query heads, G query heads per key-value head, S suffix tokens, n tokens of a
segment, d head width. The function is registered with transformers, so every decoder that dispatches through its
attention interface runs it unchanged. No tensor of size (prefix x prefix) is ever formed: a prefill and one suffix
alone run torch's fused kernel, several suffixes blocks of query rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad.models.hybrid import States

ATTENTION_NAME = "reason_iad"
QUERY_BLOCK = 256  # query rows a block when attending to stored segments: bounds the score matrix


@dataclass(frozen=True)
class Segment:
    """Keys and values of n consecutive prompt tokens in every layer, each (1, H/G, n, d), positions applied.

    Of a hybrid decoder only the layers with attention have them; the others leave a state behind the last token.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    layers: tuple[int, ...] | None = None  # which layer each of them is of; all in order where None
    states: States = field(default_factory=dict)

    def of(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer."""
        place = layer if self.layers is None else self.layers.index(layer)
        return self.keys[place], self.values[place]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return int(self.keys[0].shape[2])

    def part(self, start: int, stop: int) -> Segment:
        """The tokens from `start` to `stop` alone, copied, so that the rest is freed."""
        return Segment(
            tuple(k[:, :, start:stop].clone(memory_format=torch.contiguous_format) for k in self.keys),
            tuple(v[:, :, start:stop].clone(memory_format=torch.contiguous_format) for v in self.values),
        )

    @property
    def num_bytes(self) -> int:
        """Memory held by keys, values and states."""
        held = sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))
        return held + sum(state.num_bytes for state in self.states.values())


@dataclass
class Recorder:
    """Collects the keys and values that a forward pass computes, layer by layer."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def add(self, key: Tensor, value: Tensor) -> None:
        """Keep one layer's keys and values (1, H/G, n, d), contiguous: candidates read them hundreds of times."""
        self.keys.append(key.contiguous())
        self.values.append(value.contiguous())

    def segment(self) -> Segment:
        """The recorded tokens as one segment."""
        return Segment(tuple(self.keys), tuple(self.values))


@dataclass
class AttentionCapture:
    """Reads attention of the first `num_rows` suffix rows to prompt tokens `start` to `stop`, in some layers only."""

    layers: frozenset[int]
    num_rows: int
    start: int
    stop: int
    chosen: Tensor | None = None  # (P,) of the tokens from start on, where only some are wanted
    total: Tensor | None = None
    count: int = 0

    def add(self, weights: Tensor) -> None:
        """Add one layer's weights (H/G, M, G, S, all keys); heads are averaged."""
        self.add_mean(weights[..., : self.num_rows, :].detach().float().mean(dim=(0, 2)))

    def add_mean(self, rows: Tensor) -> None:
        """Add one layer's weights of the captured rows (M, num_rows, all keys), a mean over heads."""
        rows = rows[..., self.start : self.stop]
        if self.chosen is not None:
            rows = rows[..., self.chosen.to(rows.device)]
        self.total = rows if self.total is None else self.total + rows
        self.count += 1

    def mean(self) -> Tensor:
        """Mean over heads and captured layers: (M, num_rows, stop - start), or (M, num_rows, P) of those chosen."""
        if self.total is None:
            raise RuntimeError("nothing was captured: no layer of the pass is in `layers`")
        return self.total / self.count


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend from M suffixes to a prefix that they share and, causally or under a mask, each to itself.

    Args:
        module: the attention layer; `layer_idx` selects its part of the prefix.
        query: (M, H, S, d).
        key: (M, H/G, S, d).
        value: (M, H/G, S, d).
        attention_mask: boolean (1 or M, 1, S, S) over the suffix alone, True where allowed; None is causal.
        options: `scaling`, `segments` (the prefix), `recorder`, `capture`, `sliding_window` (of a layer that has one),
            `order` (S,): how many tokens stand before each one on its path; others are ignored.

    Returns:
        (M, S, H, d), and None in the place of attention weights.
    """
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    segments: tuple[Segment, ...] = options.get("segments") or ()
    recorder: Recorder | None = options.get("recorder")
    capture: AttentionCapture | None = options.get("capture")
    if recorder is not None:
        recorder.add(key, value)
    window = _window(options.get("sliding_window"), options.get("order"), segments, query)
    if not segments:
        if window is not None:
            attention_mask = _suffix_mask(query, attention_mask) & window[0]
        causal = attention_mask is None and query.shape[2] > 1
        grouped = query.shape[1] != key.shape[1]
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, is_causal=causal, scale=scaling, enable_gqa=grouped
        )
        return output.transpose(1, 2), None
    past = [segment.of(layer) for segment in segments]
    mask = _suffix_mask(query, attention_mask)
    wanted = capture if capture is not None and layer in capture.layers else None
    if query.shape[0] == 1 and wanted is None and window is None and query.device.type == "cpu":
        return _attend_alone(query, key, value, past, mask, scaling).transpose(1, 2), None
    seen = [None] * len(segments) if window is None else list(window[1:])
    if window is not None:
        mask = mask & window[0]
    blocks = []
    for begin in range(0, query.shape[2], QUERY_BLOCK):
        rows = slice(begin, begin + QUERY_BLOCK)
        first = wanted if begin == 0 else None  # the captured rows stand at the front of the suffix
        near = [None if part is None else part[rows] for part in seen]
        blocks.append(_attend(query[:, :, rows] * scaling, key, value, past, mask[:, :, rows], near, first))
    return torch.cat(blocks, dim=2).transpose(1, 2), None


def _window(
    size: int | None, order: Tensor | None, segments: tuple[Segment, ...], query: Tensor
) -> tuple[Tensor, ...] | None:
    """What a sliding window lets suffix rows see: of the suffix (S, S), then of each segment (S, n); None is all."""
    past = sum(segment.length for segment in segments)
    if size is None or past + query.shape[2] <= size:
        return None
    if order is None:
        order = torch.arange(past, past + query.shape[2])
    order = order.to(query.device)
    places = torch.split(torch.arange(past, device=query.device), [segment.length for segment in segments])
    return tuple(columns > order[:, None] - size for columns in (order, *places))


def _suffix_mask(query: Tensor, attention_mask: Tensor | None) -> Tensor:
    if attention_mask is not None:
        return attention_mask
    length = query.shape[2]
    return torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]


def _attend_alone(
    query: Tensor, key: Tensor, value: Tensor, past: list[tuple[Tensor, Tensor]], mask: Tensor, scaling: float
) -> Tensor:
    """One suffix by torch's fused kernel, behind a joined copy of what stands before it: (1, H, S, d) to the same.

    On a processor that takes a third to two thirds of the time of `_attend`; a GPU was not measured.
    """
    stored = sum(k.shape[2] for k, _ in past)
    return F.scaled_dot_product_attention(
        query,
        torch.cat([*(k for k, _ in past), key], dim=2),
        torch.cat([*(v for _, v in past), value], dim=2),
        attn_mask=F.pad(mask, (stored, 0), value=True),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past: list[tuple[Tensor, Tensor]],
    mask: Tensor,
    near: list[Tensor | None],
    capture: AttentionCapture | None,
) -> Tensor:
    """One softmax over what is near of the segments, and the suffix: query (M, H, s, d), scaled, to (M, H, s, d).

    The softmax sums in float32, whatever the products run in.
    """
    rows, heads, length, width = query.shape
    kv_heads, groups = key.shape[1], heads // key.shape[1]
    grouped = query.view(rows, kv_heads, groups, length, width).transpose(0, 1)  # (H/G, M, G, s, d)
    flat = grouped.reshape(kv_heads, -1, width)  # all rows against the one stored copy, in one product a head
    shape = (kv_heads, rows, groups, length, -1)
    scores = [(flat @ k[0].transpose(1, 2)).view(shape) for k, _ in past]
    scores = [s if seen is None else s.masked_fill(~seen, float("-inf")) for s, seen in zip(scores, near, strict=True)]
    own_keys, own_values = key.transpose(0, 1), value.transpose(0, 1)  # (H/G, M, S, d)
    own = (flat.view(kv_heads, rows, -1, width) @ own_keys.transpose(-1, -2)).view(shape)  # (H/G, M, G, s, S)
    scores.append(own.masked_fill(~mask.transpose(0, 1).unsqueeze(2), float("-inf")))
    weights = torch.softmax(torch.cat(scores, dim=-1), dim=-1)
    if capture is not None:
        capture.add(weights)
    parts = torch.split(weights, [s.shape[-1] for s in scores], dim=-1)
    output = parts[-1].reshape(kv_heads, rows, groups * length, -1) @ own_values
    flat_output = output.view(kv_heads, -1, width)
    for part, (_, v) in zip(parts, past, strict=False):
        flat_output = flat_output + part.reshape(kv_heads, -1, part.shape[-1]) @ v[0]
    joined = flat_output.view(kv_heads, rows, groups, length, width).transpose(0, 1)
    return joined.reshape(rows, heads, length, width)


def register_attention() -> str:
    """Make the function known to transformers; safe to call again. Returns its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, shared_prefix_attention)
    return ATTENTION_NAME
