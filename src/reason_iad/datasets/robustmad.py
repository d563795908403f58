"""RobustMAD: questions with the choices A to E over MVTec AD and VisA, a quarter of them unanswerable, with twins.

Layout read from the repository en-research/RobustMAD: `RobustMAD_MCQ.json` and `RobustMAD_MCQ_low.json`, each an object
with "images", each with "questions"; the same question_id in both is the same question about a degraded twin, which
the repository's `utils/generate_LoQ_images.py` makes from the original. The pair-wise questions show a normal
reference first; the others show the image alone. An unanswerable question is right where the option is picked that
says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault
from reason_iad.datasets.located import LocatedJson, Member
from reason_iad.datasets.mmad_entry import BadFieldError, find_file, in_words, read_question
from reason_iad.datasets.mmad_types import MmadQuestion, MmadSample

PAIR_WISE = "Anomaly Understanding and Localization (Pair-wise comparison)"
UNANSWERABLE = "Unanswerable or Misleading Query Detection"
TYPES = (
    "General Object Understanding", "Anomaly Understanding and Localization (Stand-alone)", PAIR_WISE, UNANSWERABLE,
)  # fmt: skip
NAME, DEGRADED = "RobustMAD", "RobustMAD degraded"
_FIELDS = {"question": "Question", "options": "Options", "answer": "Answer", "robustness_category": "type"}


def is_robustmad(members: list[Member]) -> bool:
    """Whether a file has this layout."""
    return any(member.name == "images" and isinstance(member.value, list) for member in members)


def twin_file(file: Path) -> Path:
    """Where the questions about the degraded twins lie."""
    return file.with_name(f"{file.stem}_low{file.suffix}")


class RobustReader:
    """Reads one of the two files; `faults` lists what was wrong."""

    def __init__(self, root: Path, file: Path, located: LocatedJson) -> None:
        self.faults: list[Fault] = []
        self._root, self._file, self._located = root, file, located
        self._dataset = DEGRADED if file.stem.endswith("_low") else NAME

    def read(self, members: list[Member]) -> Iterator[MmadSample]:
        """Two samples an image: what is asked about it alone, and what is asked beside its reference."""
        member = next(one for one in members if one.name == "images")
        for index, entry in enumerate(member.value):
            if not isinstance(entry, dict) or not isinstance(entry.get("image_path"), str):
                self._fault(member, (index,), f"image {index + 1}", "has no image_path; expected text; left out")
                continue
            name = entry["image_path"]
            image = find_file(self._root, name)
            if image is None:
                made = " (utils/generate_LoQ_images.py makes it)" if self._dataset == DEGRADED else ""
                what = f"the image is missing; expected it at {self._root / name}{made}; it is not asked about"
                self._fault(member, (index, "image_path"), name, what)
                continue
            yield from self._samples(member, index, entry, image, name)

    def _samples(
        self, member: Member, index: int, entry: dict[str, Any], image: Path, name: str
    ) -> Iterator[MmadSample]:
        alone: list[MmadQuestion] = []
        beside: list[MmadQuestion] = []
        asked = entry.get("questions")
        if not isinstance(asked, list):
            self._fault(member, (index, "questions"), name, f"is {in_words(asked)}; expected a list; left out")
            return
        for number, item in enumerate(asked):
            try:
                question = _question(item, number, str(entry.get("difficulty") or ""))
            except BadFieldError as error:
                path: tuple[str | int, ...] = (index, "questions", number)
                path = (*path, error.field) if error.field else path
                where = f"{name}, question {number + 1}"
                self._fault(member, path, where, f"cannot be asked: {error}; it is left out")
                continue
            (beside if question.kind == PAIR_WISE else alone).append(question)
        category = str(entry.get("category") or name.split("/")[min(1, name.count("/"))])
        sample = MmadSample(image, category, tuple(alone), (), (), name, self._dataset)
        if alone:
            yield sample
        if beside:
            named = entry.get("reference_image_path")
            reference = find_file(self._root, named) if isinstance(named, str) else None
            if reference is None:
                what = f"its reference {named} is missing; what compares with it is asked without it"
                self._fault(member, (index, "reference_image_path"), name, what)
            shown = () if reference is None else (reference,)
            yield replace(sample, questions=tuple(beside), random_templates=shown, similar_templates=shown, part="pair")

    def _fault(self, member: Member, path: tuple[str | int, ...], where: str, what: str) -> None:
        field = path[-1] if isinstance(path[-1], str) else ""
        line = self._located.line(member.start, *path)
        self.faults.append(Fault(where, what, self._file.name, line, field))


def _question(item: Any, number: int, difficulty: str) -> MmadQuestion:
    """A question in the words of this layout; a fault names the field as the file does."""
    if not isinstance(item, dict):
        raise BadFieldError("", f"it is {in_words(item)}; expected an object with {', '.join(_FIELDS)}")
    translated = {_FIELDS[name]: value for name, value in item.items() if name in _FIELDS}
    try:
        found = read_question(translated, number)
    except BadFieldError as error:
        own = {theirs: ours for ours, theirs in _FIELDS.items()}
        raise BadFieldError(own.get(error.field, error.field), str(error)) from error
    return replace(found, pair=str(item.get("question_id", "")), difficulty=difficulty)
