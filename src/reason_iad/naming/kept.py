"""Described areas as a file that the record keeps beside an inspection, so that a later label needs no second look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reason_iad.errors import InputError
from reason_iad.naming.describe import DESCRIPTION_VERSION, LENGTH, DescribedArea
from reason_iad.naming.examples import Box, Floats


def pack_areas(areas: Sequence[DescribedArea]) -> bytes:
    """Boxes and descriptions of areas as safetensors."""
    from safetensors.numpy import save

    return save(
        {
            "boxes": np.array([area.box_xyxy for area in areas], np.int64).reshape(-1, 4),
            "vectors": np.stack([area.vector for area in areas]).astype(np.float16),
        },
        {"description_version": str(DESCRIPTION_VERSION)},
    )


def read_areas(data: bytes) -> tuple[tuple[Box, Floats], ...]:
    """What `pack_areas` wrote: box and description (LENGTH,) of each area.

    Raises:
        InputError: it is damaged, or of another version of the program.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        held = load(data)
        boxes, vectors = held["boxes"], held["vectors"].astype(np.float32)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"the kept areas cannot be read ({error}); inspect the image again") from error
    if vectors.ndim != 2 or vectors.shape[1] != LENGTH or boxes.shape != (len(vectors), 4):
        raise InputError("the kept areas are of another version of the program; inspect the image again")
    return tuple(
        ((int(b[0]), int(b[1]), int(b[2]), int(b[3])), vector) for b, vector in zip(boxes, vectors, strict=True)
    )
