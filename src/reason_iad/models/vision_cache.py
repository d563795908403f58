"""Each tower runs once for an image at a size, whoever asks: model, evidence and recognition share the features.

What is kept is bounded by bytes and is a copy for each image: a row of a batch would keep the whole batch.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from reason_iad.images import Pixels

if TYPE_CHECKING:
    from torch import Tensor

    from reason_iad.models.base import VisionTowers

SHARED_LAYERS = (7, 9, 10, 11)  # what the model, the evidence and the recognition read, in one pass
MAX_BYTES = 96 << 20  # all features of 35 images; reached within the first minutes, so that memory is level from then


class CachedVision:
    """Vision towers with a cache of the features of recent images; the least recently used are dropped first.

    Args:
        vision: the towers.
        max_bytes: of features that are kept.
    """

    def __init__(self, vision: VisionTowers, max_bytes: int = MAX_BYTES) -> None:
        self._vision, self.max_bytes, self.num_bytes = vision, max_bytes, 0
        self._found: OrderedDict[tuple[str, str, int], dict[int, Tensor]] = OrderedDict()

    @property
    def device(self) -> str:
        """Where the towers run, and other backbones beside them."""
        return str(getattr(self._vision, "device", "cpu"))

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states by layer; see `VisionTowers.vit`."""
        wanted = tuple(sorted({*layers, *SHARED_LAYERS}))
        found = self._gather("vit", images, size, layers, wanted)
        return {layer: torch.stack([one[layer] for one in found]) for layer in layers}

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, Tensor]:
        """Features by stride; see `VisionTowers.efficientnet`."""
        found = self._gather("efficientnet", images, size, (), ())
        return {stride: torch.stack([one[stride] for one in found]) for stride in found[0]}

    def _gather(
        self, tower: str, images: Sequence[Pixels], size: int, needed: Sequence[int], wanted: Sequence[int]
    ) -> list[dict[int, Tensor]]:
        keys = [(tower, _digest(image), size) for image in images]
        held = {key: self._found[key] for key in keys if key in self._found}
        missing = {
            key: image
            for key, image in zip(keys, images, strict=True)
            if key not in held or not set(needed) <= set(held[key])
        }
        if missing:
            batch = list(missing.values())
            vit = tower == "vit"
            maps = self._vision.vit(batch, size, wanted) if vit else self._vision.efficientnet(batch, size)
            for row, key in enumerate(missing):
                held[key] = {level: values[row].clone() for level, values in maps.items()}
        for key in keys:
            self._keep(key, held[key])
        return [held[key] for key in keys]

    def _keep(self, key: tuple[str, str, int], features: dict[int, Tensor]) -> None:
        """Put features behind all others, and drop the first of these where there is no room."""
        before = self._found.pop(key, {})
        self._found[key] = features
        self.num_bytes += _size(features) - _size(before)
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= _size(self._found.popitem(last=False)[1])


def _size(features: dict[int, Tensor]) -> int:
    return sum(values.numel() * values.element_size() for values in features.values())


def _digest(image: Pixels) -> str:
    return hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).hexdigest()
