"""A question with its options, and an image with its questions, as all question files are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

DETECTION = "Anomaly Detection"
TYPES = (
    DETECTION, "Defect Classification", "Defect Localization", "Defect Description", "Defect Analysis",
    "Object Classification", "Object Analysis",
)  # fmt: skip


@dataclass(frozen=True)
class MmadQuestion:
    """One question with its options and the right one."""

    kind: str  # one of `TYPES`, where the file keeps to them
    question: str
    options: tuple[str, ...]
    target: int
    number: int = 0  # place among all questions about the image, as the file has them
    pair: str = ""  # shared with the same question about a degraded twin of the image, where there is one
    difficulty: str = ""  # as the file rates it, where it does

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
    repeat: int = 1  # 2 for the second entry of one name
    part: str = ""  # tells what is asked beside a reference from what is asked about the image alone

    @property
    def id(self) -> str:
        """The name, with its number where it is not the first entry of that name, and its part."""
        named = self.name if self.repeat == 1 else f"{self.name} ({self.repeat})"
        return f"{named} ({self.part})" if self.part else named

    def templates(self, kind: Literal["random", "similar"], count: int) -> tuple[Path, ...]:
        """The first `count` references of a kind."""
        return (self.random_templates if kind == "random" else self.similar_templates)[:count]

    @cached_property
    def png_hw(self) -> tuple[int, int] | None:
        """Height and width that a PNG file states; None for other files."""
        try:
            with self.image.open("rb") as file:
                head = file.read(24)
        except OSError:
            return None
        if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
            return None
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
