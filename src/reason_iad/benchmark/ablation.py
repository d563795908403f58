"""The grid of the method's parts: which settings to run so that each part is measured alone.

Combinations that are the same run under another name appear once: patches join thoughts, so injection needs latents;
evidence needs references; a model that sees no references needs evidence to know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from reason_iad.benchmark.setting import Setting
from reason_iad.errors import InputError
from reason_iad.models.registry import SERVED

PLAIN = Setting(shots=0, knowledge="none", latents="off", injection="off", evidence="off")
PRESETS = ("steps", "parts", "grid", "thought")


@dataclass(frozen=True)
class Grid:
    """Values of each part; the grid is their product."""

    shots: Sequence[int] = (0, 1, 4)
    knowledge: Sequence[str] = ("none", "retrieved", "oracle")
    latents: Sequence[str] = ("off", "paper", "on")
    injection: Sequence[str] = ("off", "on")
    evidence: Sequence[str] = ("off", "on")

    def settings(self, base: Setting, sees_references: bool = False) -> dict[str, Setting]:
        """All different runs of the grid by name; model, seed and the like come from `base`."""
        parts = (self.shots, self.knowledge, self.latents, self.injection, self.evidence)
        found: dict[str, Setting] = {}
        for shots, knowledge, latents, injection, evidence in product(*parts):
            values = {
                "shots": shots, "knowledge": knowledge, "latents": latents, "injection": injection,
                "evidence": evidence,
            }  # fmt: skip
            one = simplify(Setting.from_mapping({**base.to_mapping(), **values}), sees_references)
            found[name_of(one)] = one
        return found


def simplify(setting: Setting, sees_references: bool = False) -> Setting:
    """The same run in its simplest form; a model on a server knows neither latents nor injection nor rewards."""
    if setting.model.startswith(SERVED):
        setting = replace(setting, latents="off", reward="entropy")
    if setting.latents == "off":
        setting = replace(setting, injection="off", latent_depth=0.0)
        if setting.details == "off":
            setting = replace(setting, reward="entropy")
    if setting.latents == "paper":
        setting = replace(setting, reward="entropy", latent_depth=0.0)
    if setting.shots == 0:
        setting = replace(setting, evidence="off", templates="random")
    elif setting.evidence == "off" and not sees_references:
        setting = replace(setting, shots=0, templates="random")
    return setting


def name_of(setting: Setting) -> str:
    """Short name for folders and tables.

    >>> name_of(PLAIN), name_of(Setting())
    ('plain', '1shot+retrieved')
    >>> name_of(Setting(shots=4, evidence="off", knowledge="oracle", latents="paper", injection="off"))
    '4shot-noevidence+oracle+paper'
    >>> name_of(Setting(shots=0, knowledge="none", latents="on", details="random", reward="anchored"))
    'latents+anchored+random-details'
    """
    parts = []
    if setting.shots:
        shown = f"{setting.shots}shot" + ("-similar" if setting.templates == "similar" else "")
        parts.append(shown if setting.evidence == "on" else f"{shown}-noevidence")
    if setting.knowledge != "none":
        parts.append(setting.knowledge)
    if setting.latents != "off":
        parts.append("latents" if setting.latents == "on" else setting.latents)
        if setting.latent_depth:
            parts.append(f"depth{setting.latent_depth:g}")
    if setting.reward != "entropy":
        parts.append(setting.reward)
    if setting.injection != "off" and setting.latents != "off":
        parts.append("injection" if setting.injection == "on" else "random-injection")
    if setting.details != "off":
        parts.append("details" if setting.details == "on" else "random-details")
    return "+".join(parts) or "plain"


def preset(name: str, base: Setting, sees_references: bool = False) -> dict[str, Setting]:
    """Settings by name, the plain model first.

    Args:
        name: "steps" adds one part to the plain model, in order of cost, then builds the full method up to 4 shots;
            "parts" takes each part alone and leaves each part out of the full method with one shot; "grid" is all;
            "thought" takes the base as it is, under every form of thought and every control of it.
        base: gives model, templates, seed and the like.
        sees_references: whether the model itself is shown the references.

    Raises:
        InputError: no such preset.
    """
    if name == "grid":
        return Grid().settings(base, sees_references)
    if name == "thought":
        return thoughts(base, sees_references)
    plain = replace(base, shots=0, knowledge="none", latents="off", injection="off", evidence="off")
    full = replace(base, shots=1, knowledge="retrieved", latents="on", injection="on", evidence="on")
    alone = [
        plain,
        replace(plain, knowledge="retrieved"),
        replace(plain, knowledge="oracle"),
        replace(plain, latents="paper"),
        replace(plain, latents="on"),
        replace(plain, latents="on", injection="on"),
        replace(plain, shots=1, evidence="on"),
    ]
    if name == "steps":
        chosen = [*alone, replace(plain, shots=4, evidence="on"), replace(full, shots=0), full, replace(full, shots=4)]
    elif name == "parts":
        without = [
            replace(full, knowledge="none"), replace(full, latents="off"), replace(full, injection="off"),
            replace(full, evidence="off"),
        ]  # fmt: skip
        chosen = [*alone, *without, full]
    else:
        raise InputError(f"the preset is {name!r}; expected one of {', '.join(PRESETS)}")
    settings = [simplify(one, sees_references) for one in chosen]
    return {name_of(one): one for one in settings}


def thoughts(base: Setting, sees_references: bool = False) -> dict[str, Setting]:
    """Every form of thought and every control of it, over one context: none first."""
    none = replace(base, latents="off", injection="off", details="off", reward="entropy", latent_depth=0.0)
    latents = replace(none, latents="on")
    chosen = [
        none,
        replace(none, details="on"),  # details without latents
        replace(none, details="on", reward="anchored"),
        latents,  # latents without details
        replace(latents, reward="anchored"),
        replace(latents, details="on"),
        replace(latents, details="on", reward="anchored"),
        replace(latents, details="random"),
        replace(latents, latent_depth=0.25),
        replace(none, latents="walk"),  # a random walk of equal length
        replace(none, latents="sample"),  # the best of as many random draws
        replace(none, latents="paper", injection="on"),  # the published form
        replace(latents, injection="on"),  # patches that the prompt holds already
    ]
    settings = [simplify(one, sees_references) for one in chosen]
    return {name_of(one): one for one in settings}


def choose(settings: dict[str, Setting], only: Sequence[str]) -> dict[str, Setting]:
    """Some of the settings by name; all where `only` is empty.

    Raises:
        InputError: a name is not among them.
    """
    if unknown := set(only) - set(settings):
        raise InputError(f"found no setting {', '.join(sorted(unknown))}; expected some of {', '.join(settings)}")
    return {name: one for name, one in settings.items() if not only or name in only}
