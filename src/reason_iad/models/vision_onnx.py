"""The two vision towers run by onnxruntime, in float32: what torch computes, within rounding, and sooner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reason_iad import weights
from reason_iad.models.graph_cache import open_graph, stored
from reason_iad.models.sources import EFFICIENTNET, PARTS, VIT, tower_source
from reason_iad.models.vision import BLOCKS, IMAGENET_MEAN, IMAGENET_STD, STRIDES, TAPS, WEIGHTS, Towers
from reason_iad.models.vision_graph import write_efficientnet, write_vit
from reason_iad.models.vit import PATCH, stretch_positions

if TYPE_CHECKING:
    import onnxruntime

NUM_LAYERS, NUM_HEADS = 12, 6


class OnnxVision(Towers):
    """Two graphs of `vision_graph`; implements `VisionTowers`.

    Args:
        transformer: session of the ViT.
        convolutional: session of the other tower.
        positions: (1, 1 + n * n, C) position embeddings of the ViT as it was trained.
        num_layers: of the ViT.
    """

    def __init__(
        self,
        transformer: onnxruntime.InferenceSession,
        convolutional: onnxruntime.InferenceSession,
        positions: Tensor,
        num_layers: int = NUM_LAYERS,
    ) -> None:
        self._transformer, self._convolutional = transformer, convolutional
        self._positions, self.num_layers = positions, num_layers
        self._stretched: dict[int, npt.NDArray[np.float32]] = {}

    @classmethod
    def load(cls) -> OnnxVision:
        """The towers from the cache, written on first use.

        Raises:
            WeightsError: the weights could not be fetched.
            NoRoomError: the graphs cannot be kept.
        """
        vit, efficientnet = (weights.resolve(PARTS[name]) / WEIGHTS for name in (VIT, EFFICIENTNET))
        transformer = open_graph(tower_source(VIT, vit.parent), lambda folder: _write_vit(folder, vit))
        convolutional = open_graph(
            tower_source(EFFICIENTNET, efficientnet.parent),
            lambda folder: write_efficientnet(folder, EFFICIENTNET, stored(efficientnet), BLOCKS, TAPS),
        )
        return cls(transformer, convolutional, torch.from_numpy(stored(vit)("embeddings.position_embeddings")))

    def _run_vit(self, pixels: npt.NDArray[np.uint8], layers: Sequence[int]) -> dict[int, Tensor]:
        side = pixels.shape[1] // PATCH
        if side not in self._stretched:
            self._stretched[side] = stretch_positions(self._positions, side).numpy()
        feeds = {"pixels": pixels, "positions": self._stretched[side], "depth": np.array(max(layers), dtype=np.int64)}
        found = self._transformer.run([f"hidden.{layer}" for layer in layers], feeds)
        return {layer: torch.from_numpy(hidden) for layer, hidden in zip(layers, found, strict=True)}

    def _run_efficientnet(self, pixels: npt.NDArray[np.uint8]) -> dict[int, Tensor]:
        found = self._convolutional.run([f"stride.{stride}" for stride in STRIDES], {"pixels": pixels})
        return {stride: torch.from_numpy(features) for stride, features in zip(STRIDES, found, strict=True)}


def _write_vit(folder: Path, path: Path) -> None:
    write_vit(folder, VIT, stored(path), NUM_LAYERS, NUM_HEADS, IMAGENET_MEAN, IMAGENET_STD)
