"""What folders and files of inspection data are called: by people, scripts and data sets, in any case and spelling."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from reason_iad.images import readable_suffixes

NORMAL = frozenset(
    {"good", "goods", "ok", "okay", "normal", "normals", "nominal", "pass", "passed", "healthy", "io", "nondefective",
     "nodefect", "nodefects", "defectfree", "nonanomalous", "anomalyfree", "faultfree", "flawless"}
)  # fmt: skip
TRAINING = frozenset({"train", "training", "reference", "references", "ref", "refs"})
VALIDATION = frozenset({"validation", "valid", "val"})
TEST = frozenset({"test", "tests", "testing", "testpublic"})
UNLABELED = frozenset({"testprivate", "testprivatemixed"})  # published without labels
MASKS = frozenset({"groundtruth", "groundtruths", "gt", "mask", "masks"})
_MARK = re.compile(r"^(?P<stem>.+?)[._\- ]+(mask|masks|gt|label|labels|groundtruth|seg|segmentation)$", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|bmp|tiff?|webp)$", re.IGNORECASE)


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A name without case and marks between words.

    >>> plain("Ground_Truth"), plain("Non-Defective")
    ('groundtruth', 'nondefective')
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def is_normal(name: str) -> bool:
    """Whether a folder's name says that its parts are good.

    >>> is_normal("OK"), is_normal("Nominal"), is_normal("not_good"), is_normal("NG")
    (True, True, False, False)
    """
    return plain(name) in NORMAL


def masked_stem(stem: str) -> str | None:
    """The stem of the image that a mask's name is made of; None where the name is that of no mask.

    >>> masked_stem("001_mask"), masked_stem("001.MASK"), masked_stem("001.png_mask"), masked_stem("unmasked")
    ('001', '001', '001', None)
    """
    match = _MARK.match(stem)
    if match is None:
        return None
    return masked_stem(match["stem"]) or _IMAGE_SUFFIX.sub("", match["stem"])


def bare_stem(path: Path) -> str:
    """What a mask's file name and its image's have in common, without case.

    >>> bare_stem(Path("a/001_MASK.png")), bare_stem(Path("001.jpg.png")), bare_stem(Path("b/001.JPG"))
    ('001', '001', '001')
    """
    return (masked_stem(path.stem) or _IMAGE_SUFFIX.sub("", path.stem)).casefold()


def child(folder: Path, names: frozenset[str]) -> tuple[Path, ...]:
    """Folders directly in a folder that have one of these names, in any spelling."""
    return tuple(one for one in subfolders(folder) if plain(one.name) in names)


def subfolders(folder: Path) -> tuple[Path, ...]:
    """Folders directly in a folder, sorted; hidden ones and what archives leave behind are passed over."""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return ()
    return tuple(path for path in found if not _is_hidden(path.name) and path.is_dir())


def images_below(folder: Path) -> list[Path]:
    """Every image in a folder and the folders in it, sorted; links to folders that were met are not followed twice."""
    return sorted(_walk(folder, readable_suffixes()))


def _walk(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    met: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in files:
            if not _is_hidden(name) and os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122 - a million files
                yield Path(place) / name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
