"""Files of more than 8 bits: no camera's picture may turn black, and two pictures of one camera are read alike."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from made_png import png16
from PIL import Image

from reason_iad.images import Scale, alike, read_image, shared_scale
from reason_iad.images.scale import guess_scale


def picture(bands: int = 3, most: int = 255, seed: int = 0) -> np.ndarray:
    """Noise over a slope (48, 64, bands), 0 to `most`."""
    noise = np.random.default_rng(seed).integers(0, most // 4 + 1, (48, 64, bands))
    slope = np.linspace(0, most - most // 4, 64).astype(int)[None, :, None]
    return (noise + slope).astype(np.uint16)


def sbit(*bits: int) -> bytes:
    body = b"sBIT" + bytes(bits)
    return struct.pack(">I", len(bits)) + body + struct.pack(">I", zlib.crc32(body))


def tiff(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


def tiff16(values: np.ndarray) -> bytes:
    """A TIFF of any type, gray or RGB."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    return buffer.getvalue()


def expected(values: np.ndarray, top: float) -> np.ndarray:
    mapped = (np.clip(values.astype(float), 0, top) * 255 / top).round().astype(np.uint8)
    return np.repeat(mapped, 3, axis=2) if mapped.shape[2] == 1 else mapped


@pytest.mark.parametrize(("color", "bands"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_keeps_the_twelve_bits_of_its_camera(color: int, bands: int, interlaced: bool) -> None:
    values = picture(bands, 4095)
    if bands in (2, 4):
        values[..., -1] = 65535
    loaded = read_image(png16(values, color, interlaced=interlaced))
    np.testing.assert_array_equal(loaded.pixels, expected(values[..., : 1 if bands < 3 else 3], 4095))
    assert loaded.scale == Scale(0, 4095)
    assert any("0 to 4095" in note for note in loaded.notes)


def test_all_sixteen_bits_of_a_color_png_count() -> None:
    values = picture(3, 65535)
    np.testing.assert_array_equal(read_image(png16(values, 2)).pixels, expected(values, 65535))


def test_a_png_that_states_its_significant_bits_is_believed() -> None:
    dark = picture(3, 200)  # of a 12-bit camera
    np.testing.assert_array_equal(read_image(png16(dark, 2, sbit(12, 12, 12))).pixels, expected(dark, 4095))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_values_shifted_into_the_upper_bits_are_seen_as_such(bits: int) -> None:
    values = picture(1, 2**bits // 3).astype(np.uint16) << (16 - bits)
    loaded = read_image(png16(values, 0))
    np.testing.assert_array_equal(loaded.pixels, expected(values, 65535))


def test_eight_bits_repeated_into_sixteen_come_back_exactly() -> None:
    values = picture(3, 60)  # dark
    np.testing.assert_array_equal(read_image(png16(values * 257, 2)).pixels, values.astype(np.uint8))


@pytest.mark.parametrize("spoil", ["pixel", "pixels", "row", "column"])
def test_hot_pixels_darken_no_picture(spoil: str) -> None:
    plain = picture(1, 250)
    hot = plain.copy()
    where = {"pixel": np.s_[9, 9], "pixels": np.s_[::13, ::17], "row": np.s_[0], "column": np.s_[:, 30]}[spoil]
    hot[where] = 4095
    a, b = read_image(tiff(plain[..., 0])), read_image(tiff(hot[..., 0]))
    assert a.scale == b.scale
    if spoil != "pixels":  # more of them than one in a thousand, but none that lies beside another
        assert any("lie above" in note for note in b.notes)


def test_a_small_bright_part_on_a_dark_ground_is_no_hot_pixel() -> None:
    values = np.full((400, 400, 1), 60, np.uint16)
    values[200:210, 200:210] = 3000
    assert read_image(tiff(values[..., 0])).scale == Scale(0, 4095)


def test_a_dark_picture_is_read_by_the_scale_of_its_references() -> None:
    references, scale = alike([read_image(tiff(picture(1, most)[..., 0])) for most in (900, 2000, 3000)])
    assert scale == Scale(0, 4095)
    assert {image.scale for image in references} == {scale}
    dark = picture(1, 200)
    np.testing.assert_array_equal(read_image(tiff(dark[..., 0]), scale=scale).pixels, expected(dark, 4095))
    assert "as its references" in read_image(tiff(dark[..., 0]), scale=scale).notes[0]


def test_a_picture_brighter_than_its_references_says_what_was_cut() -> None:
    loaded = read_image(tiff(picture(1, 16000)[..., 0]), scale=Scale(0, 4095))
    assert "lie above" in loaded.notes[0]


def test_a_scale_of_another_kind_of_values_is_not_used() -> None:
    floats = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    loaded = read_image(tiff(floats), scale=Scale(0, 4095))
    assert loaded.pixels.max() == 255
    assert any("references do not" in note for note in loaded.notes)


def test_eight_bits_need_no_scale() -> None:
    values = picture(3).astype(np.uint8)
    loaded = read_image(tiff(values), scale=Scale(0, 4095))
    np.testing.assert_array_equal(loaded.pixels, values)
    assert (loaded.scale, loaded.notes) == (None, ())
    assert shared_scale([None, None]) is None


@pytest.mark.parametrize("kind", ["float32", "float16", "float64"])
def test_floats_of_zero_to_one_are_no_black_picture(kind: str) -> None:
    import tifffile

    values = np.linspace(0.1, 0.9, 64 * 64).reshape(64, 64)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values.astype(kind))
    loaded = read_image(buffer.getvalue())
    np.testing.assert_allclose(loaded.pixels[..., 0], values * 255, atol=0.7)
    assert "floats of 0 to 1" in loaded.notes[0]


def test_floats_that_overshoot_one_by_a_filter_stay_on_its_scale() -> None:
    assert guess_scale(np.linspace(-0.01, 1.1, 4096).reshape(64, 64, 1))[0] == Scale(0, 1, "float")


def test_floats_of_minus_one_to_one_keep_their_middle() -> None:
    values = np.linspace(-1, 1, 64 * 65, dtype=np.float32).reshape(64, 65)
    assert read_image(tiff(values)).scale == Scale(-1, 1, "float")


@pytest.mark.parametrize("most", [1000, 1023, 4095, 65535])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_pnm_of_sixteen_bits_is_scaled_by_its_stated_maximum(most: int, bands: int) -> None:
    values = picture(bands, min(most, 3000))
    data = f"P{5 if bands == 1 else 6}\n# made\n64 48\n{most}\n".encode() + values.astype(">u2").tobytes()
    top = 4095 if most == 65535 else most  # that most files write, whatever their camera's depth
    assert np.abs(read_image(data).pixels.astype(int) - expected(values, top)).max() <= 1


def test_a_color_float_map_is_read_the_right_way_up() -> None:
    values = picture(3, 255).astype(np.float32) / 255
    data = b"PF\n64 48\n-1.0\n" + values[::-1].astype("<f4").tobytes()
    np.testing.assert_allclose(read_image(data).pixels, values * 255, atol=0.6)


def test_a_scale_survives_a_profile() -> None:
    scale = Scale(0.0, 1023.0)
    assert Scale.from_dict(scale.as_dict()) == scale


@pytest.mark.parametrize("mark", [-9999.0, -32768.0, 3.0e38])
@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_a_mark_of_what_was_not_measured_takes_the_contrast_of_nothing_else(mark: float, kind: str) -> None:
    if kind == "int16" and mark > 40_000:
        mark = 32767.0
    heights = picture(1, 200)[..., 0].astype(float) - 100
    spoiled = heights.copy()
    spoiled[:4, :10] = mark
    plain, loaded = (read_image(tiff16(values.astype(kind))) for values in (heights, spoiled))
    assert np.abs(loaded.pixels[6:].astype(int) - plain.pixels[6:]).max() <= 2
    assert (loaded.pixels[:4, :10] <= 2).all()
    assert any("not measured" in note for note in loaded.notes)


def test_a_black_ground_is_no_mark() -> None:
    values = np.full((48, 64), 0.5, np.float32) + picture(1, 20)[..., 0] / 1000
    values[:20] = 0
    assert not any("not measured" in note for note in read_image(tiff16(values)).notes)


def test_a_signed_file_has_fifteen_bits() -> None:
    values = picture(3, 32767)
    loaded = read_image(tiff16(values.astype(np.int16)))
    np.testing.assert_array_equal(loaded.pixels, expected(values, 32767))


def gamma(value: float) -> bytes:
    body = b"gAMA" + struct.pack(">I", round(value * 100_000))
    return struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_of_linear_values_is_no_dark_picture(bits: int) -> None:
    top = 2**bits - 1
    shown = picture(3, 255) / 255
    linear = (shown**2.2 * top).round()
    if bits == 16:
        data = png16(linear.astype(np.uint16), 2, gamma(1.0))
    else:
        buffer = io.BytesIO()
        Image.fromarray(linear.astype(np.uint8)).save(buffer, "PNG")
        data = buffer.getvalue()[:33] + gamma(1.0) + buffer.getvalue()[33:]  # behind its first chunk
    loaded = read_image(data)
    bright = shown > 0.1  # eight bits of linear values hold little of the dark
    assert np.abs(loaded.pixels[bright] - 255 * shown[bright]).max() <= (6 if bits == 8 else 2)
    assert any("gamma of 1" in note for note in loaded.notes)


def test_the_usual_gamma_needs_no_word() -> None:
    loaded = read_image(png16(picture(3, 65535), 2, gamma(0.45455)))
    assert not any("gamma" in note for note in loaded.notes)
