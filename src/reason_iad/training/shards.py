"""Prepared lines, those for training and those held out apart; their tensors stay in the files until they are read."""

from __future__ import annotations

import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError


class Shards:
    """Lines as dicts of name, records, knowledge and tensors; every n-th one, by a hash of its name, is held out."""

    def __init__(self, folder: Path, held_out: int) -> None:
        from safetensors import safe_open

        self._folder, self._every = folder, held_out
        self.train: list[dict[str, Any]] = []
        self.held_out: list[dict[str, Any]] = []
        for path in self._files():
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                line = {
                    "name": path.stem,
                    "records": json.loads(metadata["records"]),
                    "knowledge": json.loads(metadata["knowledge"]),
                    "tensors": {key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118 - mapped, not read
                }
            (self.held_out if is_held_out(path.stem, held_out) else self.train).append(line)
        if not self.train:
            raise InputError(f"{folder} holds no shards; expected files written by `train_nano prepare`")
        right = right_answers(self.train)
        for line in (*self.train, *self.held_out):
            balance_options(line, right)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))

    def with_new(self) -> Shards:
        """The same with the lines that were prepared since, where there are any."""
        same = len(self._files()) == len(self.train) + len(self.held_out)
        return self if same else Shards(self._folder, self._every)


def is_held_out(name: str, every: int) -> bool:
    """Whether a line is for validation alone, by a hash of its name."""
    return zlib.crc32(f"{name}.safetensors".encode()) % every == 0


def right_answers(lines: Sequence[dict[str, Any]]) -> dict[str, set[str]]:
    """What is the right answer of some question, by kind."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        for q in _with_options(line):
            found[q["kind"]].add(q["options"][q["answer_index"]])
    return found


def balance_options(line: dict[str, Any], right: dict[str, set[str]]) -> None:
    """Let only such texts stand among the wrong options, in place, as are the right answer of another question.

    Questions about few real products list the same foreign names and facts as wrong options every time. A model
    trained on them learns that these texts are never right, whatever it is shown, and so cannot name those products
    later. What is dropped is made up for by right answers of the same kind.
    """
    for number, q in enumerate(_with_options(line)):
        answer = q["options"][q["answer_index"]]
        wrong = [o for o in q["options"] if o != answer]
        kept = [o for o in wrong if o in right[q["kind"]]]
        if len(kept) == len(wrong):
            continue
        rng = random.Random(f"{line['name']}/{number}")  # noqa: S311
        pool = sorted(right[q["kind"]] - {answer, *kept})
        kept += rng.sample(pool, min(len(pool), len(wrong) - len(kept)))
        if kept:
            q["options"], q["answer_index"] = [answer, *kept], 0


def _with_options(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for record in line["records"]:
        yield from (q for q in record["questions"] if not q["free_form"])
