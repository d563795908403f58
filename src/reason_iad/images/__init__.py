"""Reading images safely and moving between pixel grids. The only user of Pillow's readers.

An image is `pixels (H, W, 3)` uint8 RGB in its upright orientation. Everything that had to be changed on the way
(rotation, depth and range, photometric interpretation, color profile, alpha, further bands and frames) is said in
`notes`, so that a report can repeat it; docs/inputs.md says what is read how.

    reading    from a file to pixels: the one way in
    limits     what is accepted, and what a read image is
    deep       values of more than 8 bits from PNG, PNM, PFM, JPEG 2000
    tiff       values from any layout of TIFF
    scale      from values to 8 bits: by stated depth, or a robust maximum, alike for references and image
    color      profiles, CMYK, alpha
    doubts     what is odd about a file that can be read, and names of kinds that cannot
    geometry   resize, compress
    lot        which files of a folder are images, and what the others are
    hot_folder which images of a folder are complete and new; for watching and for lines
    folder_looks what changed in a folder since the last look
"""

from reason_iad.images.doubts import coarse_note
from reason_iad.images.geometry import encode_jpeg, encode_png, resize
from reason_iad.images.limits import FORMATS, SUFFIXES, ImageLimits, LoadedImage, Pixels, from_pixels, readable_suffixes
from reason_iad.images.lot import Lot, LotImage, find_images, find_lot
from reason_iad.images.reading import alike, at_scale, read_image
from reason_iad.images.scale import Scale, shared_scale

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "ImageLimits",
    "LoadedImage",
    "Lot",
    "LotImage",
    "Pixels",
    "Scale",
    "alike",
    "at_scale",
    "coarse_note",
    "encode_jpeg",
    "encode_png",
    "find_images",
    "find_lot",
    "from_pixels",
    "read_image",
    "readable_suffixes",
    "resize",
    "shared_scale",
]
