"""Memory banks on disk: a folder in which `bank.safetensors` is all that is read.

`bank.json` repeats its facts for people.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import EvidenceError
from reason_iad.evidence.calibrate import Calibration, Scale
from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.suitability import PictureFacts

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 7


def write_bank(bank: MemoryBank, folder: Path) -> None:
    """Write a bank into `folder`; one that is there stays whole until the new one is."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    groups = {"features": bank.features, "defects": bank.defects}
    tensors = {f"{group}/{name}": one.contiguous() for group, some in groups.items() for name, one in some.items()}
    facts = {
        "format_version": FORMAT_VERSION,
        "options": dataclasses.asdict(bank.options),
        "calibration": dataclasses.asdict(bank.calibration),
        "views": bank.views,
        "normal_scores": list(bank.normal_scores),
        "warnings": list(bank.warnings),
        "reference_scores": list(bank.reference_scores),
        "pictures": [dataclasses.asdict(one) for one in bank.pictures],
    }
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        save_file(tensors, Path(draft) / "bank.safetensors", metadata={"facts": json.dumps(facts, allow_nan=False)})
        (Path(draft) / "bank.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        # The tensors carry the facts too, and only they are read: one rename changes the bank as a whole.
        (Path(draft) / "bank.safetensors").replace(folder / "bank.safetensors")
        (Path(draft) / "bank.json").replace(folder / "bank.json")


def read_bank(folder: Path) -> MemoryBank:
    """Read a bank written by `write_bank`; see `MemoryBank.load`."""
    path = folder / "bank.safetensors"
    facts, tensors = _read(path)
    try:
        options = dict(facts["options"])
        streams = tuple(_stream(one) for one in options.pop("streams"))
        calibration = dict(facts["calibration"])
        calibration["scales"] = {name: Scale(**scale) for name, scale in calibration["scales"].items()}
        calibration["fused"] = Scale(**calibration["fused"])
        calibration["largest_masses"] = tuple(calibration["largest_masses"])
        built = EvidenceOptions(streams=streams, **options)
        return MemoryBank(
            options=built,
            features={source: tensors[f"features/{source}"] for source in built.sources},
            calibration=Calibration(**calibration),
            views=int(facts["views"]),
            normal_scores=tuple(facts["normal_scores"]),
            warnings=tuple(facts["warnings"]),
            reference_scores=tuple(facts["reference_scores"]),
            defects={source: tensors[key] for source in built.sources if (key := f"defects/{source}") in tensors},
            pictures=tuple(PictureFacts(**{**one, "tones": tuple(one["tones"])}) for one in facts["pictures"]),
        )
    except (KeyError, TypeError) as error:
        raise EvidenceError(
            f"{path} lacks or does not know {error}; build the bank again from its references"
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Facts and tensors of a bank of this version."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise EvidenceError(f"{path} does not exist; expected a folder written by `MemoryBank.save`")
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise EvidenceError(f"{path} cannot be read ({error}); build the bank again from its references") from error
    if facts.get("format_version") != FORMAT_VERSION:
        raise EvidenceError(
            f"{path} has format version {facts.get('format_version')}; this program reads {FORMAT_VERSION}, in which "
            "scores have another meaning: build the bank again from its references"
        )
    return facts, tensors


def _stream(facts: dict[str, Any]) -> Stream:
    """A stream from its facts; JSON knows no tuples."""
    level = facts["level"]
    return Stream(**{**facts, "level": tuple(level) if isinstance(level, list) else level})
