"""What a run varies: one frozen setting, the part of the key that all its records share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reason_iad.datasets.mmad import Templates
from reason_iad.errors import InputError
from reason_iad.inspection.options import InspectorOptions
from reason_iad.types import KnowledgeMode, LatentMode


@dataclass(frozen=True)
class Setting:
    """How every question of a run is asked; the defaults are the full method with one reference."""

    model: str = "nano"
    shots: int = 1
    templates: Templates = "random"
    knowledge: KnowledgeMode = "retrieved"
    latents: LatentMode = "on"
    injection: Literal["off", "on"] = "on"
    evidence: Literal["off", "on"] = "on"
    category: Literal["recognized", "given"] = "recognized"  # "oracle" knowledge gives it in any case
    num_steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        if not 0 <= self.shots <= 64:
            raise InputError(f"shots is {self.shots}; expected a number of references from 0 to 64")
        for name, values in (("templates", ("random", "similar")), ("category", ("recognized", "given"))):
            if getattr(self, name) not in values:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(values)}")
        self.inspector_options("")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Setting:
        """Make a setting from parsed TOML or JSON.

        Raises:
            InputError: a name is not known, or a value has the wrong type or no meaning.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := set(values) - set(fields):
            raise InputError(f"the setting names {sorted(unknown)}; expected some of {sorted(fields)}")
        for name, value in values.items():
            expected = type(fields[name].default)
            if not isinstance(value, expected) or isinstance(value, bool):
                raise InputError(f"{name} is {value!r}; expected {expected.__name__}, such as {fields[name].default!r}")
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    def inspector_options(self, image: str) -> InspectorOptions:
        """Options of the inspector for one image: its noise depends on seed and image, never on the order."""
        digest = hashlib.sha256(f"{self.seed}/{image}".encode()).digest()
        return InspectorOptions(
            model=self.model,
            knowledge=self.knowledge,
            latents=self.latents,
            injection=self.injection,
            evidence=self.evidence if self.shots else "off",  # nothing that a user taught may speak for references
            seed=int.from_bytes(digest[:4], "big"),
            num_steps=self.num_steps,
        )

    @property
    def gives_category(self) -> bool:
        """Whether the true category is told, as the oracle's knowledge needs."""
        return self.category == "given" or self.knowledge == "oracle"

    @property
    def context(self) -> tuple[Any, ...]:
        """What the prompt before the question depends on: settings with equal contexts share it."""
        shots = (self.shots, self.templates) if self.shots else (0, "")
        evidence = self.evidence if self.shots else "off"
        return (self.model, *shots, self.knowledge, evidence, self.gives_category)

    @property
    def fingerprint(self) -> str:
        """Hash over all fields: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_mapping(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        shown = f"{self.shots}-shot" + (f" {self.templates}" if self.shots else "")
        return (
            f"{self.model}, {shown}, knowledge {self.knowledge}, latents {self.latents}, injection {self.injection}, "
            f"evidence {self.evidence if self.shots else 'off'}"
        )
