"""Prepared lines in memory, those for training and those held out apart."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError


class Shards:
    """Lines as dicts of name, records, knowledge and tensors; every n-th one, by a hash of its name, is held out."""

    def __init__(self, folder: Path, held_out: int) -> None:
        from safetensors import safe_open

        self.train: list[dict[str, Any]] = []
        self.held_out: list[dict[str, Any]] = []
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                line = {
                    "name": path.stem,
                    "records": json.loads(metadata["records"]),
                    "knowledge": json.loads(metadata["knowledge"]),
                    "tensors": {key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118
                }
            (self.held_out if zlib.crc32(path.name.encode()) % held_out == 0 else self.train).append(line)
        if not self.train:
            raise InputError(f"{folder} holds no shards; expected files written by `train_nano prepare`")
