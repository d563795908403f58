"""A decoder's layers run by torch: every open model's, and the bundled model's where torch is the faster."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reason_iad.models.attention import AttentionCapture, Recorder, Segment, register_attention
from reason_iad.models.base import Nudge
from reason_iad.models.hybrid import LayerStates
from reason_iad.models.llama import TiedHead

FULL, RECURRENT = "full_attention", frozenset({"linear_attention", "conv"})  # transformers' names of kinds of layers


class TorchLayers:
    """Table, layers and head of a decoder that takes what transformers' take; implements `DecoderLayers`.

    Args:
        text_model: the decoder; its attention is `shared_prefix_attention`.
        lm_head: gives the logits.
    """

    def __init__(self, text_model: nn.Module, lm_head: nn.Module) -> None:
        self.text_model = text_model.eval().requires_grad_(False)
        self.lm_head = lm_head.eval().requires_grad_(False)
        kinds = getattr(getattr(text_model, "config", None), "layer_types", None) or ()
        hybrid = bool(set(kinds) & RECURRENT)
        self.attention_layers = tuple(i for i, kind in enumerate(kinds) if kind == FULL) if hybrid else None
        self._table: nn.Embedding = text_model.get_input_embeddings()  # type: ignore[operator]

    @classmethod
    def from_transformers(cls, text_model: nn.Module, lm_head: nn.Module) -> TorchLayers:
        """Wrap a decoder of transformers, which dispatches its attention by name."""
        text_model.config._attn_implementation = register_attention()  # type: ignore[union-attr]
        return cls(text_model, lm_head)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._table.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the embeddings."""
        return self._table.weight.dtype

    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries."""
        scale = float(getattr(self._table, "scalar_embed_scale", 1.0))  # Gemma's table multiplies what it looks up
        return scale * table_rms(self._table.weight)

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        ids = torch.tensor(list(token_ids), dtype=torch.long, device=self.device)
        embeds: Tensor = self._table(ids)
        return embeds.detach()

    def run(
        self,
        segments: tuple[Segment, ...],
        embeds: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        record: bool = False,
        capture: AttentionCapture | None = None,
        nudge: Nudge | None = None,
        **extra: Any,
    ) -> tuple[Tensor, Segment | None]:
        """See `DecoderLayers.run`; what else `extra` holds reaches every layer."""
        recorder = Recorder() if record else None
        allowed: Any = None if mask is None else mask[None, None]
        states = None
        if self.attention_layers is not None:
            states = LayerStates(segments[-1].states if segments else {}, embeds.shape[0])
            others = set(self.text_model.config.layer_types) - {FULL}  # type: ignore[arg-type, union-attr]
            allowed = {FULL: allowed, **dict.fromkeys(others)}
            extra["cache"] = states
        if "deeper" in extra:
            extra |= self._deep_inputs(extra.pop("visual"), extra.pop("deeper"))
        with _nudged(self.text_model, nudge):
            hidden: Tensor = self.text_model(
                inputs_embeds=embeds,
                position_ids=positions,
                attention_mask=allowed,
                use_cache=False,
                segments=segments,
                recorder=recorder,
                capture=capture,
                **extra,
            ).last_hidden_state
        if recorder is None:
            return hidden, None
        found = recorder.segment()
        if states is not None:
            found = replace(found, layers=self.attention_layers, states=states.states)
        return hidden, found

    def logits(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(..., D) to (..., V), float32; of an open model all, whatever is wanted: heads differ too much to be cut."""
        if isinstance(self.lm_head, TiedHead):
            found: Tensor = self.lm_head(hidden, wanted)
            return found
        config = getattr(self.text_model, "config", None)
        result: Tensor = self.lm_head(hidden).float()
        scale = getattr(config, "logits_scaling", 1.0)  # of Granite
        result = result if scale == 1.0 else result / scale
        cap = getattr(config, "final_logit_softcapping", None)  # of Gemma 4
        return result if cap is None else cap * torch.tanh(result / cap)

    def _deep_inputs(self, visual: Tensor, deeper: dict[int, Tensor]) -> dict[str, Any]:
        """What enters further up, as this decoder takes it: by layer, or in order behind the first ones."""
        if "deepstack_features" in inspect.signature(self.text_model.forward).parameters:
            return {"vision_mask": visual[..., None], "deepstack_features": deeper}
        return {"visual_pos_masks": visual, "deepstack_visual_embeds": [deeper[layer] for layer in sorted(deeper)]}


@contextlib.contextmanager
def _nudged(text_model: nn.Module, nudge: Nudge | None) -> Iterator[None]:
    """Add what a nudge says to the first rows of what leaves one layer, while the decoder runs."""
    if nudge is None:
        yield
        return
    offsets = nudge.offsets

    def add(module: nn.Module, given: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        first, rest = hidden[:, : offsets.shape[1]], hidden[:, offsets.shape[1] :]
        unit = first.float().pow(2).mean(-1, keepdim=True).sqrt()
        moved = torch.cat([first + (offsets * unit).to(hidden.dtype), rest], dim=1)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    hook = text_model.layers[nudge.layer - 1].register_forward_hook(add)  # type: ignore[index,union-attr]
    try:
        yield
    finally:
        hook.remove()


def table_rms(table: Tensor) -> float:
    """Root mean square of a table's entries, in parts: a copy of a large one takes gigabytes."""
    squares = sum(float(part.float().pow(2).sum()) for part in torch.split(table, 8192))
    return math.sqrt(squares / table.numel())
