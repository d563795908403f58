"""Each tower runs once for an image at a size, whoever asks: model, evidence and recognition share the features."""

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


class CachedVision:
    """Vision towers with a cache of the features of recent images; the least recently used are dropped first."""

    def __init__(self, vision: VisionTowers, capacity: int = 64) -> None:
        self._vision, self._capacity = vision, capacity
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
                held[key] = {level: values[row] for level, values in maps.items()}
        for key in keys:
            self._found[key] = held[key]
            self._found.move_to_end(key)
        while len(self._found) > self._capacity:
            self._found.popitem(last=False)
        return [held[key] for key in keys]


def _digest(image: Pixels) -> str:
    return hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).hexdigest()
