"""PNG files that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def png16(values: np.ndarray, color: int, chunks: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    height, width = values.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    passes = [values]
    if interlaced:
        starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        passes = [values[y::down, x::right] for y, x, down, right in starts]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for one in passes for row in one)
    head = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, int(interlaced))
    body = chunk(b"IHDR", head) + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
