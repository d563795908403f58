"""Damaged files of every format end in pixels or in an `ImageError`, within a bounded time.

`REASON_IAD_MUTANTS=10000 pytest -s tests/images/test_fuzz.py` is the long form; it prints what came of the mutants, the
slowest one, and the peak memory of the process.
"""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from reason_iad.errors import ImageError
from reason_iad.images import read_image
from reason_iad.images.limits import ImageLimits

MUTANTS = int(os.environ.get("REASON_IAD_MUTANTS", "600"))
SLOWEST = 20.0  # seconds
SIZES = ImageLimits(max_pixels=4_000_000, max_values=64 * 2**20)


def seeds() -> dict[str, bytes]:
    """A small file of every format and of the layouts that have readers of their own."""
    rng = np.random.default_rng(0)
    color = (rng.integers(0, 60, (40, 48, 3)) + np.arange(48)[None, :, None] * 3).astype(np.uint8)
    deep = color.astype(np.uint16) * 16
    rgba = np.dstack([color, np.where(np.arange(48) > 20, 255, 0)[None].repeat(40, 0)]).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def pillow(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(buffer, kind, **options)
        return buffer.getvalue()

    def tiff(pixels: np.ndarray, **options: Any) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        return buffer.getvalue()

    frames = [Image.fromarray(color), Image.fromarray(color[::-1])]

    def film(kind: str) -> bytes:
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        return buffer.getvalue()

    return {
        "jpeg": pillow(color, "JPEG", exif=_turned()),
        "jpeg progressive": pillow(color, "JPEG", progressive=True, icc_profile=profile),
        "jpeg cmyk": pillow(color, "JPEG", "CMYK"),
        "mpo": film("MPO"),
        "png": pillow(rgba, "PNG", icc_profile=profile),
        "png palette": pillow(color, "PNG", "P"),
        "png 16": pillow(deep[..., 0], "PNG"),
        "apng": film("PNG"),
        "bmp": pillow(color, "BMP"),
        "bmp 32": pillow(rgba, "BMP"),
        "gif": film("GIF"),
        "webp": pillow(rgba, "WEBP"),
        "webp film": film("WEBP"),
        "ppm": pillow(color, "PPM"),
        "pgm 16": b"P5 48 40 4095\n" + deep[..., 0].astype(">u2").tobytes(),
        "pfm": b"PF\n48 40\n-1\n" + (color / 255).astype("<f4").tobytes(),
        "jp2": pillow(color, "JPEG2000"),
        "avif": pillow(color, "AVIF"),
        "tiff": pillow(color, "TIFF"),
        "tiff lzw": pillow(color, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": pillow(color, "TIFF", compression="jpeg"),
        "tiff 16": tiff(deep, photometric="rgb", compression="zlib"),
        "tiff tiles": tiff(deep, photometric="rgb", tile=(16, 16), planarconfig="contig"),
        "tiff planes": tiff(np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate", bigtiff=True),
        "tiff float": tiff((color / 255).astype(np.float32), photometric="rgb", byteorder=">"),
        "tiff 16 of a profile": tiff(deep * 16, photometric="rgb", iccprofile=profile),
        "tiff of marks": tiff(np.where(color[..., 0] > 100, -9999, color[..., 0].astype(np.int16))),
        "tiff of two pages": tiff(np.stack([color, color]), photometric="rgb"),
        "jpeg of Adobe RGB": pillow(color, "JPEG", exif=_turned(adobe=True)),
        "png linear": gamma(pillow(color, "PNG")),
        "tiff bands": tiff(np.dstack([deep, deep]), photometric="minisblack", planarconfig="contig"),
    }


def _turned(adobe: bool = False) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    if adobe:
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return exif.tobytes()


def gamma(data: bytes) -> bytes:
    """A PNG that states a gamma of 1, behind its first chunk."""
    body = b"gAMA" + struct.pack(">I", 100_000)
    return data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


SEEDS = seeds()


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _flip_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4))):
        data[rng.randrange(min(len(data), 200))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _zero(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    count = rng.randrange(1, len(data) - start + 1)
    data[start : start + count] = bytes(count)


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, 400)]
    data[start:start] = part * rng.choice((1, 2, 50))


def _number(data: bytearray, rng: random.Random) -> None:
    """Put an extreme number where a size, a count or an offset may stand."""
    start = rng.randrange(max(1, min(len(data), 400) - 8))
    number = rng.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 100_000, 2_000))
    size = rng.choice((2, 4, 8))
    data[start : start + size] = (number & (256**size - 1)).to_bytes(size, rng.choice(("little", "big")))


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(list(SEEDS.values()))
    start = rng.randrange(len(data))
    data[start:] = other[rng.randrange(len(other)) :]


WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip_head, _cut, _zero, _repeat, _number, _splice,
)  # fmt: skip


def outcome(data: bytes) -> str:
    """`read` or the beginning of the refusal; anything else than an ImageError passes through."""
    try:
        loaded = read_image(data, SIZES)
    except ImageError:
        return "refused"
    assert loaded.pixels.dtype == np.uint8
    assert loaded.pixels.shape[2] == 3
    return "read"


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_read(name: str) -> None:
    assert outcome(SEEDS[name]) == "read"


def test_mutants_of_every_format_are_read_or_refused() -> None:
    rng, found, slowest = random.Random(0), Counter[str](), (0.0, "")
    names = list(SEEDS)
    for number in range(MUTANTS):
        name = names[number % len(names)]
        data = bytearray(SEEDS[name])
        ways = rng.choices(WAYS, k=rng.choice((1, 1, 2, 3)))
        for way in ways:
            if data:
                way(data, rng)
        began = time.perf_counter()
        try:
            found[outcome(bytes(data))] += 1
        except Exception as error:
            error.add_note(f"mutant {number} of {name} by {[way.__name__ for way in ways]}")
            raise
        slowest = max(slowest, (time.perf_counter() - began, f"mutant {number} of {name}"))
    assert slowest[0] < SLOWEST, slowest
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{MUTANTS} mutants: {dict(found)}; slowest {slowest[0]:.2f} s ({slowest[1]}); peak {peak:.0f} MiB")


@given(st.sampled_from(sorted(SEEDS)), st.data())
@settings(max_examples=60, deadline=None)
def test_any_change_of_a_few_bytes_is_read_or_refused(name: str, data: st.DataObject) -> None:
    changed = bytearray(SEEDS[name])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(changed) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        changed[place] = value
    outcome(bytes(changed))


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome(data)
