"""What an image is called: by who asks, by recognition, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reason_iad.evidence.profile_store import find_profile
from reason_iad.images import Pixels
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.naming.store import find_named
from reason_iad.recognition.learned import LearnedPrototypes
from reason_iad.recognition.prototypes import CategoryPrototypes, image_embedding
from reason_iad.types import CategorySource

if TYPE_CHECKING:
    from reason_iad.models.vision_cache import CachedVision


@dataclass(frozen=True)
class Named:
    """A category, how it is known, and how probable it is where it was recognized."""

    name: str
    source: CategorySource
    probability: float | None = None


@dataclass(frozen=True, eq=False)
class Categories:
    """Names of images, from the knowledge, the profiles of this machine, and recognition where there are prototypes."""

    knowledge: KnowledgeBase
    prototypes: CategoryPrototypes | None
    _learned: LearnedPrototypes = field(default_factory=LearnedPrototypes)

    def given(self, category: str) -> Named:
        """The category that a person named.

        Raises:
            InputError: neither the knowledge nor a profile, nor named defects have it; names the nearest.
        """
        learned = find_profile(category) or find_named(
            category
        )  # reported by its own name, though it be an alias in the starter knowledge
        return Named(learned.name if learned else self.knowledge.check_category(category), "given")

    def recognize(self, pixels: Pixels, vision: CachedVision) -> Named:
        """The category that an image (H, W, 3) shows, or unknown."""
        if self.prototypes is None:
            return Named("unknown", "unknown")
        name, probability = self._learned.extend(self.prototypes).recognize(image_embedding(pixels, vision))
        return Named(name, "unknown" if name == "unknown" else "recognized", probability)

    def recognizable(self) -> tuple[str, ...]:
        """What recognition can name, as far as the knowledge knows it."""
        if self.prototypes is None:
            return ()
        found = (self.knowledge.find_category(name) for name in self._learned.extend(self.prototypes).categories)
        return tuple(name for name in found if name is not None)
