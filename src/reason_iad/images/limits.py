"""What is accepted as an image, and what a read image is."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reason_iad.errors import ImageError
from reason_iad.files import sha256
from reason_iad.images.scale import Scale

Pixels = npt.NDArray[np.uint8]

# Raster formats of cameras; no vector, no PDF. MPO comes with JPEG. HEIC is read where pillow-heif is installed.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"}
)
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})


def reads_heic() -> bool:
    """Whether pillow-heif is installed, which brings the decoder of HEIC."""
    return importlib.util.find_spec("pillow_heif") is not None


def readable_suffixes() -> frozenset[str]:
    """Endings, in lower case, of the files that `read_image` reads on this machine."""
    return SUFFIXES | HEIC_SUFFIXES if reads_heic() else SUFFIXES


@dataclass(frozen=True)
class ImageLimits:
    """What is accepted as an image."""

    min_side: int = 16  # smaller than one patch of the vision models
    max_pixels: int = 100_000_000
    max_bytes: int = 256 * 1024 * 1024
    max_values: int = 1024 * 1024 * 1024  # bytes of the decoded values, all bands
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

    def check_size(self, width: int, height: int, label: str) -> None:
        """Refuse sides that cannot be inspected.

        Raises:
            ImageError: too small, too large, or of an absurd shape.
        """
        if min(width, height) < self.min_side:
            raise ImageError(f"{label} is {width} x {height} pixels; expected at least {self.min_side} on each side")
        if width * height > self.max_pixels:
            raise ImageError(
                f"{label} is {width} x {height} = {width * height / 1e6:.0f} million pixels; at most "
                f"{self.max_pixels / 1e6:.0f} are accepted: crop or downscale it, or set REASON_IAD_MAX_PIXELS"
            )
        if self.max_side is not None and max(width, height) > self.max_side:
            raise ImageError(
                f"{label} is {width} x {height} pixels; at most {self.max_side:,} on a side are accepted: "
                "crop or downscale it"
            )
        if max(width, height) > self.max_aspect * min(width, height):
            raise ImageError(
                f"{label} is {width} x {height} pixels; expected sides within {self.max_aspect:g} to 1: crop it"
            )


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An upright RGB image and what is known about its file."""

    pixels: Pixels  # (H, W, 3)
    name: str
    sha256: str  # of the file's bytes
    notes: tuple[str, ...] = ()
    scale: Scale | None = None  # which values became 0 and 255; None where the file holds 8 bits a channel
    data: bytes | None = field(default=None, repr=False)  # the file's, where it can be read by another scale

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def from_pixels(pixels: Pixels, name: str = "image") -> LoadedImage:
    """Wrap an RGB array (H, W, 3) uint8 that is already in memory.

    Raises:
        ImageError: the array has another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(f"{name} is {pixels.dtype} {pixels.shape}; expected uint8 RGB of shape (H, W, 3)")
    ImageLimits.from_environment().check_size(pixels.shape[1], pixels.shape[0], name)
    pixels = np.ascontiguousarray(pixels)
    return LoadedImage(pixels, name, sha256(pixels.tobytes()))
