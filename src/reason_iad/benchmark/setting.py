"""What a run varies: one frozen setting, the part of the key that all its records share."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from reason_iad.errors import InputError
from reason_iad.files import sha256_of_json
from reason_iad.inspection.options import NOTHING_TO_COMPARE, InspectorOptions, setting


@dataclass(frozen=True)
class Setting(InspectorOptions):
    """How every question of a run is asked: the settings of the method, and what the harness itself varies."""

    shots: int = setting(1, "normal references shown with each image", low=0, high=64, metavar="K")
    templates: Literal["random", "similar"] = setting(
        "random", "which references: any of the category, or those most like the image"
    )
    category: Literal["recognized", "given"] = setting(
        "recognized", "whether the true category is told; oracle knowledge tells it in any case"
    )

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        super().__post_init__()
        if self.reason == "never" and not self.shots:
            raise InputError(NOTHING_TO_COMPARE)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    def inspector_options(self, image: str) -> InspectorOptions:
        """Options of the inspector for one image: its noise depends on seed and image, never on the order."""
        digest = hashlib.sha256(f"{self.seed}/{image}".encode()).digest()
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(InspectorOptions)}
        shared["seed"] = int.from_bytes(digest[:4], "big")
        if not self.shots:
            shared["evidence"] = "off"  # nothing that a user taught may speak for references
        return InspectorOptions(**shared)

    @property
    def gives_category(self) -> bool:
        """Whether the true category is told, as the oracle's knowledge needs."""
        return self.category == "given" or self.knowledge == "oracle"

    @property
    def context(self) -> tuple[Any, ...]:
        """What the prompt before the question depends on: settings with equal contexts share it."""
        shots = (self.shots, self.templates) if self.shots else (0, "")
        evidence = self.evidence if self.shots else "off"
        compared = (evidence, self.streams, self.backbone, self.max_overkill)
        return (self.model, *shots, self.knowledge, self.top_k, *compared, self.gives_category, self.reason)

    @property
    def fingerprint(self) -> str:
        """Hash over all fields: 16 hexadecimal digits."""
        return sha256_of_json(self.to_mapping(), sort_keys=True)[:16]

    def __str__(self) -> str:
        shown = f"{self.shots}-shot" + (f" {self.templates}" if self.shots else "")
        depth = f" behind {self.latent_depth:g} of the layers" if self.latent_depth else ""
        details = "" if self.details == "off" else f", details {self.details}"
        reward = "" if self.reward == "entropy" else f", reward {self.reward}"
        return (
            f"{self.model}, {shown}, knowledge {self.knowledge}, latents {self.latents}{depth}, "
            f"injection {self.injection}{details}{reward}, evidence {self.evidence if self.shots else 'off'}"
        )
