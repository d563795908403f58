"""Prepared lines in memory, those for training and those held out apart."""

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
        right = right_answers(self.train)
        for line in (*self.train, *self.held_out):
            balance_options(line, right)


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
