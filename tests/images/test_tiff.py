"""Every layout of TIFF, written by tifffile and read by us."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from reason_iad.errors import ImageError
from reason_iad.images import read_image


def slope(bands: int, most: float, kind: str = "uint16") -> np.ndarray:
    """(90, 70, bands), rising to the right and from band to band."""
    values = np.linspace(0, most, 70)[None, :, None] * np.linspace(0.5, 1, bands)[None, None]
    return np.repeat(values, 90, axis=0).astype(kind)


def written(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize(
    "storage",
    [{}, {"compression": "zlib"}, {"tile": (32, 48)}, {"tile": (32, 48), "compression": "zlib"}, {"rowsperstrip": 7},
     {"bigtiff": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("kind", "top"), [("uint16", 4095), ("uint32", 4095), ("float32", 1.0), ("int16", 4095)])
def test_color_of_any_storage_is_read_by_its_values(
    order: str, planes: str, storage: dict[str, Any], kind: str, top: float
) -> None:
    values = slope(3, top, kind)
    stored = values if planes == "contig" else np.moveaxis(values, 2, 0)
    data = written(stored, photometric="rgb", planarconfig=planes, byteorder=order, **storage)
    wanted = (values.astype(float) * 255 / top).round()
    assert np.abs(read_image(data).pixels - wanted).max() <= 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_compressed_gray_is_read_like_plain(compression: str, predictor: int) -> None:
    values = slope(1, 4095)[..., 0]
    buffer = io.BytesIO()
    tags = {317: predictor} if compression != "packbits" else {}
    Image.fromarray(values).save(buffer, "TIFF", compression=compression, tiffinfo=tags)
    np.testing.assert_array_equal(read_image(buffer.getvalue()).pixels, read_image(written(values)).pixels)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_white_stored_as_zero_is_turned_round(kind: str) -> None:
    top = {"uint8": 255, "uint16": 4095, "float32": 1.0}[kind]
    values = slope(1, top, kind)[..., 0]
    plain, inverted = written(values, photometric="minisblack"), written(values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(inverted).pixels, 255 - read_image(plain).pixels)
    assert kind == "uint8" or any("stores white as 0" in note for note in read_image(inverted).notes)


def test_white_stored_as_zero_in_one_bit_is_turned_round() -> None:
    bits = np.zeros((64, 64), bool)
    bits[10:20] = True
    plain, inverted = written(bits, photometric="minisblack"), written(bits, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(inverted).pixels, 255 - read_image(plain).pixels)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("extra", [["unspecified"], None])
def test_near_infrared_is_no_transparency(kind: str, extra: list[str] | None) -> None:
    values = slope(4, 255 if kind == "uint8" else 4095, kind)
    data = written(values, photometric="rgb", extrasamples=extra)
    loaded = read_image(data)
    alone = read_image(written(values[..., :3], photometric="rgb"))
    np.testing.assert_array_equal(loaded.pixels, alone.pixels)
    assert any("near infrared" in note for note in loaded.notes)


def test_alpha_of_a_cut_out_is_laid_on_white() -> None:
    values = slope(4, 65535)
    values[..., 3] = 0
    values[20:60, 20:60, 3] = 65535
    loaded = read_image(written(values, photometric="rgb", extrasamples=["unassalpha"]))
    assert (loaded.pixels[:20] == 255).all()
    assert (loaded.pixels[20:60, 20:60, 0] < 255).all()


def test_many_bands_are_said() -> None:
    loaded = read_image(written(slope(6, 4095), photometric="minisblack", planarconfig="contig"))
    assert any("6 bands" in note for note in loaded.notes)


def test_pages_are_said() -> None:
    loaded = read_image(written(np.zeros((3, 40, 40), np.uint16), photometric="minisblack"))
    assert any("pages" in note or "frames" in note for note in loaded.notes)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_small_page_before_a_large_one_is_said(kind: str) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(slope(3, 200, kind)[::2, ::2].copy(), photometric="rgb")
        file.write(slope(3, 200, kind), photometric="rgb")
    assert any("second page is larger (70 x 90)" in note for note in read_image(buffer.getvalue()).notes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bits_are_turned_like_eight(orientation: int, bands: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, (40, 60, bands)).astype(np.uint16)
    values = values[..., 0] if bands == 1 else values
    kind = "minisblack" if bands == 1 else "rgb"
    tag = [(274, 3, 1, orientation, True)]
    deep = read_image(written(values * 257, photometric=kind, extratags=tag))
    flat = read_image(written(values.astype(np.uint8), photometric=kind, extratags=tag))
    np.testing.assert_array_equal(deep.pixels, flat.pixels)
    assert any("upright" in note for note in deep.notes) == (orientation != 1)
    assert any("upright" in note for note in flat.notes) == (orientation != 1)


def test_packed_twelve_bits_are_read() -> None:
    values = slope(1, 4095)[..., 0]
    packed = np.packbits(
        np.unpackbits(values.astype(">u2").view(np.uint8).reshape(90, 70, 2), axis=2)[..., 4:].reshape(90, -1), axis=1
    )
    plain = written(packed)  # as bytes, 105 a row; then say what they are
    data = bytearray(plain)
    with tifffile.TiffFile(io.BytesIO(plain)) as file:
        tags = file.pages[0].tags
        for code, value in ((256, 70), (258, 12)):
            tag = tags[code]
            size = {3: 2, 4: 4}[int(tag.dtype)]
            data[tag.valueoffset : tag.valueoffset + size] = value.to_bytes(size, "little")
    np.testing.assert_array_equal(read_image(bytes(data)).pixels[..., 0], (values * (255 / 4095)).round())


def test_raw_files_of_cameras_are_refused_by_name() -> None:
    mosaic = written(slope(1, 4095)[..., 0], photometric=32803, extratags=[(33421, 3, 2, (2, 2), True)])
    with pytest.raises(ImageError, match="mosaic"):
        read_image(mosaic)
    with pytest.raises(ImageError, match="preview"):
        read_image(written(slope(3, 255, "uint8"), photometric="rgb", subfiletype=1))


def test_bands_beyond_all_memory_are_refused_before_they_are_read() -> None:
    with pytest.raises(ImageError, match="too large"):
        read_image(_claiming(written(slope(3, 255), photometric="rgb"), 277, 4000))


def _claiming(data: bytes, code: int, value: int) -> bytes:
    """The same file with another value of a short tag, and a size of a hundred million pixels."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        for one, number in ((code, value), (256, 10_000), (257, 10_000)):
            tag = tags[one]
            size = {3: 2, 4: 4}[int(tag.dtype)]
            changed[tag.valueoffset : tag.valueoffset + size] = number.to_bytes(size, "little")
    return bytes(changed)
