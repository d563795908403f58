"""What is odd about a file that can be read, and names of the kinds that cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from reason_iad.images.limits import Pixels
from reason_iad.languages import translatable
from reason_iad.words import counted

TAIL = 256  # zero bytes in a row that no camera's JPEG ends with
COARSE = 4  # times as many pixels on a side as a reference
SMALL = 32  # pixels on a side that the vision models, which see 448, enlarge fourteenfold
MOST_SCANS = 200  # a camera's progressive JPEG has about ten
MOST_COUNTED_BYTES = 16 * 1024 * 1024  # counting the frames of a longer animation takes seconds

_KINDS = (
    (0, b"II*\0", "a TIFF of a layout that is not read here"),
    (0, b"MM\0*", "a TIFF of a layout that is not read here"),
    (0, b"II+\0", "a BigTIFF of a layout that is not read here"),
    (0, b"MM\0+", "a BigTIFF of a layout that is not read here"),
    (0, b"P7\n", "a PAM image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"II\xbc", "a JPEG XR image"),
    (0, b"v/1\x01", "an OpenEXR image"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"SIMPLE  =", "a FITS image"),
    (128, b"DICM", "a DICOM image"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo"),
    (0, b"IIRO", "a raw photo"),
    (0, b"IIU\0", "a raw photo"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (0, b"RIFF", "a RIFF file of another kind than WebP"),
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypheix", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftypmsf1", "a HEIF image"),
    (4, b"ftyphevc", "a HEIC image"),
    (4, b"ftypcrx ", "a raw photo (CR3)"),
    (4, b"ftyp", "a film"),
)


def name_kind(data: bytes) -> str | None:
    """What the bytes of a file are that is no image this program reads, where their beginning tells."""
    return next((kind for place, magic, kind in _KINDS if data[place : place + len(magic)] == magic), None)


def frame_note(image: Image.Image, size: int, label: str) -> str | None:
    """What is left out of a file that holds more than one picture."""
    if image.format == "MPO":
        return translatable(f"{label} holds a second view (MPO); the first was inspected")
    if not getattr(image, "is_animated", False):
        return None
    if size > MOST_COUNTED_BYTES:
        return translatable(f"{label} has several frames; the first was inspected")
    frames = image.n_frames  # type: ignore[attr-defined]
    return translatable(f"{label} has {frames} frames; the first was inspected")


def color_bits(data: bytes, image_format: str | None) -> int:
    """The bits of a color that a JPEG 2000 states, of which Pillow reads the upper 8; 8 for all other files."""
    place = data.find(b"\xff\x4f\xff\x51") if image_format == "JPEG2000" else -1
    if place < 0 or len(data) < place + 43:
        return 8
    bands = int.from_bytes(data[place + 40 : place + 42], "big")
    return 8 if bands < 3 else (data[place + 42] & 0x7F) + 1


def coarse_note(image_hw: tuple[int, int], references: Sequence[tuple[int, int]]) -> str | None:
    """What references of far fewer pixels than the image cannot show; None where all are large enough."""
    coarse = [size for size in references if COARSE * min(size) < min(image_hw)]
    if not coarse:
        return None
    height, width = min(coarse)
    return translatable(
        f"{len(coarse)} of {counted(len(references), 'reference')} {'has' if len(coarse) == 1 else 'have'} less than "
        f"1/{COARSE} of the image's pixels on a side (smallest {width} x {height}): finer things cannot be compared"
    )


def zero_tail(data: bytes, image_format: str | None) -> int:
    """How many zero bytes a JPEG's picture ends with, as a copy does that was never finished; 0 for a few.

    A file system may give a file its full length first, and some programs then add the end marker; what follows a
    whole picture's end marker is harmless.
    """
    if image_format not in ("JPEG", "MPO"):
        return 0
    body = data.removesuffix(b"\xff\xd9")
    whole = body.rstrip(b"\0")
    count = len(body) - len(whole)
    return 0 if count < TAIL or whole.endswith(b"\xff\xd9") else count


def black_rows(pixels: Pixels) -> int:
    """How many of the first or the last rows (H, W, 3) are wholly black, where others are not; 0 for a few.

    Formats without compression have no checksum: this is all that can be seen of a copy that was never finished.
    """
    filled = np.flatnonzero(pixels.any(axis=(1, 2)))
    if not len(filled):
        return 0
    count = int(max(filled[0], len(pixels) - 1 - filled[-1]))
    return count if count >= max(8, len(pixels) // 50) else 0
