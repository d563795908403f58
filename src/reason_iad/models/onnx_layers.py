"""The bundled decoder's layers run by onnxruntime, in float32: what torch computes, within rounding, and sooner.

It holds each weight once. Gradients, and what is changed between layers, go through torch, which is loaded when the
first is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture, Segment
from reason_iad.models.base import Nudge
from reason_iad.models.llama import TiedHead
from reason_iad.models.torch_layers import TorchLayers, table_rms

if TYPE_CHECKING:
    import onnxruntime

_HIDDEN = -1e30  # added to the score of what may not be seen


class OnnxLayers:
    """A graph of `llama_graph` and a table of tokens; implements `DecoderLayers`.

    Args:
        session: of the graph.
        table: (V, D) float32, embeddings of the tokens and the head's matrix.
        num_layers: of the graph.
        differentiable: loads the same layers in torch, for gradients.
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        table: Tensor,
        num_layers: int,
        differentiable: Callable[[], TorchLayers],
    ) -> None:
        self._session, self._table, self._num_layers = session, table, num_layers
        self._head = TiedHead(table)
        self._load_differentiable = differentiable
        self._differentiable: TorchLayers | None = None
        self._joined: tuple[tuple[Segment, ...], dict[str, Any]] = ((), {})
        heads, _, width = next(given.shape for given in session.get_inputs() if given.name == "key.0")
        self._nothing = np.zeros((heads, 0, width), dtype=np.float32)

    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries."""
        return table_rms(self._table)

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        return self._table[torch.tensor(list(token_ids), dtype=torch.long)]

    def logits(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(..., D) to (..., V), float32; only those of the wanted tokens are computed, the others are not a number."""
        found: Tensor = self._head(hidden, wanted)
        return found

    @property
    def torch_layers(self) -> TorchLayers:
        """The same layers in torch."""
        if self._differentiable is None:
            self._differentiable = self._load_differentiable()
        return self._differentiable

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
        """See `DecoderLayers.run`.

        Raises:
            ModelError: rows of several suffixes were to be recorded, or layers were given what llama's do not take.
        """
        if nudge is not None or (torch.is_grad_enabled() and embeds.requires_grad):
            return self.torch_layers.run(segments, embeds, positions, mask, record, capture, nudge, **extra)
        if extra.keys() - {"order"} or (record and embeds.shape[0] != 1):
            raise ModelError(
                f"the bundled decoder was given {sorted(extra)} and {embeds.shape[0]} rows to record; expected text "
                "and images of one prompt: report this fault"
            )
        length = embeds.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool).tril() if mask is None else mask
        feeds = {
            **self._past(segments),
            "embeds": np.ascontiguousarray(embeds.detach().numpy()),
            "positions": np.ascontiguousarray(positions.expand(embeds.shape[0], -1).numpy()),
            "mask": np.where(seen.numpy(), np.float32(0), np.float32(_HIDDEN)),
            "captured": np.array([0 if capture is None else capture.num_rows]),
        }
        layers = [] if capture is None else sorted(capture.layers)
        kept = [f"new_{part}.{i}" for part in ("key", "value") for i in range(self._num_layers)] if record else []
        hidden, *rest = self._session.run(["hidden", *kept, *(f"attention.{i}" for i in layers)], feeds)
        for rows in rest[len(kept) :]:
            assert capture is not None
            capture.add_mean(torch.from_numpy(rows))
        segment = None
        if record:
            # Copies: what is kept for long would keep the pool's memory, which all graphs share, from being used again.
            parts = [torch.from_numpy(part).clone().transpose(0, 1) for part in rest[: len(kept)]]  # (1, H/G, n, d)
            segment = Segment(tuple(parts[: self._num_layers]), tuple(parts[self._num_layers :]))
        return torch.from_numpy(hidden), segment

    def _past(self, segments: tuple[Segment, ...]) -> dict[str, Any]:
        """Keys and values by input; several segments are joined, once for all passes that follow them."""
        held, feeds = self._joined
        if feeds and len(held) == len(segments) and all(a is b for a, b in zip(held, segments, strict=True)):
            return feeds
        feeds = {}
        for part in ("key", "value"):
            for layer in range(self._num_layers):
                pieces = [getattr(segment, f"{part}s")[layer][0].float() for segment in segments]
                feeds[f"{part}.{layer}"] = _joined(pieces) if pieces else self._nothing
        self._joined = (segments, feeds)
        return feeds


def _joined(pieces: Sequence[Tensor]) -> Any:
    """Pieces (K, n, d) one after the other, as an array that onnxruntime reads in place."""
    return (pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim=1)).contiguous().numpy()
