"""Image processors with Pillow for families whose own in transformers needs torchvision.

Settings, outputs and geometry are those of transformers' class of the same family (`docs/models.md` says how both were
compared); pictures are resized by Pillow, so the last bits of a pixel differ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

Channels = npt.NDArray[Any]  # (C, H, W)


class Lfm2VlSettings(ImagesKwargs, total=False):  # type: ignore[misc, call-arg, unused-ignore]
    """What a release says beyond the settings of every image processor."""

    downsample_factor: int
    do_image_splitting: bool
    min_tiles: int
    max_tiles: int
    use_thumbnail: bool
    min_image_tokens: int
    max_image_tokens: int
    encoder_patch_size: int
    tile_size: int
    max_pixels_tolerance: float
    return_row_col_info: bool


class Lfm2VlImageProcessorPil(PilBackend):  # type: ignore[misc, unused-ignore]
    """LFM2-VL: a small image alone, a large one as tiles and a thumbnail, each cut into patches and padded."""

    valid_kwargs = Lfm2VlSettings
    model_input_names = ["pixel_values", "pixel_attention_mask", "spatial_shapes"]  # noqa: RUF012 - as its base has it
    resample = PILImageResampling.BILINEAR
    image_mean, image_std = IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD
    do_resize = do_rescale = do_normalize = do_pad = do_convert_rgb = True
    size = {"height": 512, "width": 512}  # noqa: RUF012 - as its base has it
    downsample_factor, encoder_patch_size, tile_size = 2, 16, 512
    do_image_splitting = use_thumbnail = True
    min_tiles, max_tiles = 2, 10
    min_image_tokens, max_image_tokens, max_pixels_tolerance = 64, 256, 2.0
    return_row_col_info = False

    def _preprocess(self, images: list[Channels], **settings: Any) -> BatchFeature:
        grids: list[tuple[int, int]] = []
        sizes: list[list[int]] = []
        parts: list[Channels] = []
        for image in images:
            height, width = image.shape[1:]
            size = fitted_size((height, width), settings)
            grid = (1, 1)
            if settings["do_image_splitting"] and is_large((height, width), settings):
                grid = tile_grid((height, width), settings)
                parts += [] if grid == (1, 1) else self._tiles(image, grid, settings)
            if grid == (1, 1) or settings["use_thumbnail"]:
                parts.append(self._resized(image, size, settings))
            grids.append(grid)
            sizes.append(list(size))
        patches = [_patches(self._scaled(part, settings), settings["encoder_patch_size"]) for part in parts]
        data: dict[str, Any] = _padded(patches, _longest(settings))
        data["spatial_shapes"] = np.array([[n // settings["encoder_patch_size"] for n in p.shape[1:]] for p in parts])
        if settings["return_row_col_info"]:
            rows, columns = zip(*grids, strict=True)
            data |= {"image_rows": list(rows), "image_cols": list(columns), "image_sizes": sizes}
        return BatchFeature(data, tensor_type=settings.get("return_tensors"))

    def _resized(self, image: Channels, size: tuple[int, int], settings: dict[str, Any]) -> Channels:
        resized: Channels = self.resize(image, SizeDict(height=size[0], width=size[1]), resample=settings["resample"])
        return resized

    def _tiles(self, image: Channels, grid: tuple[int, int], settings: dict[str, Any]) -> list[Channels]:
        """The image stretched over a grid of tiles, in reading order."""
        side, (rows, columns) = settings["tile_size"], grid
        whole = self._resized(image, (rows * side, columns * side), settings)
        split = whole.reshape(whole.shape[0], rows, side, columns, side).transpose(1, 3, 0, 2, 4)
        return list(split.reshape(rows * columns, whole.shape[0], side, side))

    def _scaled(self, image: Channels, settings: dict[str, Any]) -> Channels:
        if settings["do_rescale"]:
            image = self.rescale(image, settings["rescale_factor"])
        if settings["do_normalize"]:
            image = self.normalize(image, settings["image_mean"], settings["image_std"])
        return image


def fitted_size(image_hw: tuple[int, int], settings: dict[str, Any]) -> tuple[int, int]:
    """Height and width that an image is resized to alone: whole tokens, their number within bounds, the aspect kept."""
    step = settings["encoder_patch_size"] * settings["downsample_factor"]
    least, most = settings["min_image_tokens"] * step * step, settings["max_image_tokens"] * step * step
    height, width = (max(step, round(length / step) * step) for length in image_hw)
    area = image_hw[0] * image_hw[1]
    if height * width > most:
        shrink = math.sqrt(area / most)
        height, width = (max(step, math.floor(length / shrink / step) * step) for length in image_hw)
    elif height * width < least:
        grow = math.sqrt(least / area)
        height, width = (math.ceil(length * grow / step) * step for length in image_hw)
    return height, width


def is_large(image_hw: tuple[int, int], settings: dict[str, Any]) -> bool:
    """Whether an image is cut into tiles: its tokens exceed the most of one by the tolerance."""
    patch = settings["encoder_patch_size"]
    step = patch * settings["downsample_factor"]
    height, width = (max(patch, round(length / step) * step) for length in image_hw)
    most = settings["max_image_tokens"] * step * step * settings["max_pixels_tolerance"]
    return bool(height * width > most)


def tile_grid(image_hw: tuple[int, int], settings: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of tiles whose aspect is nearest; of equally near ones the most that the image half fills."""
    height, width = image_hw
    least, most = settings["min_tiles"], settings["max_tiles"]
    grids = [(rows, columns) for columns in range(1, most + 1) for rows in range(1, most + 1)]
    grids = sorted((grid for grid in grids if least <= math.prod(grid) <= most), key=math.prod)
    best, nearest = (1, 1), math.inf
    for rows, columns in grids:
        distance = abs(width / height - columns / rows)
        fills = height * width > 0.5 * settings["tile_size"] ** 2 * rows * columns
        if distance < nearest or (distance == nearest and fills):
            best, nearest = (rows, columns), distance
    return best


def _longest(settings: dict[str, Any]) -> int:
    """Patches that every part is padded to."""
    alone = settings["max_image_tokens"] * settings["downsample_factor"] ** 2
    tile = (settings["tile_size"] // settings["encoder_patch_size"]) ** 2
    return max(alone, tile) if settings["do_image_splitting"] else int(alone)


def _patches(image: Channels, patch: int) -> Channels:
    """(C, H, W) to patches in reading order, each row, column, channel: (N, patch * patch * C)."""
    channels, height, width = image.shape
    split = image.reshape(channels, height // patch, patch, width // patch, patch)
    return split.transpose(1, 3, 2, 4, 0).reshape(-1, patch * patch * channels)


def _padded(parts: list[Channels], longest: int) -> dict[str, Any]:
    """Patches of every part with zeros behind them, and which of them are real."""
    longest = max(longest, *(part.shape[0] for part in parts))  # of a very narrow image
    values = np.zeros((len(parts), longest, parts[0].shape[1]), dtype=np.float32)
    mask = np.zeros((len(parts), longest), dtype=np.int32)
    for index, part in enumerate(parts):
        values[index, : part.shape[0]], mask[index, : part.shape[0]] = part, 1
    return {"pixel_values": values, "pixel_attention_mask": mask}
