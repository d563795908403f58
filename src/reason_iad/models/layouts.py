"""How the visual tokens of one image lie on it: a small function a family, for what a table cannot say.

Every plan is a grid that covers the whole image linearly, so that patch (row, column) is a rectangle of the image.
Axes: V visual tokens in the order in which the model emits them, P patches of the grid, row-major.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.images import Pixels, resize


@dataclass(frozen=True, eq=False)
class Encoded:
    """What image processor and vision tower made of one image."""

    tokens: Tensor  # (V, D)
    inputs: Mapping[str, Any]  # what the image processor returned
    image_hw: tuple[int, int]
    processor: Any
    config: Any  # of the whole model


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the visual tokens of one image stand."""

    grid_hw: tuple[int, int]
    breaks: tuple[tuple[int, str], ...] = ()  # texts, each with the visual token that it stands before
    patches: Tensor | None = None  # (P,) visual token of each patch; all in order where None


Layout = Callable[[Encoded, tuple[str, ...]], Plan]


def merged_grid(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """Qwen-VL: one grid of any shape, `merge_size` squared cells to a token."""
    _, height, width = (int(n) for n in image.inputs["image_grid_thw"][0])
    merge = int(image.config.vision_config.spatial_merge_size)
    return Plan((height // merge, width // merge), _around(image, marks))


def pooled_grid(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """Gemma 4: one grid of any shape, its places listed by the processor, pooled cell by cell."""
    columns, rows = (int(n) + 1 for n in torch.as_tensor(image.inputs["image_position_ids"])[0].max(dim=0).values)
    pool = int(image.processor.pooling_kernel_size)
    return Plan((rows // pool, columns // pool), _around(image, marks))


def square(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """Gemma 3 and PaliGemma: the image stretched to one square of tokens."""
    side = math.isqrt(image.tokens.shape[0])
    return Plan((side, side), _around(image, marks))


def letterboxed(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """LLaVA-1.5: the image in the middle of one square, on whole cells; the padding is no patch."""
    side = math.isqrt(image.tokens.shape[0])
    rows, columns = cells_of(image.image_hw, side)
    top, left = (side - rows) // 2, (side - columns) // 2
    places = torch.arange(side * side).view(side, side)[top : top + rows, left : left + columns]
    return Plan((rows, columns), _around(image, marks), places.flatten())


def tiles_and_thumbnail(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """InternVL: tiles in reading order, then a thumbnail of the whole where there are several; a square each."""
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

    count = int(image.inputs["num_patches"][0])
    side = math.isqrt(image.tokens.shape[0] // count)
    size, processor = image.processor.size, image.processor
    columns, rows = get_optimal_tiled_canvas(
        image.image_hw, (size["height"], size["width"]), processor.min_patches, processor.max_patches
    )
    if rows * columns + (rows * columns > 1) != count:
        raise ModelError(
            f"found {count} tiles of an image {image.image_hw}; expected {rows} x {columns} and a thumbnail"
        )
    return Plan((rows * side, columns * side), _around(image, marks), _join_tiles(rows, columns, (side, side)))


def tagged_tiles(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """Idefics3 and SmolVLM: tiles, each with a tag of its place, a line end a row, and the whole image last."""
    fence, whole = marks
    rows, columns = int(image.inputs["rows"][0][0]), int(image.inputs["cols"][0][0])
    length = image.tokens.shape[0] // (rows * columns + 1)
    side, end = math.isqrt(length), image.tokens.shape[0]
    if not rows:
        return Plan((side, side), ((0, fence + whole), (end, fence)))
    breaks = []
    for row in range(rows):
        for column in range(columns):
            before = "\n" if row and not column else ""
            tag = f"{before}{fence}<row_{row + 1}_col_{column + 1}>"
            breaks.append(((row * columns + column) * length, tag))
    breaks += [(end - length, f"\n\n{fence}{whole}"), (end, fence)]
    return Plan((rows * side, columns * side), tuple(breaks), _join_tiles(rows, columns, (side, side)))


def anyres(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """LLaVA-OneVision, Granite: the image in one square, then its tiles joined and unpadded, a newline token a row."""
    side = square_side(image.config)
    rest = image.tokens.shape[0] - side * side
    rows, columns = unpadded_grid(image.image_hw, image.config, side)
    if rest != rows * (columns + 1):
        raise ModelError(
            f"found {rest} visual tokens of the tiles; expected {rows} rows of {columns} and a newline each"
        )
    places = side * side + torch.arange(rest).view(rows, columns + 1)[:, :columns]
    return Plan((rows, columns), _around(image, marks), places.flatten())


def numbered_tiles(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """LFM2-VL: tiles, each behind a tag of its place, then a thumbnail of the whole; a small image alone."""
    begin, thumbnail, end = marks
    rows, columns = int(image.inputs["image_rows"][0]), int(image.inputs["image_cols"][0])
    step = image.processor.encoder_patch_size * image.config.downsample_factor
    count, side = image.tokens.shape[0], image.processor.tile_size // step
    if rows * columns == 1:
        height, width = (int(n) for n in image.inputs["image_sizes"][0])
        return Plan((height // step, width // step), ((0, begin), (count, end)))
    breaks = []
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        breaks.append((index * side * side, f"{'' if index else begin}<|img_row_{row + 1}_col_{column + 1}|>"))
    last = rows * columns * side * side
    breaks += [(last, thumbnail), (count, end)] if count > last else [(count, end)]
    return Plan((rows * side, columns * side), tuple(breaks), _join_tiles(rows, columns, (side, side)))


def whole_and_slices(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """MiniCPM-V: the whole image, then slices of one size, each between marks, a line end behind a row."""
    begin, end, first, last = marks
    merge = 2 if image.processor.downsample_mode == "4x" else 4
    sizes = [(int(height) // merge, int(width) // merge) for height, width in image.inputs["target_sizes"]]
    whole = sizes[0][0] * sizes[0][1]
    rows, columns = (int(n) for n in image.inputs["grids"][0])
    if not rows:
        return Plan(sizes[0], ((0, begin), (whole, end)))
    height, width = sizes[1]
    each, breaks = height * width, [(0, begin), (whole, end + first)]
    for index in range(1, rows * columns):
        line = "" if index % columns else "\n"
        breaks.append((whole + index * each, last + line + first))
    breaks.append((whole + rows * columns * each, last))
    places = whole + _join_tiles(rows, columns, sizes[1])
    return Plan((rows * height, columns * width), tuple(breaks), places)


def broken_rows(image: Encoded, marks: tuple[str, ...]) -> Plan:
    """Mistral 3: one grid of any shape, a break behind every row but the last and an end behind that."""
    line_break, end = marks
    step = image.config.vision_config.patch_size * image.config.spatial_merge_size
    rows, columns = (int(n) // step for n in image.inputs["image_sizes"][0])
    breaks = [(row * columns, line_break) for row in range(1, rows)]
    return Plan((rows, columns), (*breaks, (rows * columns, end)))


def cells_of(image_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Rows and columns of a square of `side` cells that an image fills with its aspect kept, in whole cells.

    >>> cells_of((480, 640), 24), cells_of((300, 30), 24)
    ((18, 24), (24, 2))
    """
    longest = max(image_hw)
    rows, columns = (max(1, round(side * length / longest)) for length in image_hw)
    return rows, columns


def letterbox(pixels: Pixels, processor: Any, config: Any) -> Pixels:
    """The image in the middle of a square of the processor's mean color, on whole cells: nothing is cropped away.

    LLaVA-1.5 was trained so; transformers' image processor would cut the longer side off.
    """
    patch = int(config.vision_config.patch_size)
    side = int(config.vision_config.image_size) // patch
    rows, columns = cells_of((pixels.shape[0], pixels.shape[1]), side)
    fill = np.round(np.asarray(processor.image_mean) * 255).astype(np.uint8)
    canvas = np.broadcast_to(fill, (side * patch, side * patch, 3)).copy()
    top, left = (side - rows) // 2 * patch, (side - columns) // 2 * patch
    canvas[top : top + rows * patch, left : left + columns * patch] = resize(pixels, (rows * patch, columns * patch))
    return canvas


def square_side(config: Any) -> int:
    """Tokens a side of one tile, behind what a release takes together."""
    side = int(config.vision_config.image_size) // int(config.vision_config.patch_size)
    return int(side * Fraction(getattr(config, "downsample_rate", None) or 1))


def unpadded_grid(image_hw: tuple[int, int], config: Any, side: int) -> tuple[int, int]:
    """Rows and columns that are kept of joined tiles, in the steps of transformers' own code."""
    from transformers.image_processing_utils import select_best_resolution

    size = config.vision_config.image_size
    best = select_best_resolution(list(image_hw), config.image_grid_pinpoints)
    rows, columns = (length // size * side for length in best)
    height, width = image_hw
    if width / height > columns / rows:
        kept = int(round(height * (columns / width), 7))
        rows -= (rows - kept) // 2 * 2
    else:
        kept = int(round(width * (rows / height), 7))
        columns -= (columns - kept) // 2 * 2
    if not hasattr(config, "vision_aspect_ratio"):
        return rows, columns
    limit = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
    ratio = math.sqrt(rows * columns / (limit * side**2))
    return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)


def _around(image: Encoded, marks: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    if not marks:
        return ()
    before, after = marks
    return ((0, before), (image.tokens.shape[0], after))


def _join_tiles(rows: int, columns: int, tile_hw: tuple[int, int]) -> Tensor:
    """Tokens of tiles in reading order, each row-major, to one grid: (rows * height * columns * width,)."""
    height, width = tile_hw
    places = torch.arange(rows * columns * height * width).view(rows, columns, height, width)
    return places.permute(0, 2, 1, 3).flatten()
