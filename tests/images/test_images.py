"""What people feed to the tool: every kind of bad or unusual image file."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_iad import images
from reason_iad.errors import ImageError


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """Smooth RGB pixels whose corners all differ; (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=-1).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def assert_refused(source: Path | bytes, *words: str) -> None:
    """The error names the file, and says each of `words`."""
    with pytest.raises(ImageError) as caught:
        images.read_image(source)
    message = str(caught.value)
    for word in (*words, *([source.name] if isinstance(source, Path) else [])):
        assert word in message
    assert "\n" not in message


def test_a_plain_image_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    path = save(tmp_path / "part.png", Image.fromarray(gradient()))
    loaded = images.read_image(path)
    np.testing.assert_array_equal(loaded.pixels, gradient())
    assert loaded.pixels.dtype == np.uint8
    assert loaded.name == "part.png"
    assert loaded.image_hw == (40, 60)
    assert loaded.notes == ()
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pixels_may_be_changed_by_their_owner(tmp_path: Path) -> None:
    loaded = images.read_image(save(tmp_path / "part.png", Image.fromarray(gradient())))
    assert loaded.pixels.flags.writeable
    assert loaded.pixels.flags.c_contiguous


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere.png", "does not exist", "check the path")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert_refused(path, "0 bytes")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    rng = np.random.default_rng(0)
    whole = save(tmp_path / f"whole.{suffix}", Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)))
    data = whole.read_bytes()
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    assert_refused(path)


def test_a_stereo_photo_of_a_phone_is_read_as_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.fromarray(gradient()), Image.new("RGB", (60, 40), "black")
    path = save(tmp_path / "stereo.jpg", first, format="MPO", save_all=True, append_images=[second])
    loaded = images.read_image(path)
    assert np.abs(loaded.pixels.astype(int) - gradient()).mean() < 6
    assert loaded.notes == ("stereo.jpg holds a second view (MPO); the first was inspected",)


def test_text_named_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("this is no image, whatever it is called")
    assert_refused(path, "not an image", "this is")


def test_a_jpeg_named_png_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "photo.png", Image.fromarray(gradient()), format="JPEG")
    assert np.abs(images.read_image(path).pixels.astype(int) - gradient()).mean() < 6


@pytest.mark.parametrize(
    "data", [b"%PDF-1.4 ", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_documents_are_no_images(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "drawing.png"
    path.write_bytes(data + b" " * 200)
    assert_refused(path, "not an image")


def test_one_pixel_is_too_small(tmp_path: Path) -> None:
    assert_refused(save(tmp_path / "dot.png", Image.new("RGB", (1, 1))), "1 x 1", "16")


def test_an_image_of_108_million_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(12000, 9000))
    assert_refused(path, "12000 x 9000", "108 million", "REASON_IAD_MAX_PIXELS")


def test_the_limit_of_pixels_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "part.png", Image.fromarray(gradient()))
    monkeypatch.setenv("REASON_IAD_MAX_PIXELS", "1000")
    assert_refused(path, "60 x 40")
    monkeypatch.setenv("REASON_IAD_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="whole number"):
        images.read_image(path)


def test_pillows_own_bomb_check_becomes_an_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(30000, 30000))
    monkeypatch.setenv("REASON_IAD_MAX_PIXELS", "2000000000")
    assert_refused(path, "too large")


def test_a_thread_of_an_image_is_refused(tmp_path: Path) -> None:
    assert_refused(save(tmp_path / "thread.png", Image.new("RGB", (2000, 20))), "2000 x 20")


def test_sixteen_bits_are_scaled_and_said(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    loaded = images.read_image(save(tmp_path / "deep.png", Image.fromarray(values)))
    expected = (values / 257.0).round()
    assert np.abs(loaded.pixels[..., 0].astype(int) - expected).max() <= 1
    assert "8 bits" in loaded.notes[0]


def test_twelve_bits_in_sixteen_do_not_come_out_black(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    loaded = images.read_image(save(tmp_path / "camera.tif", Image.fromarray(values)))
    assert loaded.pixels.max() == 255
    assert "4095" in loaded.notes[0]


def test_floats_of_a_measurement_are_read(tmp_path: Path) -> None:
    values = np.linspace(0, 1000, 64 * 64).reshape(64, 64).astype(np.float32)
    values[0, 0] = np.nan
    loaded = images.read_image(save(tmp_path / "height.tif", Image.fromarray(values)))
    assert loaded.pixels.max() > 200
    assert loaded.notes


def test_missing_and_infinite_measurements_become_black_and_spoil_nothing(tmp_path: Path) -> None:
    values = np.full((32, 32), 200, np.float32)
    values[3, 3:6] = np.nan, np.inf, -np.inf
    loaded = images.read_image(save(tmp_path / "holes.tif", Image.fromarray(values)))
    assert (loaded.pixels[3, 3:6] == 0).all()
    assert (loaded.pixels[10:] == 200).all()


def test_cmyk_becomes_rgb_and_is_said(tmp_path: Path) -> None:
    path = save(tmp_path / "print.jpg", Image.new("CMYK", (40, 40), (0, 255, 255, 0)))
    loaded = images.read_image(path)
    red, green, blue = loaded.pixels[20, 20]
    assert red > 200
    assert max(green, blue) < 60
    assert "CMYK" in loaded.notes[0]


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "lime", "blue")]
    path = save(tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:])
    loaded = images.read_image(path)
    assert tuple(loaded.pixels[5, 5]) == (255, 0, 0)
    assert "3 frames" in loaded.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    # How a camera stores the upright scene under each orientation, by NumPy alone.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = images.read_image(save(tmp_path / "turned.png", image, exif=exif))
    np.testing.assert_array_equal(loaded.pixels, upright)
    assert bool(loaded.notes) == (orientation != 1)


def test_an_orientation_out_of_range_changes_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 42
    loaded = images.read_image(save(tmp_path / "odd.png", Image.fromarray(gradient()), exif=exif))
    np.testing.assert_array_equal(loaded.pixels, gradient())
    assert loaded.notes == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (32, 32), (0,) * len(mode))
    image.paste((90,) * (len(mode) - 1) + (255,), (8, 8, 24, 24))
    loaded = images.read_image(save(tmp_path / "clear.png", image))
    assert (loaded.pixels[:8] == 255).all()
    assert (loaded.pixels[8:24, 8:24] == 90).all()
    assert "transparency" in loaded.notes[0]


def test_a_palette_with_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (8, 8, 24, 24))
    loaded = images.read_image(save(tmp_path / "clear.gif", image, transparency=0))
    assert (loaded.pixels[:8] == 255).all()
    assert (loaded.pixels[12, 12] == (200, 0, 0)).all()


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_and_palette_images_become_rgb(tmp_path: Path, mode: str) -> None:
    loaded = images.read_image(save(tmp_path / "gray.png", Image.fromarray(gradient()).convert(mode)))
    assert loaded.pixels.shape == (40, 60, 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "secret.png", Image.fromarray(gradient()))
    path.chmod(0)
    assert_refused(path, "cannot be read", "permissions")


def test_a_failing_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "part.png", Image.fromarray(gradient()))

    def fail(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert_refused(path, "cannot be read", "Permission denied")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    assert_refused(tmp_path, "folder")


def test_a_device_is_no_image() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no such device here")
    with pytest.raises(ImageError, match="regular file"):
        images.read_image("/dev/zero")


def test_a_name_with_a_null_byte_is_refused() -> None:
    with pytest.raises(ImageError):
        images.read_image("a\0b.png")


def test_too_many_bytes_are_refused_before_reading(tmp_path: Path) -> None:
    path = save(tmp_path / "part.png", Image.fromarray(gradient()))
    with pytest.raises(ImageError, match="bytes"):
        images.read_image(path, images.ImageLimits(max_bytes=10))


def test_bytes_are_read_like_a_file(tmp_path: Path) -> None:
    path = save(tmp_path / "part.png", Image.fromarray(gradient()))
    from_bytes, from_file = images.read_image(path.read_bytes(), name="part.png"), images.read_image(path)
    np.testing.assert_array_equal(from_bytes.pixels, from_file.pixels)
    assert from_bytes.sha256 == from_file.sha256


@pytest.mark.parametrize(
    "array", [np.zeros((32, 32), np.uint8), np.zeros((32, 32, 3)), np.zeros((32, 32, 4), np.uint8)]
)
def test_pixels_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected uint8 RGB"):
        images.from_pixels(array)


def test_a_folder_gives_its_images_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.PNG", "a.jpg", "deep/c.tiff"):
        Image.fromarray(gradient()).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = [path.relative_to(tmp_path).as_posix() for path in images.find_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "deep/c.tiff"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no image"):
        images.find_images(tmp_path)


def test_png_is_lossless(tmp_path: Path) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(images.encode_png(gradient()))))
    np.testing.assert_array_equal(decoded, gradient())


def test_resize_keeps_a_flat_color_and_takes_height_first() -> None:
    resized = images.resize(np.full((30, 50, 3), 77, np.uint8), (20, 90))
    assert resized.shape == (20, 90, 3)
    assert (resized == 77).all()
