"""Values from any layout of TIFF: 8 to 64 bits, packed bits, floats, signed, planes, tiles, many bands.

Pillow opens the layouts that it has a mode for. The others are handed to the same libtiff as if they were gray pictures
of 8 bits whose width is the row's length in bytes; so every compression that Pillow's libtiff knows is undone there,
and only predictors, byte order and packed bits are left for numpy.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import TiffImagePlugin

from reason_iad.errors import ImageError
from reason_iad.images.deep import DeepImage
from reason_iad.images.limits import ImageLimits

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS = 256, 257, 258, 259, 262, 266, 277, 278
STRIPS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 273, 279, 322, 323, 324, 325
PLANES, PREDICTOR, EXTRA, FORMAT, SUBFILE, ORIENTATION, DNG, PROFILE = 284, 317, 338, 339, 254, 274, 50706, 34675
UNSIGNED, SIGNED, FLOAT, VOID = 1, 2, 3, 4
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
LARGE = b"MM\0+"  # a BigTIFF whose byte order Pillow overlooks
BYTE_WISE = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
COLORS_OF_CAMERAS = {32803: "a raw mosaic of color filters", 34892: "raw values of a camera"}


@dataclass(frozen=True)
class Layout:
    """How a TIFF's first picture is stored."""

    order: str  # < or >, as numpy writes byte orders
    width: int
    height: int
    bits: tuple[int, ...]  # of each band
    kind: int  # unsigned, signed, float
    photometric: int
    compression: int
    predictor: int
    separate: bool  # each band in a plane of its own
    tile_hw: tuple[int, int] | None
    rows: int  # of a strip
    fill_order: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    extra: tuple[int, ...]  # meaning of the bands behind the color: 1 or 2 is alpha
    orientation: int
    large: bool
    more: bool  # further pages follow
    larger: tuple[int, int] | None  # width and height of the second page, where that is larger
    profile: bytes | None  # of its colors

    @property
    def bands(self) -> int:
        """How many values a pixel has."""
        return len(self.bits)

    @property
    def pillow_reads(self) -> bool:
        """Whether Pillow's own reading loses nothing: up to 8 bits of gray, color, palette, or a JPEG inside."""
        if self.photometric not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB):
            return True
        if self.large:
            return False
        eight = max(self.bits) <= 8 and self.kind in (UNSIGNED, VOID)
        if self.compression not in BYTE_WISE:
            return True
        return eight and (self.bands == 1 or (self.photometric == RGB and self.bands == 3 and not self.separate))


def read_layout(data: bytes, label: str) -> Layout:
    """Read the tags of a TIFF's first picture.

    Raises:
        ImageError: it holds no picture that can be inspected.
        ValueError, KeyError, TypeError, struct.error, SyntaxError: it is damaged.
    """
    stream = io.BytesIO(data)
    tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if data[2:3] == b"+" else 8))
    if data[:4] == LARGE:
        tags._bigtiff, tags.next = True, struct.unpack_from(">Q", data, 8)[0]
    stream.seek(tags.next)
    tags.load(stream)
    if DNG in tags or tags.get(PHOTOMETRIC) in COLORS_OF_CAMERAS:
        what = COLORS_OF_CAMERAS.get(_number(tags, PHOTOMETRIC, 0), "a camera's raw file (DNG)")
        raise ImageError(f"{label} holds {what}, which is not read here; expected a developed picture: export it")
    if _number(tags, SUBFILE, 0) & 1:
        raise ImageError(
            f"{label} begins with a small preview, as raw files of cameras do; expected one picture: export it as TIFF"
        )
    samples = _number(tags, SAMPLES, 1)
    if not 1 <= samples <= 4096:
        raise ValueError(f"{samples} values a pixel")
    bits = tuple(int(one) for one in tags.get(BITS, (1,)))
    bits = bits * samples if len(bits) == 1 else bits[:samples]
    kinds = set(tags.get(FORMAT, (1,)))
    tiled = TILES in tags
    tile_hw = (_number(tags, TILE_HEIGHT, 0), _number(tags, TILE_WIDTH, 0)) if tiled else None
    height = _number(tags, HEIGHT, 0)
    return Layout(
        "<" if data[:1] == b"I" else ">",
        _number(tags, WIDTH, 0),
        height,
        bits if len(bits) == samples else (*bits, *[bits[-1]] * (samples - len(bits))),
        int(kinds.pop()) if len(kinds) == 1 else 0,
        _number(tags, PHOTOMETRIC, 0),
        _number(tags, COMPRESSION, 1),
        _number(tags, PREDICTOR, 1),
        _number(tags, PLANES, 1) == 2 and samples > 1,
        tile_hw,
        max(1, min(_number(tags, ROWS, height), height)),
        _number(tags, FILL_ORDER, 1),
        tuple(int(one) for one in tags[TILES if tiled else STRIPS]),
        tuple(int(one) for one in tags.get(TILE_BYTES if tiled else STRIP_BYTES, ())),
        tuple(int(one) for one in tags.get(EXTRA, ())),
        _number(tags, ORIENTATION, 1),
        data[:4] == LARGE,
        bool(tags.next),
        _larger_page(stream, tags),
        tags.get(PROFILE) if isinstance(tags.get(PROFILE), bytes) else None,
    )


def _larger_page(stream: io.BytesIO, first: Any) -> tuple[int, int] | None:
    """Size of the second page where it has more pixels: then the first is perhaps a preview that nobody named so."""
    if not first.next:
        return None
    head = stream.getvalue()[: 16 if first._bigtiff else 8]
    second = TiffImagePlugin.ImageFileDirectory_v2(head)
    second._bigtiff = first._bigtiff
    stream.seek(first.next)
    try:
        second.load(stream)
        size = _number(second, WIDTH, 0), _number(second, HEIGHT, 0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error, SyntaxError):  # it is not read anyway
        return None
    return size if size[0] * size[1] > _number(first, WIDTH, 0) * _number(first, HEIGHT, 0) else None


def deep_tiff(data: bytes, layout: Layout, label: str, limits: ImageLimits) -> DeepImage:
    """Values of a TIFF that Pillow does not read, or not wholly.

    Raises:
        ImageError: its layout is not read here.
    """
    if layout.compression not in BYTE_WISE:
        raise _refusal(label, f"a compression (number {layout.compression}) of {layout.bands} bands")
    if len(set(layout.bits)) > 1 or not layout.kind:
        raise _refusal(label, f"bands of {', '.join(str(one) for one in layout.bits[:8])} bits and mixed kinds")
    kind = UNSIGNED if layout.kind == VOID else layout.kind
    bits = layout.bits[0]
    if kind not in (UNSIGNED, SIGNED, FLOAT) or not _has_type(kind, bits):
        raise _refusal(label, f"values of {bits} bits of kind {layout.kind}")
    room = layout.width * layout.height * layout.bands * max(1, bits // 8)
    if room > limits.max_values:
        raise ImageError(
            f"{label} is too large: {layout.bands} bands of {bits} bits are {room / 2**20:,.0f} MiB; at most "
            f"{limits.max_values / 2**20:,.0f} are accepted: crop it, or export fewer bands"
        )
    if layout.separate:
        wanted = range(min(layout.bands, 4))
        values = np.concatenate([_plane(data, layout, index, 1) for index in wanted], axis=2)
    else:
        values = _plane(data, layout, 0, layout.bands)
    return _meaning(values, layout, label)


def _meaning(values: npt.NDArray[Any], layout: Layout, label: str) -> DeepImage:
    """Tell picture, transparency and further bands apart."""
    notes: list[str] = []
    gray = layout.photometric != RGB
    color = 1 if gray and layout.bands - len(layout.extra) < 3 and layout.bands < 3 else 3
    if layout.bands < color:
        raise _refusal(label, f"color of {layout.bands} bands")
    if gray and color == 3:
        notes.append(
            f"{label} has {layout.bands} bands and does not say what they are; the first three were read as red, "
            "green and blue"
        )
    alpha = None
    if layout.bands == color + 1 and layout.extra[:1] in ((1,), (2,)):
        alpha = _upper_byte(values[..., color], layout)
    elif layout.bands > color and not (gray and color == 3):
        notes.append(
            f"{label} has {layout.bands} bands; those behind the first {'one' if color == 1 else 'three'} are no "
            "transparency (near infrared, say) and were left out"
        )
    # MaxSampleValue is no statement of the depth: the standard makes it a statistic of this very picture.
    stated = layout.bits[0] if layout.kind in (UNSIGNED, VOID) and layout.bits[0] < 16 else None
    return DeepImage(
        np.ascontiguousarray(values[..., :color]), stated, layout.photometric == MIN_IS_WHITE, alpha, notes,
        None if layout.photometric == MIN_IS_WHITE else layout.profile,
    )  # fmt: skip


def _plane(data: bytes, layout: Layout, index: int, bands: int) -> npt.NDArray[Any]:
    """Values (H, W, bands) of one plane."""
    tile_h, tile_w = layout.tile_hw or (layout.rows, layout.width)
    if tile_h < 1 or tile_w < 1 or tile_w > 8 * layout.width + 4096 or tile_h > 8 * layout.height + 4096:
        raise ValueError(f"tiles of {tile_w} x {tile_h}")
    across, down = -(-layout.width // tile_w), -(-layout.height // tile_h)
    each = across * down
    if len(layout.offsets) < each * (index + 1):
        raise ValueError(f"{len(layout.offsets)} parts of {each * (index + 1)}")
    row = -(-tile_w * bands * layout.bits[0] // 8)  # bytes of a row of a part
    parts = [_part(data, layout, number) for number in range(index * each, (index + 1) * each)]
    if layout.compression == 1:
        rows = _join(parts, row, across, tile_h, layout)
    else:
        rows = _undo(parts, row, across, tile_h, layout)
    return _values(rows, bands, tile_w, layout)[: layout.height, : layout.width]


def _part(data: bytes, layout: Layout, number: int) -> bytes:
    start = layout.offsets[number]
    size = layout.counts[number] if number < len(layout.counts) else len(data) - start
    if start + size > len(data):
        raise ValueError(f"{len(data) - start} bytes of {size} in part {number + 1}")
    return data[start : start + size]


def _join(parts: Sequence[bytes], row: int, across: int, tile_h: int, layout: Layout) -> npt.NDArray[np.uint8]:
    """Rows (H, across, bytes) of parts that are not compressed."""
    rows = np.zeros((layout.height, across, row), np.uint8)
    for number, part in enumerate(parts):
        top, column = number // across * tile_h, number % across
        here = min(tile_h, layout.height - top)
        rows[top : top + here, column] = np.frombuffer(part, np.uint8, here * row).reshape(here, row)
    if layout.fill_order == 2:
        rows = np.packbits(np.unpackbits(rows, axis=-1, bitorder="little"), axis=-1)
    return rows


def _undo(parts: Sequence[bytes], row: int, across: int, tile_h: int, layout: Layout) -> npt.NDArray[np.uint8]:
    """Rows (H, across, bytes) of compressed parts: decoded by libtiff as a gray picture of 8 bits."""
    tags: dict[int, Sequence[int]] = {
        WIDTH: [row * across], HEIGHT: [layout.height], BITS: [8], COMPRESSION: [layout.compression],
        PHOTOMETRIC: [MIN_IS_BLACK], FILL_ORDER: [layout.fill_order], SAMPLES: [1],
    }  # fmt: skip
    starts = np.cumsum([8, *(len(part) for part in parts)])[:-1].tolist()
    sizes = [len(part) for part in parts]
    if layout.tile_hw is None:
        tags |= {ROWS: [tile_h], STRIPS: starts, STRIP_BYTES: sizes}
    else:
        tags |= {TILE_WIDTH: [row], TILE_HEIGHT: [tile_h], TILES: starts, TILE_BYTES: sizes}
    plain = _write_tiff(tags, b"".join(parts))
    # The constructor, unlike Image.open, has no limit of its own; sizes were checked against ours.
    with TiffImagePlugin.TiffImageFile(io.BytesIO(plain)) as image:
        return np.asarray(image).reshape(layout.height, across, row)


def _write_tiff(tags: dict[int, Sequence[int]], body: bytes) -> bytes:
    """A TIFF of one picture: header, `body`, tags."""
    start = 8 + len(body)
    after = start + 2 + 12 * len(tags) + 4
    entries, further = [], b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        place = packed if len(numbers) == 1 else struct.pack("<I", after + len(further))
        further += packed if len(numbers) > 1 else b""
        entries.append(struct.pack("<HHI", tag, 4, len(numbers)) + place)
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + body + struct.pack("<H", len(tags)) + b"".join(entries) + b"\0\0\0\0" + further


def _values(rows: npt.NDArray[np.uint8], bands: int, tile_w: int, layout: Layout) -> npt.NDArray[Any]:
    """Values (H, across * tile_w, bands) of rows (H, across, bytes), with the predictor undone."""
    bits, kind = layout.bits[0], UNSIGNED if layout.kind == VOID else layout.kind
    height, across, _ = rows.shape
    if bits not in (8, 16, 32, 64):
        values = _unpack(rows, tile_w * bands, bits)
        return values.reshape(height, across * tile_w, bands)
    size = bits // 8
    rows = rows[..., : tile_w * bands * size]
    letter = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[kind]
    if layout.predictor == 3 and kind == FLOAT:
        rows = np.ascontiguousarray(rows).reshape(height, across, -1, bands)
        rows = np.cumsum(rows, axis=2, dtype=np.uint8).reshape(height, across, size, tile_w * bands)
        values = np.ascontiguousarray(rows.swapaxes(2, 3)).view(f">f{size}")
    else:
        values = np.ascontiguousarray(rows).view(f"{layout.order}{letter}{size}")
    values = values.reshape(height, across, tile_w, bands)
    if layout.predictor == 2 and kind != FLOAT:
        values = np.cumsum(values, axis=2, dtype=f"{letter}{size}")
    return values.reshape(height, across * tile_w, bands).astype(f"{letter}{size}", copy=False)


def _unpack(rows: npt.NDArray[np.uint8], count: int, bits: int) -> npt.NDArray[np.uint16]:
    """Values (H, across, count) of `bits` bits each, packed with the highest bit first."""
    values = np.zeros((*rows.shape[:2], count), np.uint16)
    for start in range(0, len(rows), 64):  # one byte for each bit, so not all at once
        single = np.unpackbits(rows[start : start + 64], axis=-1)[..., : count * bits]
        single = single.reshape(*single.shape[:2], count, bits)
        for place in range(bits):
            values[start : start + 64] |= single[..., place].astype(np.uint16) << (bits - 1 - place)
    return values


def _upper_byte(values: npt.NDArray[Any], layout: Layout) -> npt.NDArray[np.uint8]:
    if values.dtype.kind == "f":
        return np.asarray(np.clip(np.nan_to_num(values), 0, 1) * 255, np.uint8)
    bits = layout.bits[0]
    return np.asarray(values >> bits - 8 if bits > 8 else values << 8 - bits, np.uint8)


def _has_type(kind: int, bits: int) -> bool:
    if kind == FLOAT:
        return bits in (16, 32, 64)
    return bits in (8, 16, 32, 64) or (kind == UNSIGNED and 1 <= bits < 16)


def _number(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _refusal(label: str, found: str) -> ImageError:
    return ImageError(
        f"{label} is a TIFF with {found}, which is not read here; expected gray or RGB of 8 or 16 bits: export it so"
    )
