"""Multiple-choice questions in the layout of MMAD (arXiv 2410.09453).

A file maps each image to {"conversation": [{"Question", "Options", "Answer", "type"}], "random_templates",
"similar_templates", "mask_path"}; paths are relative to the data folder. Real files have faults: what cannot be asked
is left out and listed, the rest is asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_iad.datasets.base import Fault
from reason_iad.errors import InputError

Templates = Literal["random", "similar"]
DETECTION = "Anomaly Detection"
TYPES = (
    DETECTION, "Defect Classification", "Defect Localization", "Defect Description", "Defect Analysis",
    "Object Classification", "Object Analysis",
)  # fmt: skip
_SAME_TYPE = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}  # as MMAD's scorer counts
# the data sets that MMAD joins stand above the category; elsewhere the category stands first
DATA_SETS = ("DS-MVTec", "MVTec-AD", "MVTec-LOCO", "VisA", "GoodsAD")


@dataclass(frozen=True)
class MmadQuestion:
    """One question with its options and the right one."""

    kind: str  # one of `TYPES`, where the file keeps to them
    question: str
    options: tuple[str, ...]
    target: int
    number: int = 0  # place among all questions about the image, as the file has them

    @property
    def yes(self) -> int | None:
        """Which option says that there is a defect; None where the question is not about that."""
        if self.kind != DETECTION:
            return None
        found = [i for i, option in enumerate(self.options) if option.strip().lower().startswith("yes")]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class MmadSample:
    """One image with its questions and normal references."""

    image: Path
    category: str
    questions: tuple[MmadQuestion, ...]
    random_templates: tuple[Path, ...]
    similar_templates: tuple[Path, ...]
    name: str = ""  # as the question file names it
    dataset: str = ""
    mask: Path | None = None

    def templates(self, kind: Templates, count: int) -> tuple[Path, ...]:
        """The first `count` references of a kind."""
        return (self.random_templates if kind == "random" else self.similar_templates)[:count]


@dataclass(frozen=True)
class MmadQuestions:
    """What can be asked, and what is wrong with the files."""

    samples: tuple[MmadSample, ...]
    faults: tuple[Fault, ...]

    @property
    def num_questions(self) -> int:
        """Number of questions over all images."""
        return sum(len(sample.questions) for sample in self.samples)


def read_mmad(root: Path, questions: Path) -> MmadQuestions:
    """Read a question file over the images under `root`.

    Entries that do not follow the layout and images that are missing are left out and listed as faults.

    Raises:
        InputError: the file cannot be read, is in another layout, or none of its images lies under `root`.
    """
    try:
        entries = json.loads(questions.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{questions} cannot be read ({error}); expected a JSON file in the MMAD layout") from error
    if not isinstance(entries, dict) or not entries:
        raise InputError(
            f"{questions} holds a {type(entries).__name__} of {len(entries) if hasattr(entries, '__len__') else 1}; "
            "expected an object that maps images to entries"
        )
    faults: list[Fault] = []
    samples = [_sample(root, questions.stem, name, entry, faults) for name, entry in entries.items()]
    found = tuple(sample for sample in samples if sample is not None)
    faults.extend(_misplaced(found))
    if not found:
        raise InputError(
            f"of {len(entries)} entries in {questions} none can be asked ({faults[0]}); expected images under {root} "
            "at the paths that the file names: check --root"
        )
    return MmadQuestions(found, tuple(faults))


def _misplaced(samples: Sequence[MmadSample]) -> list[Fault]:
    """Images that have the size of another category's images, as 22 metal nuts among MMAD's pills have.

    A category's size is that of seven in ten of its images. Only PNG, which states its size at once, is looked at.
    """
    by_category: dict[tuple[str, str], list[tuple[MmadSample, tuple[int, int]]]] = {}
    for sample in samples:
        if (size := _png_hw(sample.image)) is not None:
            by_category.setdefault((sample.dataset, sample.category), []).append((sample, size))
    usual: dict[tuple[str, str], tuple[int, int]] = {}
    for place, members in by_category.items():
        size, count = Counter(size for _, size in members).most_common(1)[0]
        if len(members) > 1 and count >= 0.7 * len(members):
            usual[place] = size
    faults = []
    for (dataset, category), own in usual.items():
        for sample, size in by_category[dataset, category]:
            others = sorted(n for (d, n), one in usual.items() if d == dataset and n != category and one == size)
            if size != own and others:
                seen = f"{size[0]} x {size[1]} pixels as {', '.join(others)} has, not {own[0]} x {own[1]} as {category}"
                faults.append(
                    Fault(sample.name, f"it may show another product: {seen}; it is asked about all the same")
                )
    return faults


def _png_hw(path: Path) -> tuple[int, int] | None:
    """Height and width that a PNG file states; None for other files."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def _sample(root: Path, stem: str, name: str, entry: Any, faults: list[Fault]) -> MmadSample | None:
    if not (root / name).is_file():
        faults.append(Fault(name, f"the image is missing; expected it at {root / name}; its questions are not asked"))
        return None
    if not isinstance(entry, dict) or not any(key.startswith("conversation") for key in entry):
        faults.append(Fault(name, "the entry has no conversation; expected Question, Options, Answer and type"))
        return None
    asked = [item for key, value in entry.items() if key.startswith("conversation") for item in _listed(value)]
    questions = []
    for number, item in enumerate(asked):
        try:
            questions.append(_question(item, number))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            faults.append(Fault(f"{name}, question {number + 1}", f"cannot be asked ({error}); it is left out"))
    dataset, category = _place(stem, name)
    mask = entry.get("mask_path")
    if mask and not (root / mask).is_file():
        faults.append(Fault(name, f"its mask {mask} is missing; places cannot be checked"))
        mask = None
    return MmadSample(
        root / name,
        category,
        tuple(questions),
        _templates(root, name, entry, "random_templates", faults),
        _templates(root, name, entry, "similar_templates", faults),
        name,
        dataset,
        root / mask if mask else None,
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _place(stem: str, name: str) -> tuple[str, str]:
    """Data set and category that the path of an image names.

    >>> _place("mmad", "VisA/pcb1/test/bad/000.JPG"), _place("questions_test", "hazelnut/test/good/1.jpg")
    (('VisA', 'pcb1'), ('questions_test', 'hazelnut'))
    """
    parts = name.split("/")
    if len(parts) > 2 and parts[0] in DATA_SETS:
        return parts[0], parts[1]
    return stem, parts[0]


def _question(item: dict[str, Any], number: int) -> MmadQuestion:
    options, answer = item["Options"], item["Answer"]
    texts = tuple(str(text).strip() for text in options.values())
    if len(texts) < 2 or len(set(texts)) < len(texts):
        raise ValueError(f"its options are {list(texts)}; expected two or more different ones")
    if answer not in options:
        raise ValueError(f"its answer {answer!r} is not among the options {list(options)}")
    kind = _SAME_TYPE.get(item["type"], str(item["type"]))
    return MmadQuestion(kind, str(item["Question"]), texts, list(options).index(answer), number)


def _templates(root: Path, name: str, entry: dict[str, Any], key: str, faults: list[Fault]) -> tuple[Path, ...]:
    names: Sequence[str] = entry.get(key) or ()
    missing = [one for one in names if not (root / one).is_file()]
    if missing:
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        faults.append(Fault(name, f"its reference {missing[0]}{rest} is missing; the others are used"))
    return tuple(root / one for one in names if one not in set(missing))
