"""Bounding the visual tokens of an image: a small function a family, applied once when a model is loaded.

Each sets what the family's own image processor reads, so that its own code does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.models.layouts import square_side

Limit = Callable[[Any, Any, int], None]  # image processor, config of the model, most visual tokens an image


def limit_area(processor: Any, config: Any, tokens: int) -> None:
    """Qwen-VL: the area of the resized image."""
    step = int(config.vision_config.patch_size * config.vision_config.spatial_merge_size)
    least = min(int(processor.size["shortest_edge"]), tokens * step * step)
    processor.size = {"shortest_edge": least, "longest_edge": tokens * step * step}


def limit_side(processor: Any, config: Any, tokens: int) -> None:
    """Mistral 3: the longer side of the resized image."""
    step = int(config.vision_config.patch_size * config.spatial_merge_size)
    processor.size = {"longest_edge": min(int(processor.size["longest_edge"]), math.isqrt(tokens) * step)}


def limit_tiles(processor: Any, config: Any, tokens: int) -> None:
    """InternVL: the number of tiles, the thumbnail counted."""
    each = int(config.image_seq_length)
    _at_least(tokens, each)
    most = tokens // each
    processor.max_patches = min(int(processor.max_patches), 1 if most < 3 else most - 1)


def limit_splits(processor: Any, config: Any, tokens: int) -> None:
    """Idefics3 and SmolVLM: how many tiles a side, the whole image counted."""
    side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
    _at_least(tokens, side * side)
    splits = max(1, math.isqrt(tokens // (side * side) - 1))
    tile = int(processor.max_image_size["longest_edge"])
    processor.size = {"longest_edge": min(int(processor.size["longest_edge"]), splits * tile)}


def limit_pinpoints(processor: Any, config: Any, tokens: int) -> None:
    """LLaVA-OneVision and Granite: the canvases that tiles may fill."""
    size = int(config.vision_config.image_size)
    side = square_side(config)
    kept = [
        (height, width)
        for height, width in config.image_grid_pinpoints
        if side * side + height // size * side * (width // size * side + 1) <= tokens
    ]
    if not kept:
        _at_least(tokens, side * side + side * (side + 1))
    processor.image_grid_pinpoints = config.image_grid_pinpoints = [list(pair) for pair in kept]


def limit_numbered_tiles(processor: Any, config: Any, tokens: int) -> None:
    """LFM2-VL: the number of tiles, the thumbnail counted; below two tiles the size of the image alone."""
    _at_least(tokens, int(processor.min_image_tokens))
    each = (int(processor.tile_size) // int(processor.encoder_patch_size) // int(config.downsample_factor)) ** 2
    most = (tokens - int(processor.max_image_tokens)) // each
    if most >= int(processor.min_tiles):
        processor.max_tiles = min(int(processor.max_tiles), most)
    else:
        processor.do_image_splitting = False
        processor.max_image_tokens = min(int(processor.max_image_tokens), tokens)


def limit_slices(processor: Any, config: Any, tokens: int) -> None:
    """MiniCPM-V: the number of slices; sides are rounded to whole tokens, so each may take a few more than a square."""
    side = (
        int(processor.scale_resolution) // int(processor.patch_size) // (2 if processor.downsample_mode == "4x" else 4)
    )
    each = side * (side + 2)
    _at_least(tokens, each)
    processor.max_slice_nums = min(int(processor.max_slice_nums), max(1, tokens // each - 1))


def limit_soft(processor: Any, config: Any, tokens: int) -> None:
    """Gemma 4: one of a few numbers that it was trained with."""
    from transformers.models.gemma4.image_processing_pil_gemma4 import _SUPPORTED_SOFT_TOKENS

    _at_least(tokens, min(_SUPPORTED_SOFT_TOKENS))
    most = max(count for count in _SUPPORTED_SOFT_TOKENS if count <= tokens)
    processor.max_soft_tokens = min(int(processor.max_soft_tokens), most)


def fixed(processor: Any, config: Any, tokens: int) -> None:
    """LLaVA-1.5 and Gemma 3: the number cannot be chosen, so a smaller one is refused."""
    count = getattr(config, "mm_tokens_per_image", None)
    if count is None:
        count = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    _at_least(tokens, int(count))


def _at_least(tokens: int, least: int) -> None:
    if tokens < least:
        raise ModelError(
            f"found --max-image-tokens {tokens}; this model reads an image as {least} tokens or more: give {least}"
        )
