"""From a file to an image: what is accepted, which reader takes it, and what is said about it."""

from __future__ import annotations

import io
import re
import stat
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from reason_iad.errors import ImageError
from reason_iad.files import sha256
from reason_iad.images.color import by_profile, from_adobe_rgb, lay_on_white, names_adobe_rgb, to_rgb
from reason_iad.images.deep import SRGB_GAMMA, DeepImage, deep_pillow, deep_png, deep_pnm, pnm_size, power_of
from reason_iad.images.doubts import MOST_SCANS, SMALL, black_rows, color_bits, frame_note, name_kind, zero_tail
from reason_iad.images.limits import FORMATS, ImageLimits, LoadedImage, Pixels, reads_heic
from reason_iad.images.scale import Scale, apply_scale, find_mark, guess_scale, kind_of, shared_scale, without
from reason_iad.images.tiff import deep_tiff, read_layout
from reason_iad.languages import translatable

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
# What Pillow and the readers here raise for damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """One file on its way to pixels."""

    data: bytes
    label: str
    limits: ImageLimits
    scale: Scale | None  # of the references
    notes: list[str]


def read_image(
    source: str | Path | bytes, limits: ImageLimits | None = None, name: str | None = None, scale: Scale | None = None
) -> LoadedImage:
    """Read one image from a file or from bytes, refusing what cannot be inspected.

    Args:
        source: a path, or the bytes of a file.
        limits: what is accepted; by default what the environment says.
        name: what messages call it, by default the file's name.
        scale: the range of values of the references that it is compared with, for files of more than 8 bits.

    Raises:
        ImageError: missing, empty, truncated, not an image, too small, too large, or of an absurd shape.
    """
    limits = limits or ImageLimits.from_environment()
    if isinstance(source, bytes):
        label, data = name or "image", source
    else:
        path = Path(source)
        label, data = name or path.name, _read_bytes(path, limits)
    if not data:
        raise ImageError(f"{label} is empty (0 bytes); expected an image file: check that its copy has finished")
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"{label} has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted: export it smaller"
        )
    job = _Job(data, label, limits, scale, [])
    pixels, used = _decode(job)
    if min(pixels.shape[:2]) < SMALL:
        height, width = pixels.shape[:2]
        job.notes.append(f"{label} is only {width} x {height} pixels; it shows no detail smaller than one of them")
    kept = None if used is None else data
    return LoadedImage(pixels, label, sha256(data), tuple(job.notes), used, kept)


def at_scale(image: LoadedImage, scale: Scale | None) -> LoadedImage:
    """The same image read by the scale of what it is compared with, where that is another one."""
    if image.data is None or scale is None or image.scale == scale:
        return image
    return read_image(image.data, ImageLimits(max_pixels=image.pixels.size), image.name, scale)


def alike(images: Sequence[LoadedImage]) -> tuple[list[LoadedImage], Scale | None]:
    """Images that belong together, such as references, by one scale: that of what they are compared with, too."""
    scale = shared_scale(image.scale for image in images)
    return [at_scale(image, scale) for image in images], scale


def _read_bytes(path: Path, limits: ImageLimits) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; expected one image file")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait, a device never end
            raise ImageError(f"{path} is no regular file; expected an image file")
        size = status.st_size
        if size > limits.max_bytes:
            raise ImageError(f"{path} has {size:,} bytes; at most {limits.max_bytes:,} are accepted: export it smaller")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; expected an image file: check the path") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except ValueError as error:  # a null byte in the name
        raise ImageError(f"{str(path)!r} is no file name; expected the path of an image file") from error


def _decode(job: _Job) -> tuple[Pixels, Scale | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, before anything is decoded
            return _decode_deep(job) or _decode_plain(job)
    except UnidentifiedImageError as error:
        expected = ", ".join(FORMATS)
        kind = name_kind(job.data)
        if kind is None:
            first = f"is not an image this program reads (its first bytes are {job.data[:8]!r})"
            raise ImageError(f"{job.label} {first}; expected {expected}") from error
        told = f"{job.label} is not an image this program reads: it is {kind}; expected {expected}"
        if kind in ("a HEIC image", "a HEIF image"):
            remedy = "export it as JPEG, or install pillow-heif (pip install 'reason-iad[heic]')"
        else:
            remedy = "export it as PNG or TIFF"
        raise ImageError(f"{told}: {remedy}") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError(f"{job.label} is too large to decode safely: crop or downscale it") from error
    except ImageError:
        raise
    except _DAMAGE as error:
        what = " ".join(str(error).split())[:200]
        if re.search(r"unsupported|not supported|unknown", what, re.IGNORECASE):
            raise ImageError(
                f"{job.label} is of a kind that is not read here ({what}); expected an image of 8 or 16 bits: export "
                "it as PNG or TIFF"
            ) from error
        raise ImageError(
            f"{job.label} is damaged or incomplete ({what}); expected a whole image: copy it again"
        ) from error


def _decode_deep(job: _Job) -> tuple[Pixels, Scale | None] | None:
    """Read what Pillow would not open, or not wholly; None for all else."""
    if job.data[:4] in _TIFF:
        layout = read_layout(job.data, job.label)
        job.limits.check_size(layout.width, layout.height, job.label)
        if layout.larger is not None:
            job.notes.append(
                f"{job.label} begins with a page of {layout.width} x {layout.height} pixels, which was inspected; its "
                f"second page is larger ({layout.larger[0]} x {layout.larger[1]})"
            )
        if layout.pillow_reads:
            return None
        if layout.more:
            job.notes.append(f"{job.label} has several pages; the first was inspected")
        return _finish(deep_tiff(job.data, layout, job.label, job.limits), job, layout.orientation, plain=True)
    if job.data[:1] == b"P" and (deep := _deep_pnm(job)) is not None:
        return _finish(deep, job, plain=True)
    return None


def _deep_pnm(job: _Job) -> DeepImage | None:
    if job.data[1:2] not in (b"5", b"6", b"F", b"f") or not job.data[2:3].isspace():
        return None
    job.limits.check_size(*pnm_size(job.data), job.label)
    return deep_pnm(job.data)


def _decode_plain(job: _Job) -> tuple[Pixels, Scale | None]:
    """Read what Pillow opens."""
    image: Image.Image = Image.open(io.BytesIO(job.data), formats=_formats())
    job.limits.check_size(*image.size, job.label)
    if image.format == "JPEG" and job.data.count(b"\xff\xda") > MOST_SCANS:
        raise ImageError(f"{job.label} is a JPEG of more than {MOST_SCANS} scans; expected a camera's: export it again")
    if (note := frame_note(image, len(job.data), job.label)) is not None:
        job.notes.append(note)
    orientation = _orientation(image, job)
    deep = deep_png(image, job.data, job.label) or deep_pillow(image)
    if deep is not None:
        return _finish(deep, job, orientation)
    image.load()
    if count := zero_tail(job.data, image.format):
        job.notes.append(
            f"{job.label} ends with {count:,} bytes of zeros: a copy that was not finished; its lower part may be blank"
        )
    pixels = _as_stated(image, to_rgb(image, job.label, job.notes), job)
    if image.format in ("BMP", "DIB", "PPM") or image.info.get("compression") == "raw":
        _say_black_rows(pixels, job)
    # Pillow turns a TIFF itself as it loads it.
    return _turn(pixels, 1 if image.format == "TIFF" else orientation, orientation, job), None


def _as_stated(image: Image.Image, pixels: Pixels, job: _Job) -> Pixels:
    """Pixels (H, W, 3) by what else than a profile a file says of its values."""
    if (power := power_of(image)) != 1.0:
        table = (255 * (np.arange(256) / 255) ** power).round().astype(np.uint8)
        job.notes.append(_gamma_note(job.label, power))
        return table[pixels]
    if _names_adobe_rgb(image):
        job.notes.append(f"{job.label} was converted to sRGB from Adobe RGB, which its EXIF names")
        return from_adobe_rgb(pixels)
    if (bits := color_bits(job.data, image.format)) > 8:
        job.notes.append(
            f"{job.label} has {bits} bits of color, of which the upper 8 were read; where its camera uses fewer bits "
            "it comes out dark: export it as PNG or TIFF"
        )
    return pixels


def _names_adobe_rgb(image: Image.Image) -> bool:
    try:
        return names_adobe_rgb(image)
    except _DAMAGE:  # damaged EXIF names nothing
        return False


def _gamma_note(label: str, power: float) -> str:
    return translatable(f"{label} states a gamma of {SRGB_GAMMA / power:.3g}; its values were brought to that of sRGB")


def _formats() -> tuple[str, ...]:
    if not reads_heic():
        return FORMATS
    import pillow_heif  # type: ignore[import-not-found,unused-ignore]

    pillow_heif.register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")


def _orientation(image: Image.Image, job: _Job) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        job.notes.append(f"{job.label} has damaged EXIF data; it was not turned")
        return 1


def _finish(deep: DeepImage, job: _Job, orientation: int = 1, plain: bool = False) -> tuple[Pixels, Scale | None]:
    """Scale values to 8 bits, undo inversion and rotation, and say so."""
    label, values, scale = job.label, deep.values, None
    job.notes.extend(deep.notes)
    if values.dtype == np.uint8:
        pixels = values
    else:
        pixels, scale = _scaled(deep, job)
    if deep.inverted:
        pixels = 255 - pixels
        job.notes.append(f"{label} stores white as 0; it was inverted")
    if deep.profile is not None:
        pixels = by_profile(pixels, deep.profile, label, job.notes)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if plain:
        _say_black_rows(pixels, job)
    pixels = lay_on_white(pixels, deep.alpha, label, job.notes)
    return _turn(pixels, orientation, orientation, job), scale


def _scaled(deep: DeepImage, job: _Job) -> tuple[Pixels, Scale]:
    label = job.label
    values, mark, marked = deep.values, find_mark(deep.values), None
    if mark is not None:
        marked = values == mark
        values = without(values, marked)
        job.notes.append(
            f"{label} holds {mark:g} in {marked.mean():.1%} of its pixels, far from all other values: it was taken for "
            "the mark of what was not measured, and these pixels became black"
        )
    own, reason = guess_scale(values, deep.bits)
    scale = own
    if job.scale is not None and job.scale.kind == kind_of(values):
        scale, reason = job.scale, "as its references are read"
    elif job.scale is not None:
        job.notes.append(
            f"{label} holds {kind_of(values)} values and its references do not; it was read by its own scale"
        )
    pixels, above = apply_scale(values, scale, deep.power)
    if marked is not None:
        pixels[marked] = 0
    if deep.power != 1.0:
        job.notes.append(_gamma_note(label, deep.power))
    cut = f"; {100 * above:.2g} % of them lie above and became white" if above else ""
    job.notes.append(f"{label} has more than 8 bits a channel; values {scale} were mapped to 0 to 255 ({reason}){cut}")
    return pixels, scale


def _turn(pixels: Pixels, orientation: int, said: int, job: _Job) -> Pixels:
    """Turn pixels (H, W, 3) upright by an EXIF orientation of 1 to 8."""
    if said in range(2, 9):
        job.notes.append(f"{job.label} was turned upright by its EXIF orientation ({said})")
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _say_black_rows(pixels: Pixels, job: _Job) -> None:
    if count := black_rows(pixels):
        job.notes.append(
            f"{job.label} has {count} rows at an edge that hold nothing but zeros; unless that part is black, its copy "
            "was not finished"
        )


ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half-written image is an error, not a gray half
