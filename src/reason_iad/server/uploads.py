"""Looking at bytes from outside before anything else does: is it one image, whole, of a size that can be inspected?

Nothing here opens a path. Every refusal says what was found and what is accepted.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile

from reason_iad.errors import ImageError
from reason_iad.files import sha256
from reason_iad.images import LoadedImage, read_image
from reason_iad.languages import translatable
from reason_iad.server.problems import HttpProblem, Upload
from reason_iad.server.settings import Limits

ACCEPTED = "a JPEG, PNG, BMP, TIFF, WebP, GIF, PPM, JPEG 2000 or AVIF image"
_MARKUP = re.compile(rb"<!doctype\s+html|<html|<script|<svg[\s>]|<\?php|<iframe", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_OTHER_KINDS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def check_image(data: bytes, name: str, limits: Limits) -> LoadedImage:
    """Decode one image from outside, or refuse it with the reason.

    Raises:
        HttpProblem: 400 empty, 413 too large, 415 no image or more than an image, 422 damaged or of an unusable shape.
    """
    if not data:
        raise HttpProblem(400, "empty_file", f"{name} is empty (0 bytes); expected {ACCEPTED}")
    if (kind := _other_kind(data)) is not None:
        raise HttpProblem(415, "not_an_image", f"{name} is {kind}; expected {ACCEPTED}")
    try:
        loaded = read_image(data, limits.image, name)
    except ImageError as error:
        raise _problem(str(error), limits) from error
    if (kind := _hidden_kind(data)) is not None:
        raise HttpProblem(
            415, "polyglot", f"{name} is an image and {kind} at once; expected an image alone: export it again"
        )
    return loaded


def from_base64(text: str, name: str, limits: Limits) -> bytes:
    """Decode base64 as programs write it: alone or in a data URL, wrapped into lines, URL-safe, without padding.

    Raises:
        HttpProblem: 422 no base64, 413 longer than allowed.
    """
    head, comma, rest = text.partition(",") if text[:5].casefold() == "data:" else ("", "", text)
    if head and not (comma and head.casefold().endswith(";base64")):
        reason = translatable(
            f"{name} is a data URL that begins {head[:60]!r}; expected data:image/png;base64, and the bytes"
        )
        raise _not_base64(name, reason, text)
    digits = "".join(rest.split()).translate(_URL_SAFE).rstrip("=")
    if len(digits) * 3 // 4 > limits.max_bytes:
        raise HttpProblem(413, "too_large", f"{name} has over {limits.max_bytes:,} bytes; export it smaller")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        reason = translatable(f"{name} is not base64 ({error}); expected the image file's bytes in base64")
        raise _not_base64(name, reason, text) from error


def _not_base64(name: str, message: str, text: str) -> HttpProblem:
    problem = HttpProblem(422, "not_base64", message)
    problem.upload = Upload(name, sha256(text.encode("utf-8", "replace")))
    return problem


def _other_kind(data: bytes) -> str | None:
    """What bytes are, where their beginning says that they are no image."""
    for magic, kind in _OTHER_KINDS:
        if data.startswith(magic):
            return kind
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<"):
        return "an SVG drawing, which may hold programs" if b"<svg" in data[:4096].lower() else "a text with markup"
    return None


def _hidden_kind(data: bytes) -> str | None:
    """What else an image's bytes are: a file that two programs read differently deceives one of them."""
    if _MARKUP.search(data):
        return "a web page"
    if b"%PDF-" in data[:1024]:
        return "a PDF document"
    if b"PK\x05\x06" in data and zipfile.is_zipfile(io.BytesIO(data)):
        return "a ZIP archive"
    return None


def _problem(message: str, limits: Limits) -> HttpProblem:
    """Give an image error its status: too much is 413, no image 415, the rest 422."""
    if "million pixels" in message or "bytes; at most" in message or "on a side" in message or "too large" in message:
        return HttpProblem(413, "too_large", message.replace(", or set REASON_IAD_MAX_PIXELS", ""))
    if "is not an image" in message:
        return HttpProblem(415, "not_an_image", message)
    return HttpProblem(422, "unusable_image", message)
