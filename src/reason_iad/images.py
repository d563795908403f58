"""Reading images safely and moving between pixel grids. The only user of Pillow's readers.

An image is `pixels (H, W, 3)` uint8 RGB in its upright orientation. Everything that had to be changed on the way
(rotation by EXIF, 16 bit, CMYK, alpha, first frame of an animation) is said in `notes`, so that a report can repeat it.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from reason_iad.errors import ImageError
from reason_iad.files import sha256

Pixels = npt.NDArray[np.uint8]

FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "TIFF",
    "WEBP",
    "GIF",
    "PPM",
)  # raster formats of cameras; no vector, no PDF. MPO comes with JPEG.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})


@dataclass(frozen=True)
class ImageLimits:
    """What is accepted as an image."""

    min_side: int = 16  # smaller than one patch of the vision models
    max_pixels: int = 100_000_000
    max_bytes: int = 256 * 1024 * 1024
    max_aspect: float = 20.0
    max_side: int | None = None

    @classmethod
    def from_environment(cls) -> ImageLimits:
        """Default limits, with `REASON_IAD_MAX_PIXELS` where the environment sets it."""
        text = os.environ.get("REASON_IAD_MAX_PIXELS", "")
        if not text:
            return cls()
        if not text.isdecimal() or int(text) == 0:
            raise ImageError(f"REASON_IAD_MAX_PIXELS is {text!r}; expected a whole number of pixels above 0")
        return cls(max_pixels=int(text))


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An upright RGB image and what is known about its file."""

    pixels: Pixels  # (H, W, 3)
    name: str
    sha256: str  # of the file's bytes
    notes: tuple[str, ...] = ()

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_image(source: str | Path | bytes, limits: ImageLimits | None = None, name: str | None = None) -> LoadedImage:
    """Read one image from a file or from bytes, refusing what cannot be inspected.

    Raises:
        ImageError: missing, empty, truncated, not an image, too small, too large, or of an absurd shape.
    """
    limits = limits or ImageLimits.from_environment()
    if isinstance(source, bytes):
        label, data = name or "image", source
    else:
        path = Path(source)
        label, data = name or path.name, _read_bytes(path, limits)
    if not data:
        raise ImageError(f"{label} is empty (0 bytes); expected an image file: check that its copy has finished")
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"{label} has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted: export it smaller"
        )
    pixels, notes = _decode(data, label, limits)
    return LoadedImage(pixels, label, sha256(data), notes)


def from_pixels(pixels: Pixels, name: str = "image") -> LoadedImage:
    """Wrap an RGB array (H, W, 3) uint8 that is already in memory.

    Raises:
        ImageError: the array has another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(f"{name} is {pixels.dtype} {pixels.shape}; expected uint8 RGB of shape (H, W, 3)")
    _check_size(pixels.shape[1], pixels.shape[0], name, ImageLimits.from_environment())
    pixels = np.ascontiguousarray(pixels)
    return LoadedImage(pixels, name, sha256(pixels.tobytes()))


def find_images(path: str | Path) -> list[Path]:
    """The image files under a folder in name order, or the one file itself.

    Raises:
        ImageError: nothing is there, or the folder holds no image.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path} does not exist; expected an image file or a folder of images")
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise ImageError(f"{path} holds no image; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def resize(pixels: Pixels, image_hw: tuple[int, int]) -> Pixels:
    """Resize (H, W, 3) to `image_hw` with antialiasing; the aspect ratio follows the target."""
    height, width = image_hw
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def encode_png(pixels: Pixels) -> bytes:
    """Compress (H, W, 3) or (H, W, 4) pixels as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels, quality: int = 88) -> bytes:
    """Compress (H, W, 3) pixels as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _read_bytes(path: Path, limits: ImageLimits) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; expected one image file")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait, a device never end
            raise ImageError(f"{path} is no regular file; expected an image file")
        size = status.st_size
        if size > limits.max_bytes:
            raise ImageError(f"{path} has {size:,} bytes; at most {limits.max_bytes:,} are accepted: export it smaller")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; expected an image file: check the path") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except ValueError as error:  # a null byte in the name
        raise ImageError(f"{str(path)!r} is no file name; expected the path of an image file") from error


def _check_size(width: int, height: int, label: str, limits: ImageLimits) -> None:
    if min(width, height) < limits.min_side:
        raise ImageError(f"{label} is {width} x {height} pixels; expected at least {limits.min_side} on each side")
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{label} is {width} x {height} = {width * height / 1e6:.0f} million pixels; at most "
            f"{limits.max_pixels / 1e6:.0f} are accepted: crop or downscale it, or set REASON_IAD_MAX_PIXELS"
        )
    if limits.max_side is not None and max(width, height) > limits.max_side:
        raise ImageError(
            f"{label} is {width} x {height} pixels; at most {limits.max_side:,} on a side are accepted: "
            "crop or downscale it"
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageError(
            f"{label} is {width} x {height} pixels; expected sides within {limits.max_aspect:g} to 1: crop it"
        )


def _decode(data: bytes, label: str, limits: ImageLimits) -> tuple[Pixels, tuple[str, ...]]:
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, before anything is decoded
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(*image.size, label, limits)
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                notes.append(f"{label} has {image.n_frames} frames; the first was inspected")  # type: ignore[attr-defined]
            image.load()
            orientation = image.getexif().get(0x0112, 1)
            if orientation in range(2, 9):
                image = ImageOps.exif_transpose(image)
                notes.append(f"{label} was turned upright by its EXIF orientation ({orientation})")
            return _to_rgb(image, label, notes), tuple(notes)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{label} is not an image this program reads (its first bytes are {data[:8]!r}); "
            f"expected {', '.join(FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{label} is too large to decode safely: crop or downscale it") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError) as error:
        raise ImageError(
            f"{label} is damaged or incomplete ({error}); expected a whole image: copy it again"
        ) from error


def _to_rgb(image: Image.Image, label: str, notes: list[str]) -> Pixels:
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
        # 12-bit cameras store values in 16 bits: scale by the smallest power of two that holds the maximum.
        top = float(2 ** max(8, int(np.ceil(np.log2(max(float(values.max()), 1.0) + 1)))) - 1)
        notes.append(f"{label} has more than 8 bits a channel; values 0 to {top:.0f} were mapped to 0 to 255")
        gray = (np.clip(values, 0, top) * (255.0 / top)).round().astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        notes.append(f"{label} has transparency; it was laid on white")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    elif image.mode in ("CMYK", "YCCK", "LAB"):
        notes.append(f"{label} is {image.mode}; it was converted to RGB without a color profile")
    return np.array(image.convert("RGB"))


ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half-written image is an error, not a gray half
