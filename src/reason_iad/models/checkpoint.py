"""What a folder with a model holds, read without running or loading anything: family, files, parameters.

Loading runs no foreign code: weights are safetensors (a table of numbers; a pickle may run anything), and a model
that brings its own Python is refused, whoever asks.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.models.families import FAMILIES, Family

_MAX_HEADER = 100_000_000  # bytes, as safetensors itself allows
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class Checkpoint:
    """A complete folder of a model that a family of the table describes."""

    name: str
    folder: Path
    family: Family
    config: Mapping[str, Any]
    num_parameters: int
    stored_bytes: int
    version: str = "local"


def read_checkpoint(folder: Path, name: str | None = None, version: str = "local") -> Checkpoint:
    """Check that a folder can be loaded and say what is in it.

    Raises:
        ModelError: what is missing, damaged or refused, and what to do.
    """
    label = name or str(folder)
    config = read_config(folder, label)
    family = family_of(config, label)
    _need_processor(folder, label)
    files = weight_files(folder, label)
    counts = [_count_parameters(file, label) for file in files]
    return Checkpoint(label, folder, family, config, sum(counts), sum(f.stat().st_size for f in files), version)


def read_config(folder: Path, label: str) -> Mapping[str, Any]:
    """The model's configuration.

    Raises:
        ModelError: there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{label} holds no config.json; expected a model folder in transformers' layout, or a hub id")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{label}/config.json cannot be read ({error}); fetch the model again") from error
    if not isinstance(config, dict):
        raise ModelError(f"{label}/config.json holds a {type(config).__name__}; expected a JSON object: fetch it again")
    return config


def family_of(config: Mapping[str, Any], label: str) -> Family:
    """The row of the table that a configuration belongs to.

    Raises:
        ModelError: the model reads text alone, brings its own code, or belongs to no family of the table.
    """
    kind = str(config.get("model_type", "nothing"))
    if kind in FAMILIES:
        row, part = FAMILIES[kind], config.get("vision_config")
        tower = str(part.get("model_type")) if isinstance(part, Mapping) else "none"
        if row.towers and tower not in row.towers:
            raise ModelError(
                f"{label} is a {row.title} with the vision tower {tower}; expected {' or '.join(row.towers)}: "
                "take another release"
            )
        return row
    known = ", ".join(f"{row.title} ({row.model_type})" for row in FAMILIES.values())
    if config.get("auto_map"):
        raise ModelError(
            f"{label} ({kind}) brings Python code of its own, which would run with your rights; trust_remote_code is "
            f"off and stays off. Take a release in transformers' own classes (its name often ends in -hf): {known}"
        )
    if "vision_config" not in config:
        raise ModelError(f"{label} ({kind}) reads text alone; expected a model that reads images: {known}")
    raise ModelError(f"{label} is of the family {kind}, which is not in the table; expected one of {known}")


def weight_files(folder: Path, label: str) -> list[Path]:
    """The safetensors files of a model, all of them.

    Raises:
        ModelError: there are none, some are missing, or only pickles are there.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{label}/{index.name} cannot be read ({error}); fetch the model again") from error
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{label} is half downloaded: {len(missing)} of {len(names)} weight files are missing "
                f"({missing[0]} ...); fetch it again"
            )
        return [folder / name for name in names]
    if files:
        return files
    pickles = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
    if pickles:
        raise ModelError(
            f"{label} holds its weights as a pickle ({pickles[0]}), and loading one can run any code; expected "
            "safetensors: take a release that has them, or convert it where you trust it"
        )
    if list(folder.glob("*.incomplete")):
        raise ModelError(f"{label} is half downloaded: no weight file is complete; fetch it again")
    raise ModelError(f"{label} holds no weights; expected *.safetensors beside config.json: fetch it again")


def _need_processor(folder: Path, label: str) -> None:
    images = ("preprocessor_config.json", "processor_config.json")
    words = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
    if not any((folder / file).is_file() for file in images):
        raise ModelError(
            f"{label} holds no image processor; expected {' or '.join(images)}: copy it from the model's origin"
        )
    if not any((folder / file).is_file() for file in words):
        raise ModelError(f"{label} holds no tokenizer; expected one of {', '.join(words)}: copy it from its origin")


def _count_parameters(file: Path, label: str) -> int:
    """Parameters in a safetensors file, from its header; also checks that the file is whole."""
    advice = "it is half downloaded or damaged: fetch it again"
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MAX_HEADER
            header = json.loads(stream.read(length)) if length < _MAX_HEADER else None
    except (OSError, ValueError) as error:
        raise ModelError(f"{label}/{file.name} cannot be read ({error}); {advice}") from error
    if not isinstance(header, dict):
        raise ModelError(f"{label}/{file.name} is no safetensors file; {advice}")
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    try:
        end = max((int(t["data_offsets"][1]) for t in tensors.values()), default=0)
        counts = [math.prod(t["shape"]) for t in tensors.values() if t["dtype"] in _DTYPE_BYTES]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError(f"{label}/{file.name} has a broken header ({error}); {advice}") from error
    found = file.stat().st_size
    if found < 8 + length + end:
        raise ModelError(f"{label}/{file.name} has {found:,} of {8 + length + end:,} bytes; {advice}")
    return sum(counts)
