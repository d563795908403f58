"""The pictures of an inspection that the record keeps, so that it can be shown again without its model."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from reason_iad.images import encode_jpeg, encode_png
from reason_iad.naming.kept import pack_areas
from reason_iad.reporting.figures import map_overlay
from reason_iad.reporting.html import fitted, shrunk, square

THUMBNAIL, PREVIEW, MAP = 144, 1280, 512  # longer side, in pixels
MAX_SHOWN = 12  # references


def pictures(found: Any) -> dict[str, tuple[str, bytes]]:
    """Encode the pictures of an `Inspection`, as (media type, bytes) by role."""
    files = {
        "preview": ("image/jpeg", encode_jpeg(shrunk(found.pixels, PREVIEW))),
        "thumbnail": ("image/jpeg", encode_jpeg(square(found.pixels, THUMBNAIL), quality=82)),
    }
    if found.anomaly_map is not None:
        overlay = map_overlay(found.anomaly_map, fitted(found.report.image_hw, MAP))
        files["map"] = ("image/png", encode_png(overlay))
        values = io.BytesIO()
        np.save(values, np.asarray(found.anomaly_map, dtype=np.float32), allow_pickle=False)
        files["map-values"] = ("application/x-npy", values.getvalue())
    if getattr(found, "areas", ()):
        files["areas"] = ("application/octet-stream", pack_areas(found.areas))
    for number, pixels in enumerate(found.reference_pixels[:MAX_SHOWN], 1):
        files[f"shown-{number}"] = ("image/jpeg", encode_jpeg(pixels, quality=92))
    return files
