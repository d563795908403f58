"""Learning what good parts of a category look like, and loading what was learned: the short way, for Python.

profile = learn("bracket", "good/")
profile = profile.add_feedback("part.png", "normal", vision)   # see `CategoryProfile`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reason_iad.evidence.features import EvidenceOptions
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.images import LoadedImage, Pixels
    from reason_iad.models.base import VisionTowers

__all__ = ["learn", "load_profile"]


def learn(
    category: str,
    images: str | Path | Sequence[Pixels | LoadedImage | str | Path],
    options: EvidenceOptions | None = None,
    vision: VisionTowers | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CategoryProfile:
    """Learn a category from images of good parts, and keep the profile where inspections of the category find it.

    Args:
        category: name of the product.
        images: a folder, or paths, pixels (H, W, 3) and images that were read before.
        options: how the parts are compared; the defaults where None.
        vision: loaded towers; the bundled ones are loaded where None.
        progress: called with the number that is done, the number of all, and the name of the next.

    Returns:
        The profile, which also says what its false-alarm rate can promise.

    Raises:
        EvidenceError: there is no image, or the name of the category holds no letter.
        ImageError: one of them cannot be read.
        WeightsError: the vision towers cannot be fetched.
    """
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.evidence.profile_store import profile_folder
    from reason_iad.images import find_images
    from reason_iad.models.vision import BundledVision
    from reason_iad.recognition.prototypes import image_embedding

    profile_folder(category)  # refuses a name before anything heavy is loaded
    normals = find_images(images) if isinstance(images, str | Path) else images
    towers = BundledVision.load() if vision is None else vision
    profile = CategoryProfile.learn(
        category, normals, towers, options, lambda pixels: image_embedding(pixels, towers), progress
    )
    profile.save()
    return profile


def load_profile(category: str) -> CategoryProfile:
    """The profile of a category that was learned on this machine.

    Raises:
        EvidenceError: there is none, or it is damaged.
    """
    from reason_iad.evidence.profile_store import load_stored

    return load_stored(category)
