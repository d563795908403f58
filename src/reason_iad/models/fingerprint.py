"""Hashes of what a model's answers depend on, each 16 hexadecimal digits: another training is another hash.

No model is loaded for them, and a file of weights is not read whole where that would take minutes.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.files import sha256

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = 64 * 1024 * 1024  # bytes up to which a file is hashed whole; of larger ones evenly spread blocks
_BLOCKS, _BLOCK = 256, 64 * 1024
_DIGITS = 16


def of_model(name: str) -> str:
    """Of a model by its name, as `registry` knows it, and of what was fitted for it on this machine."""
    from reason_iad.models.fits import digest_of
    from reason_iad.models.registry import JOINT, members_of

    if JOINT in name:
        return sha256(*(of_model(one) for one in members_of(name)))[:_DIGITS]
    content, fitted = of_weights(name), digest_of(name)
    return sha256(f"{content} {fitted}")[:_DIGITS] if fitted else content


def of_weights(name: str) -> str:
    """Of a model alone; of one on a server nothing but name and address can be known."""
    from reason_iad.models import registry

    if name in registry.NAMES:
        from reason_iad.models.sources import default_adapter

        return of_bundled(default_adapter())
    if name.startswith(registry.SERVED):
        return of_served(name.removeprefix(registry.SERVED), os.environ.get("OPENAI_BASE_URL", "").strip().rstrip("/"))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _snapshot(name) or folder
    return of_folder(folder) if folder.is_dir() else sha256(name.encode())[:_DIGITS]


@functools.cache
def of_bundled(adapter: Path) -> str:
    """Of the bundled model: its adapter, and the pinned weights below it."""
    from reason_iad.weights.table import PARTS

    digest = hashlib.sha256()
    for file in ("adapter.safetensors", "adapter.json"):
        digest.update((adapter / file).read_bytes())
    for part in PARTS.values():
        digest.update(part.folder_name.encode())  # holds the hash of the source and the form of the conversion
    return digest.hexdigest()[:_DIGITS]


def of_served(model: str, url: str) -> str:
    """Of a model on a server."""
    return sha256(f"{url} {model}".encode())[:_DIGITS]


def of_folder(folder: Path) -> str:
    """Over names, sizes and bytes of a model's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}/{size}/".encode())
        with path.open("rb") as file:
            if size <= WHOLE:
                digest.update(file.read())
                continue
            for index in range(_BLOCKS):
                file.seek(index * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:_DIGITS]


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Of weights that lie in memory."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def _snapshot(name: str) -> Path | None:
    """Where the hub's cache keeps a model; None where it has none, as before the first run."""
    from reason_iad.models.hub import cached_models

    found = cached_models().get(name)
    return None if found is None else Path(found[0])
