"""Which patches show the part and which its background, for parts that lie on a background that changes.

The border of an image shows background; what differs from it in color or texture is the part. The mask is optional: a
part that fills the image has no background, and then nothing is left out.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from reason_iad.images import Pixels, resize

FOREGROUND = "foreground"  # its name among the features
SIDE = 56  # cells a side of the mask
BORDER = 0.04  # share of the side that is taken for background
SMALLEST = 0.05  # a part of less than this share of the image is not believed
CLEAR = 3.0  # the border must be this many times calmer than the whole image


def foreground_mask(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """Cells (SIDE, SIDE) of an image (H, W, 3) that show the part; all of them where no background can be told."""
    from scipy import ndimage

    side = SIDE * 4
    image = ndimage.gaussian_filter(resize(pixels, (side, side)).astype(np.float32), (1.5, 1.5, 0))
    rim = max(2, round(BORDER * side))
    border = np.ones((side, side), dtype=bool)
    border[rim:-rim, rim:-rim] = False
    usual = np.median(image[border], axis=0)
    distance = np.abs(image - usual).max(axis=2)
    noise = float(np.quantile(distance[border], 0.95)) + 2.0  # gray levels
    found = distance > noise
    everything = np.ones((SIDE, SIDE), dtype=bool)
    if float(np.quantile(distance, 0.95)) < CLEAR * noise:
        return everything
    found = ndimage.binary_fill_holes(ndimage.binary_opening(found, iterations=2))
    cells = found.reshape(SIDE, 4, SIDE, 4).any(axis=(1, 3))
    cells = ndimage.binary_dilation(cells, iterations=2)
    return everything if cells.mean() < SMALLEST else cast(npt.NDArray[np.bool_], cells)
