"""Values of more than 8 bits a channel from PNG, PNM, PFM and what Pillow reads as such; TIFF is in `tiff`.

Pillow keeps only the upper byte of 16-bit color. Its decoder is asked twice here: for the upper bytes, and for the
lower ones by reading the file as if its byte order were the other. So the values are exact, and safe from what a
decoder of our own would have to learn about damaged files. docs/choices.md compares the alternatives.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from reason_iad.images.scale import Values

SRGB_GAMMA = 0.45455  # as PNG states it
_PNM = re.compile(rb"^P([56FfP])(?=\s)")


@dataclass(eq=False)
class DeepImage:
    """Values of a file, before they are scaled to 8 bits."""

    values: Values  # (H, W, C), C is 1 or 3
    bits: int | None = None  # the depth that the file states
    inverted: bool = False  # 0 means white
    alpha: npt.NDArray[np.uint8] | None = None  # (H, W)
    notes: list[str] = field(default_factory=list)
    profile: bytes | None = None  # of its colors
    power: float = 1.0  # by which the values are brought from the file's gamma to that of sRGB


def deep_png(image: Image.Image, data: bytes, label: str) -> DeepImage | None:
    """Values of a PNG of 16 bits a channel; None for one of 8 or fewer."""
    depth, color = data[24], data[25]
    if image.format != "PNG" or depth != 16:
        return None
    bits, power, profile = _stated_bits(data), power_of(image), image.info.get("icc_profile")
    if color == 0:
        return DeepImage(np.asarray(image)[..., None].astype(np.uint16), bits, profile=profile, power=power)
    if color == 4:  # gray with alpha: four bytes a pixel, as RGBA has
        both = _bytes_of(data, "RGBA", "RGBA")
        values = both[..., 0:1].astype(np.uint16) << 8 | both[..., 1:2]
        return DeepImage(values, bits, alpha=both[..., 2], profile=profile, power=power)
    mode = "RGB" if color == 2 else "RGBA"
    upper = _bytes_of(data, mode, f"{mode};16B")
    lower = _bytes_of(data, mode, f"{mode};16L")
    values = upper[..., :3].astype(np.uint16) << 8
    values |= lower[..., :3]
    notes = []
    if "transparency" in image.info:
        notes.append(f"{label} names one color as transparent; that was not applied")
    alpha = upper[..., 3] if mode == "RGBA" else None
    return DeepImage(values, bits, alpha=alpha, notes=notes, profile=profile, power=power)


def power_of(image: Image.Image) -> float:
    """By which power a PNG's values come from the gamma that it states to that of sRGB; 1 where nothing is to be done.

    A profile or the mark of sRGB counts more than a gamma, by PNG's standard; a gamma that none can have is no word.
    """
    stated = image.info.get("gamma")
    if image.format != "PNG" or not stated or "icc_profile" in image.info or "srgb" in image.info:
        return 1.0
    power = SRGB_GAMMA / float(stated)
    return power if 0.2 <= power <= 5 and abs(power - 1) > 0.05 else 1.0


def deep_pnm(data: bytes) -> DeepImage | None:
    """Values of a PGM or PPM of more than 8 bits, or of a float map (PFM); None for the others.

    Raises:
        ValueError: the file holds fewer values than it says.
    """
    kind = _PNM.match(data[:3])
    if kind is None or kind[1] not in b"56Ff":
        return None
    tokens, start = _pnm_header(data)
    width, height = int(tokens[0]), int(tokens[1])
    bands = 3 if kind[1] in b"6F" else 1
    if kind[1] in b"Ff":
        order = "<f4" if float(tokens[2]) < 0 else ">f4"
        values = np.frombuffer(data, order, width * height * bands, start).reshape(height, width, bands)
        return DeepImage(values[::-1].astype(np.float32))
    most = int(tokens[2])
    if not 255 < most < 65536:
        return None
    values = np.frombuffer(data, ">u2", width * height * bands, start).reshape(height, width, bands).astype(np.uint16)
    if int(values.max()) > most:
        raise ValueError(f"a value of {int(values.max())} where {most} is the most")
    bits = most.bit_length()
    if most != 2**bits - 1:  # such as 1000: stretched to the whole of its bits
        values = (values * ((2**bits - 1) / most)).round().astype(np.uint16)
    return DeepImage(values, bits if bits < 16 else None)


def deep_pillow(image: Image.Image) -> DeepImage | None:
    """Values of an image that Pillow opens with more than 8 bits, such as gray JPEG 2000; None for the others."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)[..., None]
        stated = 16 if image.format == "JPEG2000" else None  # scaled to 16 bits by the depth that the file states
        return DeepImage(values.astype(np.uint16) if image.mode.startswith("I;16") else values, stated)
    return None


def pnm_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNM or PFM states."""
    tokens, _ = _pnm_header(data)
    return int(tokens[0]), int(tokens[1])


def _bytes_of(data: bytes, mode: str, raw_mode: str) -> npt.NDArray[np.uint8]:
    """Decode a PNG with another arrangement of the bytes than Pillow would choose."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image._mode = mode
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        return np.asarray(image)


def _stated_bits(data: bytes) -> int | None:
    """The significant bits that a PNG's sBIT chunk states."""
    place = 8
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"sBIT" and 1 <= length <= 4 and place + 8 + length <= len(data):
            stated = max(data[place + 8 : place + 8 + length])
            return stated if 1 <= stated < 16 else None
        if kind in (b"IDAT", b"IEND"):
            break
        place += 12 + length
    return None


def _pnm_header(data: bytes) -> tuple[list[bytes], int]:
    """The three numbers behind the magic, and where the values begin."""
    tokens: list[bytes] = []
    place = 2
    while len(tokens) < 3:
        found = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([0-9.eE+-]{1,20})").match(data, place, place + 4096)
        if found is None:
            raise ValueError("its header is incomplete")
        tokens.append(found[1])
        place = found.end()
    return tokens, place + 1
