"""What the frozen towers say about an image does not depend on the setting: it is kept on disk, shared by all runs.

Features are kept by the hash of the pixels, single references' banks too (their altered copies cost the most). A
folder that fills up or loses a file costs time, never a result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import EvidenceError, ReasonIADError
from reason_iad.files import replacing, sha256
from reason_iad.images import Pixels

if TYPE_CHECKING:
    from torch import Tensor

    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.models.base import VisionTowers

NAMESPACE_PARTS = ("vit-s14", "efficientnet-lite0")


def vision_namespace() -> str:
    """Name that changes with the towers' weights: features of others are never mixed in."""
    from reason_iad.weights.table import PARTS

    return sha256("/".join(PARTS[name].folder_name for name in NAMESPACE_PARTS))[:12]


def digest(pixels: Pixels) -> str:
    """Hash of an image's pixels (H, W, 3): 32 hexadecimal digits."""
    return hashlib.blake2b(str(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()


class StoredVision:
    """Towers whose outputs are kept in a folder; several processes may share it."""

    def __init__(self, vision: VisionTowers, folder: Path) -> None:
        self._vision, self._folder = vision, folder
        self._writable = True

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states by layer; see `VisionTowers.vit`."""
        return self._gather("vit", images, size, tuple(layers))

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, Tensor]:
        """Features by stride; see `VisionTowers.efficientnet`."""
        return self._gather("efficientnet", images, size, ())

    def _gather(self, tower: str, images: Sequence[Pixels], size: int, layers: tuple[int, ...]) -> dict[int, Tensor]:
        import torch

        stem = f"{tower}-{size}" + "".join(f"-{layer}" for layer in layers)
        paths = [self._folder / stem / name[:2] / f"{name[2:]}.safetensors" for name in map(digest, images)]
        found = [self._read(path) for path in paths]
        missing = [index for index, one in enumerate(found) if one is None]
        for index in missing:  # one by one: the same numbers whichever images are missing together
            batch = [images[index]]
            maps = self._vision.vit(batch, size, layers) if tower == "vit" else self._vision.efficientnet(batch, size)
            found[index] = {level: values[0] for level, values in maps.items()}
            self._write(paths[index], found[index])
        ready = [one for one in found if one is not None]
        return {level: torch.stack([one[level] for one in ready]) for level in ready[0]}

    def _read(self, path: Path) -> dict[int, Tensor] | None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return {int(level): values for level, values in load_file(path).items()} if path.exists() else None
        except (OSError, SafetensorError, ValueError):  # half gone: made again
            return None

    def _write(self, path: Path, maps: dict[int, Tensor] | None) -> None:
        from safetensors.torch import save_file

        if maps is None or not self._writable:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, durable=False) as draft:
                save_file({str(level): values.contiguous() for level, values in maps.items()}, draft)
        except Exception as error:  # noqa: BLE001 - safetensors wraps a full disk in its own kind of error
            self._writable = False
            why = f"{path.parent} cannot be written ({error}); it is no longer filled"
            sys.stderr.write(f"reason-iad: warning: {why}\n")


@functools.cache
def evidence_code() -> str:
    """Hash of the code that builds banks: one built by other code is never read."""
    from reason_iad import evidence

    files = sorted(Path(str(evidence.__file__)).parent.glob("*.py"))
    return sha256(*(file.read_bytes() for file in files))[:16]


class StoredBanks:
    """Banks of single references, kept in a folder."""

    def __init__(self, plain: VisionTowers, stored: VisionTowers, folder: Path) -> None:
        self._plain, self._stored, self._folder = plain, stored, folder

    def single(self, reference: Pixels) -> MemoryBank:
        """The bank of one reference: read, or built from its altered copies and kept."""
        from safetensors import SafetensorError

        from reason_iad.evidence.features import EvidenceOptions, altered_copies, extract
        from reason_iad.evidence.memory_bank import MemoryBank

        options = EvidenceOptions()
        name = sha256(f"{evidence_code()}/{options}/{digest(reference)}")[:32]
        folder = self._folder / "banks" / name[:2] / name[2:]
        with contextlib.suppress(EvidenceError, OSError):
            return MemoryBank.load(folder)
        size = max(stream.size for stream in options.streams)
        copies = extract(altered_copies(reference, size), self._plain, options)
        bank = MemoryBank.from_features(extract([reference], self._stored, options), options, copies)
        bank = bank.with_pictures([reference])
        with contextlib.suppress(OSError, ReasonIADError, SafetensorError):  # no room: it is built again next time
            bank.save(folder)
        return bank
