"""What a file says pixel by pixel, before it is made an RGB picture: numbers, palette, alpha, orientation.

Pictures of parts are read by `reading`; masks need what that rightly flattens.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from reason_iad.errors import ImageError
from reason_iad.images.limits import FORMATS, ImageLimits

_ORIENTATION = 0x0112


@dataclass(frozen=True, eq=False)
class RawImage:
    """One image file in the orientation it is stored in.

    Attributes:
        values: (H, W) numbers, or (H, W, 3) colors; empty where pixels were not asked for.
        palette: (256, 3) colors that `values` number; None where they are no numbers of colors.
        alpha: (H, W) from 0, transparent, to 255; None where there is none.
        image_hw: height and width.
        orientation: of EXIF, 1 to 8; 1 is upright.
        format: as Pillow names it.
    """

    values: npt.NDArray[Any]
    palette: npt.NDArray[np.uint8] | None
    alpha: npt.NDArray[np.uint8] | None
    image_hw: tuple[int, int]
    orientation: int
    format: str


def read_raw(path: Path, pixels: bool = True) -> RawImage:
    """Read a file as it is stored.

    Args:
        path: of the file.
        pixels: False for size and orientation alone.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            most = ImageLimits.from_environment().max_pixels
            if width * height > most:
                raise ImageError(f"{path.name} has {width * height:,} pixels; at most {most:,} are accepted")
            orientation = int(image.getexif().get(_ORIENTATION, 1))
            orientation = orientation if orientation in range(1, 9) else 1
            kind = str(image.format)
            if not pixels:
                return RawImage(np.empty((0, 0), np.uint8), None, None, (height, width), orientation, kind)
            image.load()
            return RawImage(*_split(image), (height, width), orientation, kind)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise ImageError(f"{path} cannot be read ({error}); expected an image: copy it again") from error


def _split(
    image: Image.Image,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]:
    """Values, palette and alpha."""
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    if image.mode in ("P", "PA"):
        numbers = image if image.mode == "P" else image.getchannel("P")
        colors = np.zeros((256, 3), np.uint8)
        listed = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        colors[: len(listed)] = listed
        return np.asarray(numbers), colors, alpha
    if image.mode in ("RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"):
        return np.asarray(image.convert("RGB")), None, alpha
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel(0)), None, alpha
    return np.asarray(image), None, alpha
