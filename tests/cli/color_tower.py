"""A cheap tower and made parts, for tests of what is learned from good parts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.images import resize


class ColorTower:
    """Patches are described by the mean and the spread of their colors."""

    def efficientnet(self, images, size):
        return {8: self._patches(images, size, 8), 16: self._patches(images, size, 16)}

    def vit(self, images, size, layers):
        return {layer: self._patches(images, size, 14) for layer in layers}

    def _patches(self, images, size, stride):
        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // stride, stride, size // stride, stride, 3)
        return torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)), blocks.mean(dim=(2, 4)) ** 2 + 0.1], dim=-1)


def part(seed, stain=None):
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), (70, 90, 110), dtype=np.float64)
    image[22:45, 30:90] = (190, 180, 160)
    if stain is not None:
        image[62:80, 84:108] = stain
    return Image.fromarray(np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8))


def load_color_tower(device):
    """What a process of several loads."""
    return ColorTower()


NODES = "REASON_IAD_TEST_NODES"  # a folder in which actors leave the names of their machines


class WhereTower(ColorTower):
    """Leaves the name of its machine where the test sees it."""

    def efficientnet(self, images, size):
        import ray

        (Path(os.environ[NODES]) / ray.get_runtime_context().get_node_id()).touch()
        return super().efficientnet(images, size)


def load_where_tower(device):
    return WhereTower()


def load_no_tower(device):
    raise InputError("found no towers; expected some: fetch them")
