"""What an answer depends on besides image, question and setting: the content of model, knowledge base and profiles.

Each is a hash, so that a run under other weights, other knowledge or other profiles of the same name is another run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from reason_iad import __version__
from reason_iad.benchmark.setting import Setting
from reason_iad.files import sha256
from reason_iad.models import fingerprint

_IN_WORDS = {
    "model": "the model's weights", "knowledge": "the knowledge base", "profiles": "the learned categories",
    "version": "the version of reason-iad", "arithmetic": "the precision (--dtype float32 is the same everywhere)",
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """Hashes of what a setting's answers depend on; empty where they do not depend on it."""

    model: str
    knowledge: str = ""
    profiles: str = ""
    version: str = __version__
    arithmetic: str = ""  # in words

    @classmethod
    def of(cls, setting: Setting) -> Content:
        """Content as it is on this machine now.

        Raises:
            KnowledgeError: the knowledge base cannot be read.
        """
        told = setting.knowledge != "none"  # without knowledge in the prompt the name of a category says nothing
        recognized = told and not setting.gives_category
        knowledge = knowledge_fingerprint() if told else ""
        model = fingerprint.of_model(setting.model)
        if setting.backbone is not None:
            model = _digest(f"{model}/{fingerprint.of_model(setting.backbone)}")
        profiles = profiles_fingerprint() if recognized else ""
        return cls(model, knowledge, profiles, arithmetic=_arithmetic(setting))

    @property
    def fingerprint(self) -> str:
        """Hash over all parts: 16 hexadecimal digits."""
        return _digest(json.dumps(dataclasses.astuple(self)))

    def to_mapping(self) -> dict[str, str]:
        """All parts by name."""
        return dataclasses.asdict(self)


def differences(held: dict[str, str], now: dict[str, str]) -> list[str]:
    """What has changed between two contents, in plain words."""
    return [
        f"{_IN_WORDS.get(name, name)} (then {held.get(name) or 'none'}, now {now.get(name) or 'none'})"
        for name in sorted({*held, *now})
        if held.get(name) != now.get(name)
    ]


def _arithmetic(setting: Setting) -> str:
    """In which precision a model computes on this machine, and where."""
    if setting.model == "nano":
        from reason_iad.processor import IN_TORCH, choose

        device = setting.bundled_device
        return str(choose(setting.dtype == "float32")) if device == "cpu" else f"{IN_TORCH} on {device}"
    if setting.model.startswith("openai:"):
        return ""
    from reason_iad.models.memory import pick_device, pick_dtype

    device = pick_device(setting.device)
    return f"{pick_dtype(setting.dtype, device)}, quantization {setting.quantization}, on {device}"


def knowledge_fingerprint() -> str:
    """Hash of every entry, of the names of all categories, and of the encoder that finds entries."""
    from reason_iad.knowledge.base import read_base
    from reason_iad.knowledge.encoders import encoder_name

    content = read_base()
    parts = [[dataclasses.asdict(one) for one in content.entries], [dataclasses.asdict(c) for c in content.categories]]
    return _digest(json.dumps([*parts, encoder_name()], sort_keys=True, default=str))


def profiles_fingerprint() -> str:
    """Hash of what the learned categories of this machine have learned; empty where there is none."""
    from reason_iad.evidence.profile_store import find_profile, list_profiles

    digest, found = hashlib.sha256(), False
    for name in list_profiles():
        folder = find_profile(name)
        if folder is None:
            continue
        found = True
        digest.update(name.encode() + (folder / "profile.json").read_bytes())
        if (chosen := folder / "threshold.json").is_file():
            digest.update(chosen.read_bytes())
    return digest.hexdigest()[:16] if found else ""


def _digest(text: str) -> str:
    return sha256(text)[:16]
