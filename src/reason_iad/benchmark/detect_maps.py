"""Maps and masks as a detection run keeps them: small, as text, and at one size where they are compared."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reason_iad.benchmark.record_log import Record
from reason_iad.datasets.base import ImageSample
from reason_iad.datasets.masks import join_masks, read_mask, resample

if TYPE_CHECKING:
    from reason_iad.evidence.compare import EvidenceMap

MASK_SIDE = 256  # pixels of the longer side at which maps and masks are compared


def comparison_hw(image_hw: tuple[int, int]) -> tuple[int, int]:
    """Size at which map and mask of an image are compared: as it is, or its longer side cut to `MASK_SIDE`.

    >>> comparison_hw((100, 50)), comparison_hw((1024, 512))
    ((100, 50), (256, 128))
    """
    scale = min(1.0, MASK_SIDE / max(image_hw))
    return max(1, round(image_hw[0] * scale)), max(1, round(image_hw[1] * scale))


def pack_map(evidence: EvidenceMap, image_hw: tuple[int, int]) -> dict[str, Any]:
    """The uncalibrated map in half precision, as text, with the size of its image."""
    values = evidence.raw.astype(np.float16)
    return {"hw": list(values.shape), "image_hw": list(image_hw), "data": _pack(values.tobytes())}


def unpack_map(packed: Mapping[str, Any]) -> npt.NDArray[np.float16]:
    """The map at the size it is compared at: (h, w)."""
    from reason_iad.evidence.search import enlarge

    values = np.frombuffer(_unpack(packed["data"]), dtype=np.float16).reshape(packed["hw"])
    height, width = packed["image_hw"]
    return enlarge(values.astype(np.float32), comparison_hw((height, width))).astype(np.float16)


def pack_mask(sample: ImageSample) -> tuple[dict[str, Any] | None, str]:
    """Which pixels are defective at the size of comparison, and how the masks were taken.

    None where it is not known: the image is defective, and no mask of it can be used.
    """
    if not sample.defective:
        return {"hw": None, "data": ""}, "normal: nothing is marked"
    readings = [read_mask(path, sample.image) for path in sample.masks]
    whole = join_masks(readings)
    how = "; ".join(dict.fromkeys(reading.fault or reading.how for reading in readings)) or "no mask is known"
    if whole is None:
        return None, how
    small = resample(whole, comparison_hw((whole.shape[0], whole.shape[1])))
    return {"hw": list(small.shape), "data": _pack(np.packbits(small).tobytes())}, how


def unpack_mask(record: Record) -> npt.NDArray[np.bool_] | None:
    """Which pixels are defective at the size of the map (h, w); None where that is not known."""
    packed = record["mask"]
    height, width = comparison_hw((record["map"]["image_hw"][0], record["map"]["image_hw"][1]))
    if packed is None:
        return None
    if isinstance(packed, str):  # a record of 0.1.0
        packed = {"hw": [height, width], "data": packed}
    if packed["hw"] is None:
        return np.zeros((height, width), dtype=bool)
    rows, columns = packed["hw"]
    bits = np.unpackbits(np.frombuffer(_unpack(packed["data"]), dtype=np.uint8), count=rows * columns)
    return resample(bits.reshape(rows, columns).astype(bool), (height, width))


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
