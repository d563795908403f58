"""What layers without attention remember: the recurrent and convolution states of hybrid decoders.

A layer with linear attention or a short convolution has no keys and values; it carries a state of fixed size from token
to token. A `Segment` keeps the states behind its last token. A pass begins from those of the last segment: every
candidate gets a copy, and a pass that is recorded leaves the next ones. `LayerStates` takes the place of transformers'
cache in such a pass, so that its layers run unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class LayerState:
    """Of one layer behind one token; each (1 or M, ...), None where the layer has no such thing."""

    convolution: Tensor | None = None  # the last tokens that the convolution still sees
    recurrent: Tensor | None = None

    def copies(self, rows: int) -> LayerState:
        """The same state for each of so many candidates, apart from each other."""
        return LayerState(_copies(self.convolution, rows), _copies(self.recurrent, rows))

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return sum(t.numel() * t.element_size() for t in (self.convolution, self.recurrent) if t is not None)


States = Mapping[int, LayerState]  # by layer


class LayerStates:
    """States of one pass, as transformers' layers ask for them; attention layers get back what they bring.

    Args:
        past: behind the last token before the pass.
        rows: candidates.
    """

    def __init__(self, past: States, rows: int) -> None:
        self._states = {layer: state.copies(rows) for layer, state in past.items()}

    @property
    def states(self) -> dict[int, LayerState]:
        """Behind the last token of the pass."""
        return self._states

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        """The convolution's state of a layer."""
        return self._of(layer_idx).convolution

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        """The recurrent state of a layer."""
        return self._of(layer_idx).recurrent

    def update_conv_state(
        self, conv_states: Tensor, layer_idx: int, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """What the convolution reads: the tokens of the past that it still sees, then those of the pass."""
        past = self._of(layer_idx)
        whole = conv_states if past.convolution is None else torch.cat([past.convolution, conv_states], dim=-1)
        size = conv_kernel_size or whole.shape[-1]
        kept = F.pad(whole, (max(0, size - whole.shape[-1]), 0))[..., -size:]
        self._states[layer_idx] = LayerState(kept, past.recurrent)
        return whole

    def update_recurrent_state(self, recurrent_states: Tensor, layer_idx: int, state_idx: int = 0, **_: Any) -> Tensor:
        """Keep the recurrent state behind the last token."""
        self._states[layer_idx] = LayerState(self._of(layer_idx).convolution, recurrent_states)
        return recurrent_states

    def is_recording_past(self, layer_idx: int) -> bool:
        """Yes: a single token takes the same way as several, and no state is changed in place."""
        return True

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Of attention layers: their past lies in the segments."""
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """0: positions are given."""
        return 0

    def _of(self, layer: int) -> LayerState:
        return self._states.get(layer, LayerState())


def _copies(state: Tensor | None, rows: int) -> Tensor | None:
    return None if state is None else state.expand(rows, *state.shape[1:]).clone()
