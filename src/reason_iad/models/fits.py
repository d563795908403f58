"""Stored fits: what joins a model with evidence and knowledge, kept under the fingerprint of the model's content.

A fit holds for the model that it was made with and for no other: weights that are trained on, another quantization or
another server give other answers. A file whose fingerprint is not the model's is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.files import home, sha256, write_whole

FORMAT = 1
AGAIN = "run `reason-iad calibrate` with this model again"


@dataclass(frozen=True)
class StoredFit:
    """What was fitted for a model.

    Attributes:
        model: its name.
        fingerprint: of its content.
        settings: fusion, weights of options, range of answers, as they ship with the bundled model.
        made: what it rests on, for people: data, counts, quality.
    """

    model: str
    fingerprint: str
    settings: Mapping[str, Any]
    made: Mapping[str, Any]


def folder() -> Path:
    """Where fits lie."""
    return home() / "calibrations"


def path_of(fingerprint: str) -> Path:
    """Where the fit of a model lies."""
    return folder() / f"{fingerprint}.json"


def write_fit(fit: StoredFit) -> Path:
    """Keep a fit in the place of an earlier one of the same model; gives its file."""
    path = path_of(fit.fingerprint)
    write_whole(path, json.dumps({"format": FORMAT, **asdict(fit)}, indent=1) + "\n")
    return path


def read_fit(path: Path, fingerprint: str | None = None) -> StoredFit:
    """Read a fit.

    Args:
        path: of its file.
        fingerprint: of the model that it is wanted for; any where None.

    Raises:
        ModelError: it cannot be read, another version of the program wrote it, or it is another model's.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = StoredFit(str(data["model"]), str(data["fingerprint"]), dict(data["settings"]), dict(data["made"]))
        version = data["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read as a fit ({error!r}); {AGAIN}, or remove the file") from error
    if version != FORMAT:
        raise ModelError(f"{path} has format {version!r}; expected {FORMAT}: {AGAIN}")
    if fingerprint is not None and found.fingerprint != fingerprint:
        raise ModelError(
            f"{path} is a fit of {found.model} with the content {found.fingerprint}; expected one of the content "
            f"{fingerprint}: it is another model or another version: {AGAIN}"
        )
    return found


def settings_of(name: str, fingerprint: str) -> dict[str, Any]:
    """What is stored for a model, to be read like a bundled model's settings.

    Without a fit of this content, and with one of another content under the same name, the key `refused` says so.

    Raises:
        ModelError: the model's fit is damaged.
    """
    path = path_of(fingerprint)
    if path.is_file():
        return dict(read_fit(path, fingerprint).settings)
    others = [one for one in all_fits() if one.model == name]
    if not others:
        return {}
    return {"refused": f"a stored fit of another version of {name} was refused ({AGAIN})"}


def all_fits() -> list[StoredFit]:
    """Every fit that can be read."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            found.append(read_fit(path))
        except ModelError:  # said where it is wanted
            continue
    return found


def digest_of(name: str) -> str:
    """Hash over the fits of all versions of a model; empty where there is none."""
    kept = sorted(path_of(fit.fingerprint) for fit in all_fits() if fit.model == name)
    return sha256(*(path.read_bytes() for path in kept))[:16] if kept else ""
