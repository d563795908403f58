"""Profiles, transparency that is none, and files that are odd but can be read."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from made_png import png16
from PIL import Image, ImageCms

from reason_iad.errors import ImageError
from reason_iad.images import coarse_note, read_image, readable_suffixes


def photo(height: int = 64, width: int = 80) -> np.ndarray:
    """RGB pixels (H, W, 3) with texture."""
    noise = np.random.default_rng(3).integers(60, 200, (height, width, 3))
    return noise.astype(np.uint8)


def saved(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def with_alpha(alpha: np.ndarray) -> np.ndarray:
    return np.dstack([photo(), alpha]).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("value", [0, 7, 128])
def test_alpha_that_nobody_uses_hides_nothing(kind: str, value: int) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    loaded = read_image(saved(with_alpha(np.full((64, 80), value)), kind, **options))
    np.testing.assert_array_equal(loaded.pixels, photo())
    assert "alpha" in loaded.notes[0]


def test_the_unused_byte_of_a_bitmap_hides_nothing() -> None:
    data = bytearray(saved(with_alpha(np.zeros((64, 80))), "BMP"))
    np.testing.assert_array_equal(read_image(bytes(data)).pixels, photo())


def test_an_opaque_alpha_needs_no_word() -> None:
    loaded = read_image(saved(with_alpha(np.full((64, 80), 255)), "PNG"))
    assert loaded.notes == ()


def test_a_picture_in_the_alpha_channel_is_no_transparency() -> None:
    infrared = np.repeat(np.linspace(10, 240, 80)[None], 64, axis=0)
    loaded = read_image(saved(with_alpha(infrared), "PNG"))
    np.testing.assert_array_equal(loaded.pixels, photo())
    assert "near infrared" in loaded.notes[0]


def test_a_stray_opaque_pixel_does_not_make_the_rest_white() -> None:
    alpha = np.zeros((64, 80))
    alpha[3, 3] = 255
    np.testing.assert_array_equal(read_image(saved(with_alpha(alpha), "PNG")).pixels, photo())


def test_a_cut_out_with_soft_edges_is_laid_on_white() -> None:
    alpha = np.zeros((64, 80))
    alpha[10:50, 10:60] = 128
    alpha[11:49, 11:59] = 255
    loaded = read_image(saved(with_alpha(alpha), "PNG"))
    assert (loaded.pixels[:10] == 255).all()
    np.testing.assert_array_equal(loaded.pixels[11:49, 11:59], photo()[11:49, 11:59])
    assert "laid on white" in loaded.notes[0]


def wide_gamut() -> bytes:
    """A profile whose colors are far from sRGB's: its red and green are exchanged by its primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def test_colors_follow_their_profile() -> None:
    plain = photo()
    loaded = read_image(saved(plain, "PNG", icc_profile=wide_gamut()))
    assert np.abs(loaded.pixels.astype(int) - plain[..., [1, 0, 2]]).max() <= 2
    assert "color profile" in loaded.notes[0]


def test_colors_of_sixteen_bits_follow_their_profile_too() -> None:
    wide = photo().astype(np.uint16) * 257
    for data in (tiff16(wide, wide_gamut()), png_with_profile(wide, wide_gamut())):
        loaded = read_image(data)
        assert np.abs(loaded.pixels.astype(int) - photo()[..., [1, 0, 2]]).max() <= 2
        assert any("color profile" in note for note in loaded.notes)


def tiff16(values: np.ndarray, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", iccprofile=profile)
    return buffer.getvalue()


def png_with_profile(values: np.ndarray, profile: bytes) -> bytes:
    chunks = b"iCCP", b"wide\0\0" + zlib.compress(profile)
    body = struct.pack(">I", len(chunks[1])) + chunks[0] + chunks[1] + struct.pack(">I", zlib.crc32(b"".join(chunks)))
    return png16(values, 2, body)


@pytest.mark.parametrize("where", ["interoperability", "color space"])
def test_adobe_rgb_that_only_exif_names_is_converted(where: str) -> None:
    exif = Image.Exif()
    if where == "interoperability":
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    else:
        exif.get_ifd(0x8769)[0xA001] = 2
    flat = np.full((64, 80, 3), (150, 100, 90), np.uint8)
    named = read_image(saved(flat, "JPEG", quality=98, subsampling=0, exif=exif))
    plain = read_image(saved(flat, "JPEG", quality=98, subsampling=0))
    assert np.abs(named.pixels[0, 0].astype(int) - (166, 100, 89)).max() <= 2  # by the standards' formulas
    assert np.abs(plain.pixels[0, 0].astype(int) - (150, 100, 90)).max() <= 2
    assert "Adobe RGB" in named.notes[0]
    assert plain.notes == ()


def test_a_jpeg_2000_of_more_color_than_is_read_says_so() -> None:
    data = bytearray(saved(photo(), "JPEG2000"))
    start = data.index(b"\xff\x4f\xff\x51") + 42
    data[start : start + 9 : 3] = b"\x0f\x0f\x0f"
    assert any("16 bits of color" in note for note in read_image(bytes(data)).notes)
    assert read_image(saved(photo(), "JPEG2000")).notes == ()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bitmap_444(), "is of a kind that is not read here"),
        (lambda: palette_of_16_bits(), "it is a TIFF of a layout that is not read here"),
        (lambda: b"P7\nWIDTH 64\nHEIGHT 64\n", "it is a PAM image"),
    ],
)
def test_whole_files_of_other_kinds_are_not_called_damaged(make: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        read_image(make())
    assert "copy it again" not in str(caught.value)


def bitmap_444() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 16, 3, 64 * 64 * 2, 0, 0, 0, 0)
    body = head + struct.pack("<III", 0xF00, 0xF0, 0xF) + bytes(64 * 64 * 2)
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 14 + 52) + body


def palette_of_16_bits() -> bytes:
    buffer = io.BytesIO()
    colors = np.zeros((3, 65536), np.uint16)
    tifffile.imwrite(buffer, np.zeros((64, 64), np.uint16), photometric="palette", colormap=colors)
    return buffer.getvalue()


def test_the_usual_profile_changes_nothing_and_needs_no_word() -> None:
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = read_image(saved(photo(), "PNG", icc_profile=usual))
    np.testing.assert_array_equal(loaded.pixels, photo())
    assert loaded.notes == ()


@pytest.mark.parametrize("profile", [b"no profile", wide_gamut()[:200]])
def test_a_damaged_profile_is_left_out_and_said(profile: bytes) -> None:
    loaded = read_image(saved(photo(), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(loaded.pixels, photo())
    assert "cannot be used" in loaded.notes[0]


def test_a_profile_for_color_in_a_gray_image_is_left_out_and_said() -> None:
    loaded = read_image(saved(photo(), "PNG", "L", icc_profile=wide_gamut()))
    assert "cannot be used" in loaded.notes[0]


def test_lab_colors_are_converted() -> None:
    lab = Image.merge("LAB", [Image.new("L", (40, 40), value) for value in (160, 128, 128)])
    buffer = io.BytesIO()
    lab.save(buffer, "TIFF")
    loaded = read_image(buffer.getvalue())
    assert int(np.ptp(loaded.pixels[0, 0].astype(int))) <= 3  # gray
    assert any("Lab" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG2000", {"irreversible": False}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
    ],
)
def test_further_formats_are_read(kind: str, options: dict[str, Any]) -> None:
    loaded = read_image(saved(photo(), kind, **options))
    assert np.abs(loaded.pixels.astype(int) - photo()).max() <= (0 if kind != "AVIF" else 12)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".mpo", ".pnm", ".jp2", ".avif"])
def test_what_the_reader_reads_is_found_by_its_name(suffix: str) -> None:
    assert suffix in readable_suffixes()


def test_jpeg_2000_of_sixteen_bits_keeps_its_stated_range() -> None:
    values = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[None], 64, axis=0)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG2000")
    np.testing.assert_allclose(read_image(buffer.getvalue()).pixels[..., 0], values / 257, atol=0.6)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_is_refused_by_name(brand: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reason_iad.images.reading.reads_heic", lambda: False)
    with pytest.raises(ImageError, match=r"HEI[CF] image.*pillow-heif"):
        read_image(b"\0\0\0\x18ftyp" + brand + bytes(100))


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"\xff\x0a" + bytes(50), "JPEG XL"), (b"v/1\x01" + bytes(50), "OpenEXR"), (b"%PDF-1.7" + bytes(50), "PDF"),
     (bytes(128) + b"DICM" + bytes(50), "DICOM")],
)  # fmt: skip
def test_other_kinds_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=f"is not an image this program reads: it is .*{name}"):
        read_image(data)


@pytest.mark.parametrize("marker", [b"\xff\xd9", b""])
def test_a_jpeg_whose_tail_is_zeros_is_said_or_refused(marker: bytes) -> None:
    whole = saved(photo(300, 400), "JPEG", quality=95)
    broken = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2 - 2) + marker
    said = _said(broken)
    assert "copy it again" in said or "zeros" in said


def _said(data: bytes) -> str:
    """The notes of a file that is read, or why it is refused."""
    try:
        return " ".join(read_image(data).notes)
    except ImageError as error:
        return str(error)


def test_zeros_behind_a_whole_jpeg_are_harmless() -> None:
    loaded = read_image(saved(photo(), "JPEG") + bytes(5000))
    assert loaded.notes == ()


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TIFF"])
def test_rows_of_zeros_without_compression_are_said(kind: str) -> None:
    pixels = photo()
    pixels[40:] = 0
    assert any("zeros" in note for note in read_image(saved(pixels, kind)).notes)
    assert read_image(saved(pixels, "PNG")).notes == ()


def test_a_picture_of_twenty_pixels_is_read_and_said() -> None:
    assert any("20 x 20" in note for note in read_image(saved(photo(20, 20), "PNG")).notes)


def test_damaged_exif_turns_nothing_and_is_no_error() -> None:
    data = saved(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert read_image(data).pixels.shape == (64, 80, 3)


def test_references_that_are_far_smaller_than_the_image_are_said() -> None:
    assert coarse_note((900, 900), [(900, 800), (300, 300)]) is None
    assert coarse_note((900, 900), []) is None
    note = coarse_note((900, 1200), [(900, 800), (64, 80)])
    assert note is not None
    assert "1 of 2 references has" in note
    assert "80 x 64" in note
