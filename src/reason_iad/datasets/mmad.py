"""Multiple-choice questions in the layout of MMAD (arXiv 2410.09453).

A file maps each image to {"conversation": [{"Question", "Options", "Answer", "type"}], "random_templates",
"similar_templates", "mask_path"}; paths are relative to the data folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_iad.errors import InputError

Templates = Literal["random", "similar"]
DETECTION = "Anomaly Detection"


@dataclass(frozen=True)
class MmadQuestion:
    """One question with its options and the right one."""

    kind: str
    question: str
    options: tuple[str, ...]
    target: int


@dataclass(frozen=True)
class MmadSample:
    """One image with its questions and normal references."""

    image: Path
    category: str
    questions: tuple[MmadQuestion, ...]
    random_templates: tuple[Path, ...]
    similar_templates: tuple[Path, ...]

    def templates(self, kind: Templates, count: int) -> tuple[Path, ...]:
        """The first `count` references of a kind."""
        return (self.random_templates if kind == "random" else self.similar_templates)[:count]


def read_mmad(root: Path, questions: Path) -> tuple[MmadSample, ...]:
    """Read a question file over the images under `root`.

    Raises:
        InputError: a file is missing or not in the layout; says which entry.
    """
    try:
        entries = json.loads(questions.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{questions} cannot be read ({error}); expected a JSON file in the MMAD layout") from error
    if not isinstance(entries, dict):
        raise InputError(
            f"{questions} holds a {type(entries).__name__}; expected an object that maps images to entries"
        )
    return tuple(_sample(root, name, entry) for name, entry in entries.items())


def _sample(root: Path, name: str, entry: Any) -> MmadSample:
    try:
        asked = [entry[key] for key in entry if key.startswith("conversation")]
        questions = tuple(_question(item) for conversation in asked for item in conversation)
        random_templates, similar = entry.get("random_templates", ()), entry.get("similar_templates", ())
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"the entry {name!r} does not follow the MMAD layout ({error!r}); expected a conversation of Question, "
            "Options, Answer and type"
        ) from error
    if not (root / name).is_file():
        raise InputError(f"{root / name} is missing; the question file asks about it: check --root")
    return MmadSample(root / name, name.split("/")[0], questions, _paths(root, random_templates), _paths(root, similar))


def _question(item: dict[str, Any]) -> MmadQuestion:
    options = item["Options"]
    return MmadQuestion(item["type"], item["Question"], tuple(options.values()), list(options).index(item["Answer"]))


def _paths(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(root / name for name in names)
