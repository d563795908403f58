"""Resizing and compressing pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from reason_iad.images.limits import Pixels


def resize(pixels: Pixels, image_hw: tuple[int, int]) -> Pixels:
    """Resize (H, W, 3) to `image_hw` with antialiasing; the aspect ratio follows the target."""
    height, width = image_hw
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def encode_png(pixels: Pixels) -> bytes:
    """Compress (H, W, 3) or (H, W, 4) pixels as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # 2 to 4 times as fast for a fifth more bytes
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels, quality: int = 88) -> bytes:
    """Compress (H, W, 3) pixels as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
