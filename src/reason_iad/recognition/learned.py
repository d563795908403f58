"""Recognizing the categories that users have learned, besides those that come with the program."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from reason_iad.errors import InputError
from reason_iad.evidence.profile_store import find_profile, list_profiles
from reason_iad.recognition.prototypes import CategoryPrototypes, Floats

_log = logging.getLogger(__name__)


class LearnedPrototypes:
    """Prototypes with the profiles of this machine added, read again when a profile changes."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._state: tuple[tuple[str, int], ...] = ()
        self._made: tuple[CategoryPrototypes, CategoryPrototypes] | None = None  # before and after the addition

    def extend(self, prototypes: CategoryPrototypes) -> CategoryPrototypes:
        """The prototypes with every learned category whose images can be compared; a damaged one is left out."""
        folders = {name: folder for name in list_profiles() if (folder := find_profile(name)) is not None}
        state = tuple((name, (folder / "profile.json").stat().st_mtime_ns) for name, folder in folders.items())
        if self._made is not None and state == self._state and self._made[0] is prototypes:
            return self._made[1]
        extended = prototypes
        for name, folder in folders.items():
            try:
                extended = extended.learn(name, read_embeddings(folder))
            except (InputError, OSError, ValueError, KeyError) as error:
                _log.warning("%s cannot be recognized by its profile (%s)", name, error)
        self._state, self._made = state, (prototypes, extended)
        return extended


def read_embeddings(folder: Path) -> Floats:
    """Image vectors of a profile's good parts, without reading its features: (n, D), n from 0.

    Raises:
        OSError: a file is missing.
        ValueError: a file is damaged.
        KeyError: a file lacks something.
    """
    from safetensors import SafetensorError, safe_open

    version = int(json.loads((folder / "profile.json").read_text("utf-8"))["version"])
    facts = json.loads((folder / "versions" / f"{version:04d}.json").read_text("utf-8"))
    vectors = []
    for member in facts["members"]:
        if member["label"] != "normal":
            continue
        try:
            with safe_open(str(folder / "members" / f"{member['id']}.safetensors"), "numpy") as file:
                if "embedding" in file.keys():  # noqa: SIM118 - not a mapping
                    vectors.append(file.get_tensor("embedding"))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
