"""VisA-D&R (Xu et al., 2025): detection on VisA, and questions in free words, which no rule can score.

Layout as far as the code of Anomaly-OneVision that reads it says (`VisA/visa_dr.json`): a list of objects with "image"
(VisA/<category>/...), "anomaly" and "questions". How the published answers are written could not be looked at.
Detection is asked here as everywhere, with yes and no; questions in free words are counted and not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault
from reason_iad.datasets.mmad_entry import find_file, in_words
from reason_iad.datasets.mmad_types import DETECTION, MmadQuestion, MmadSample

NAME = "VisA-D&R"
QUESTION = "Is there any defect in the object?"
OPTIONS = ("Yes.", "No.")


def is_visa_dr(content: Any) -> bool:
    """Whether the content of a file has this layout."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(one, dict) for one in content)
        and any({"image", "anomaly"} <= one.keys() for one in content)
    )


def read_visa_dr(root: Path, file: Path, content: list[dict[str, Any]]) -> tuple[list[MmadSample], list[Fault]]:
    """One detection question an image; paths are relative to the root, or to the folder of the file or above it."""
    samples: list[MmadSample] = []
    faults: list[Fault] = []
    free = 0
    for number, entry in enumerate(content, start=1):
        name, anomaly = entry.get("image"), entry.get("anomaly")
        if not isinstance(name, str):
            faults.append(Fault(f"entry {number}", f"is {in_words(name)}; expected a path", file.name, None, "image"))
            continue
        image = next((found for one in (root, root.parent) if (found := find_file(one, name)) is not None), None)
        if image is None:
            what = f"the image is missing; expected it at {root / name}; it is not asked about"
            faults.append(Fault(name, what, file.name, None, "image"))
            continue
        if anomaly not in (0, 1):
            what = f"is {in_words(anomaly)}; expected true or false; left out"
            faults.append(Fault(name, what, file.name, None, "anomaly"))
            continue
        questions = entry.get("questions")
        free += len(questions) if isinstance(questions, list) else 0
        question = MmadQuestion(DETECTION, QUESTION, OPTIONS, 0 if anomaly else 1)
        category = name.split("/")[min(1, name.count("/"))]
        samples.append(MmadSample(image, category, (question,), (), (), name, NAME))
    if free:
        what = f"{free} questions in free words are not asked: there is no rule that scores them without a judge"
        faults.append(Fault(NAME, what, file.name, None, "questions"))
    return samples, faults
