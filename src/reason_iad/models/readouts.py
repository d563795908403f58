"""What a vision tower's output holds for the decoder: a small function a family, as transformers names its parts.

Axes: V visual tokens of one image, D width of the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reason_iad.errors import ModelError


@dataclass(frozen=True, eq=False)
class Features:
    """Of one image."""

    tokens: Tensor  # (V, D) input embeddings
    deeper: Mapping[int, Tensor] = field(default_factory=dict)  # by decoder layer: (V, D), added to what enters it


Readout = Callable[[Any, Any], Features]  # output of `get_image_features`, config of the model


def pooled(output: Any, config: Any) -> Features:
    """Input embeddings alone."""
    return Features(_flat(output.pooler_output))


def with_first_layers(output: Any, config: Any) -> Features:
    """Qwen3-VL: embeddings, and a level behind each of the first layers."""
    levels = {layer + 1: _flat(level) for layer, level in enumerate(output.deepstack_features)}
    return Features(_flat(output.pooler_output), levels)


def for_chosen_layers(output: Any, config: Any) -> Features:
    """Granite 4 Vision: a level for each layer that the release names; that of the first stands for the embeddings.

    The decoder multiplies embeddings by a constant, which is taken out beforehand.

    Raises:
        ModelError: no level enters the first layer, so that a patch has no embedding of its own.
    """
    levels = {int(layer): _flat(level) for layer, level in output.deepstack_features}
    if 0 not in levels:
        raise ModelError(
            f"found visual features for the layers {', '.join(map(str, sorted(levels)))} of this model; expected some "
            "for layer 0, which stand for a patch: take a release such as ibm-granite/granite-vision-4.1-4b"
        )
    return Features(levels.pop(0) / config.get_text_config().embedding_multiplier, levels)


def _flat(features: Any) -> Tensor:
    """A model's image features, in one tensor or one an image or tile, as (V, D)."""
    parts = [features] if isinstance(features, Tensor) else list(features)
    return torch.cat([part.flatten(0, -2) for part in parts])
