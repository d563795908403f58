"""A miniature of RobustMAD, laid out as its repository does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from reason_iad.datasets.robustmad import TYPES


def picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24), value, np.uint8)).save(path)
    return path


def question(number: int, kind: str, answer: str = "C", **more):
    options = {letter: f"choice {letter}" for letter in "ABCDE"}
    return {
        "question_id": number, "robustness_category": kind, "question_type": "MCQ", "question": f"{kind}?",
        "options": options, "answer": answer, **more,
    }  # fmt: skip


def robustmad(root: Path, degraded: bool = True) -> Path:
    """Two images with a question of each type, and their degraded twins, as the two files of the repository."""
    for suffix in ("", "_low") if degraded else ("",):
        images = []
        for index in range(2):
            place = f"MVTec-AD/bottle/test/{'good' if index else 'broken'}"
            stem = f"00{index}"
            name = f"{place}/blur/{stem}_blur.png" if suffix else f"{place}/{stem}.png"
            reference = "MVTec-AD/bottle/test/good/blur/009_blur.png" if suffix else "MVTec-AD/bottle/test/good/009.png"
            picture(root / name, 40 * index + 10 * bool(suffix))
            picture(root / reference, 200)
            asked = [question(10 * index + number, kind) for number, kind in enumerate(TYPES)]
            images.append({
                "dataset": "MVTec-AD", "category": "bottle", "image_path": name, "difficulty": "general",
                "reference_image_path": reference, "questions": asked,
            })  # fmt: skip
        (root / f"RobustMAD_MCQ{suffix}.json").write_text(json.dumps({"images": images}, indent=1))
    return root / "RobustMAD_MCQ.json"
