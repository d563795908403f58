"""A stand-in for the model: its answers follow from the key alone, so that any two runs can be compared."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from reason_iad.benchmark.solver import error_record
from reason_iad.datasets.mmad import DETECTION, read_mmad

KINDS = (DETECTION, "Defect Classification", "Object Analysis")


class MadeSolver:
    """Answers at once, or after a moment; `deadly` names images that end the process, once for each marker file."""

    def __init__(self, seconds: float = 0.0, deadly: str | None = None, marker: str | None = None) -> None:
        self.seconds, self.deadly, self.marker = seconds, deadly, marker

    def answer(self, unit):
        for job in unit.jobs:
            time.sleep(self.seconds)
            if self.deadly is not None and self.deadly in unit.sample.name and self._dies(job):
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                unit.sample.image.read_bytes()
            except OSError as error:
                yield error_record(unit, job, error)
                continue
            yield made_record(unit, job)

    def _dies(self, job) -> bool:
        if self.marker is None:
            return True
        if job is None or Path(self.marker).exists():
            return False
        Path(self.marker).touch()
        return True


def made_record(unit, job):
    """A record with everything that the summary reads."""
    seed = int(job.key[:8], 16)
    count = len(job.question.options)
    weights = [1 + (seed >> (4 * i)) % 16 for i in range(count)]
    total = sum(weights)
    probabilities = [weight / total for weight in weights]
    return {
        **unit.head(job),
        "answer": max(range(count), key=probabilities.__getitem__),
        "probabilities": probabilities,
        "model": probabilities,
        "base": probabilities[::-1],
        "evidence": (seed % 100) / 100,
        "recognized": unit.sample.category,
        "stopped": "patience",
        "unstable": False,
        "rewards": [0.5, 0.6 + (seed % 7) / 100],
        "start_reward": 0.4,
        "patches": 2,
        "milliseconds": {"answer": 1.0 + seed % 5, "thought": float(os.getpid() % 7)},
        "image_milliseconds": {"prefix": 8.0},
    }


def write_questions(root: Path, images: int = 12):
    """A small data folder with questions of three types; every second image is good."""
    entries = {}
    for number in range(images):
        label = "good" if number % 2 else "bad"
        name = f"{'nut' if number % 3 else 'bolt'}/test/{label}/{number:03}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(f"image {number}".encode())
        right, options = "B" if number % 2 else "A", {"A": "Yes.", "B": "No."}
        asked = [{"Question": f"{kind}?", "Options": options, "Answer": right, "type": kind} for kind in KINDS]
        reference = "nut/train/good/0.png"
        entries[name] = {"conversation": asked, "random_templates": [reference], "similar_templates": []}
    (root / reference).parent.mkdir(parents=True, exist_ok=True)
    (root / reference).write_bytes(b"reference")
    file = root / "questions.json"
    file.write_text(json.dumps(entries))
    return read_mmad(root, file)


def make(seconds: float = 0.0, deadly: str | None = None, marker: str | None = None) -> MadeSolver:
    """Made inside a worker."""
    return MadeSolver(seconds, deadly, marker)
