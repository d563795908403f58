"""From what Pillow decoded to RGB: color profiles, CMYK and Lab, transparency."""

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from reason_iad.images.limits import Pixels

SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
UNSEEN = 2  # levels of 255 by which a profile may differ from sRGB without being converted
HARD_SHARE = 0.05  # of a picture that may be half transparent, as soft shadows are
LEAST_OPAQUE = 0.005
BLOCK = 5
# Both have the white of D65; from the primaries of IEC 61966-2-1 and of Adobe RGB (1998).
_ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])


def to_rgb(image: Image.Image, label: str, notes: list[str]) -> Pixels:
    """Convert an image of 8 bits a channel to RGB (H, W, 3); what was done is added to `notes`."""
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        profile = image.info.get("icc_profile")
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")
        image.info["icc_profile"] = profile
    return lay_on_white(_opaque(image, label, notes), alpha, label, notes)


def lay_on_white(rgb: Pixels, alpha: npt.NDArray[np.uint8] | None, label: str, notes: list[str]) -> Pixels:
    """Lay RGB (H, W, 3) on white by its alpha (H, W), unless nobody meant that as transparency."""
    if alpha is None or bool((alpha == 255).all()):
        return rgb
    if int(alpha.min()) == int(alpha.max()):
        notes.append(f"{label} has an alpha channel that is {int(alpha.max())} throughout; it was left out")
        return rgb
    if _share_of_blocks((alpha > 5) & (alpha < 250)) >= HARD_SHARE:
        notes.append(
            f"{label} has a fourth channel that looks like a picture (near infrared, say), not like transparency; "
            "it was left out"
        )
        return rgb
    if float((alpha >= 128).mean()) < LEAST_OPAQUE:
        notes.append(f"{label} has an alpha channel that would hide nearly all of it; it was left out")
        return rgb
    notes.append(f"{label} has transparency; it was laid on white")
    share = alpha[..., None].astype(np.uint16)
    return ((rgb * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def by_profile(pixels: Pixels, profile: bytes, label: str, notes: list[str]) -> Pixels:
    """RGB (H, W, 3) of gray or RGB pixels (H, W, 1 or 3) by their color profile."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.info["icc_profile"] = profile
    return _opaque(image, label, notes)


def names_adobe_rgb(image: Image.Image) -> bool:
    """Whether a JPEG says by its EXIF alone, as the cameras' standard DCF has it, that its colors are Adobe RGB."""
    if image.format not in ("JPEG", "MPO") or "icc_profile" in image.info or image.mode != "RGB":
        return False
    exif = image.getexif()
    space, interoperability = exif.get_ifd(0x8769).get(0xA001), exif.get_ifd(0xA005).get(1)
    return space == 2 or str(interoperability or "").strip("\0 ") == "R03"


def from_adobe_rgb(pixels: Pixels) -> Pixels:
    """SRGB (H, W, 3) of Adobe RGB (1998); what sRGB cannot show is cut."""
    result = np.empty_like(pixels)
    for start in range(0, len(pixels), 256):
        linear = (pixels[start : start + 256] / 255.0) ** 2.19921875 @ _ADOBE_TO_SRGB.T
        linear = np.clip(linear, 0, 1)
        curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        result[start : start + 256] = (255 * curved).round()
    return result


def _opaque(image: Image.Image, label: str, notes: list[str]) -> Pixels:
    """RGB (H, W, 3) of an image without transparency, by its color profile where it has one."""
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        notes.append(f"{label} is in Lab colors; it was converted to sRGB")
        lab = ImageCms.createProfile("LAB")
        from_lab = ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return np.array(ImageCms.applyTransform(image, from_lab))
    if image.mode in ("1", "P", "YCbCr", "HSV", "RGBX", "I;16"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        try:
            transform, name = _transform(profile, image.mode)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError, AttributeError):
            notes.append(f"{label} holds a color profile that cannot be used; it was left out")
        else:
            if transform is not None:
                notes.append(f"{label} was converted to sRGB by its color profile ({name})")
                return np.array(ImageCms.applyTransform(image, transform))
    elif image.mode == "CMYK":
        notes.append(f"{label} is CMYK; it was converted to RGB without a color profile")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The way from a profile to sRGB, None where it changes nothing that can be seen; and the profile's name.

    Raises:
        ValueError, PyCMSError: the profile is damaged, or for another kind of image.
    """
    opened = ImageCms.getOpenProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space
    if SPACES.get(space) != mode:
        raise ValueError(f"a profile of {space!r} in an image of mode {mode}")
    name = " ".join("".join(c for c in ImageCms.getProfileDescription(opened) if c.isprintable()).split())[:60]
    transform = ImageCms.buildTransform(
        opened, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "RGB":
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(len(steps), -1, 3)
    elif mode == "L":
        grid = np.repeat(steps[None], 16, axis=0)
    else:
        return transform, name
    probe = Image.fromarray(grid)
    seen = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int)
    same = int(np.abs(seen - np.asarray(probe.convert("RGB")).astype(int)).max()) <= UNSEEN
    return (None if same else transform), name


def _share_of_blocks(mask: npt.NDArray[np.bool_]) -> float:
    """Share of a mask (H, W) that is filled by whole squares: edges of a cut-out have none."""
    for _ in range(BLOCK - 1):
        mask = mask[1:] & mask[:-1]
    for _ in range(BLOCK - 1):
        mask = mask[:, 1:] & mask[:, :-1]
    return float(mask.mean()) if mask.size else 0.0
