"""What a model says of labeled images, asked as in use and kept line by line: a run that was cut off goes on."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import ImageDataset, ImageSample
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.files import sha256_of_json
from reason_iad.images import LoadedImage, Pixels
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.session import DETECTION_QUESTION, NO, YES
from reason_iad.types import InspectionRequest

Row = dict[str, Any]
SEED = 7
SHOTS = (4, 1, 0)  # references beside which each image is asked about: one for each form of the fusion
Source = Path | Pixels | LoadedImage


@dataclass(frozen=True, eq=False)
class Case:
    """One image to ask about.

    Attributes:
        group: the line or category, which a fit leaves out as a whole where there are enough.
        name: of the image.
        image: the image.
        references: good parts that it is compared with.
        defective: what it is; None where nobody has said.
        unit: images of one object, which a fit leaves out together; the image alone where empty.
        category: as the knowledge names it; recognized where None.
    """

    group: str
    name: str
    image: Source
    references: tuple[Source, ...]
    defective: bool | None
    unit: str = ""
    category: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What a row is found by."""
        return self.group, self.name, len(self.references)


def labeled_split(dataset: ImageDataset) -> str:
    """The split that a fit may use: train where it holds defective images, so that the test split stays untouched."""
    return "train" if any(s.defective and s.split == "train" for s in dataset.samples) else "test"


def dataset_cases(
    dataset: ImageDataset, shots: Sequence[int] = SHOTS, limit: int | None = None, split: str | None = None
) -> Iterator[Case]:
    """Images of a data set beside references of their category, the number of which changes from round to round.

    References are normal training images, or, where there is none, normal ones of the split itself; an image is never
    asked about beside itself. They are drawn once a category, so that a product's part of the prompt is shared.

    Args:
        dataset: with labels.
        shots: numbers of references; a category with too few normal images is asked about with those it has.
        limit: most images of a category and kind.
        split: whose images are asked about; `labeled_split` where None.
    """
    split = split or labeled_split(dataset)
    for category in dataset.categories:
        mine = [s for s in dataset.samples if s.category == category]
        goods = [s for s in mine if s.split == "train" and not s.defective]
        goods = _drawn(goods or [s for s in mine if not s.defective])
        asked = [s for s in mine if s.split == split]
        spared = max(0, min(max(shots, default=0), len(goods) // 2)) if split == "train" or not goods else max(shots)
        shown = goods[:spared]
        for count in shots:
            references = tuple(s.image for s in shown[:count])
            if len(references) < count:
                continue
            for defective in (False, True):
                pool = _drawn([s for s in asked if s.defective == defective and s not in shown])
                for sample in pool[:limit]:
                    yield Case(category, sample.name, sample.image, references, defective, sample.group)


def _drawn(samples: Sequence[ImageSample]) -> list[ImageSample]:
    """Samples in an order that is always the same and depends on nothing but their names."""
    return sorted(samples, key=lambda s: sha256_of_json([SEED, s.name]))


@dataclass
class RowFile:
    """Rows that were kept, and the file that further ones go into; unreadable lines are passed over and counted."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    damaged: int = 0

    @classmethod
    def open(cls, path: Path) -> RowFile:
        """Read what is there.

        Raises:
            InputError: the file cannot be read.
        """
        found = cls(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}); expected rows of an earlier run, or no file") from error
        for line in lines:
            try:
                row = json.loads(line)
                (row["group"], row["name"], row["references"])
            except (ValueError, KeyError, TypeError):
                found.damaged += 1
                continue
            found.rows.append(row)
        return found

    def add(self, row: Row) -> None:
        """Keep a row at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        broken = self.path.exists() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if broken else "") + json.dumps(row) + "\n")
        self.rows.append(row)


def collect(
    inspector: Inspector,
    cases: Iterable[Case],
    kept: RowFile,
    say: Callable[[str], None] | None = None,
) -> tuple[str, ...]:
    """Ask about every case that was not asked about yet.

    A row has the model's probability of a defect, the anomaly score (0.5 without a comparison), the mean log-odds of a
    defect on the good parts (None where there is none to ask about), log-odds and anomaly score of each of them, the
    truth, and the seconds of image and offset.

    Args:
        inspector: without a fit of the model, which would be a fit on top of another.
        cases: what to ask about.
        kept: rows of earlier calls, and of this one.
        say: told how far it is.

    Returns:
        what could not be asked, in words.

    Raises:
        ModelError: the model does not answer; what was answered is kept.
    """
    say = say or (lambda _: None)
    view = inspector.with_options(dataclasses.replace(inspector.options, offset="on"))
    done = {(row["group"], row["name"], row["references"]) for row in kept.rows if "kind" not in row}
    left_out = []
    for case in cases:
        if case.key in done:
            continue
        began = time.monotonic()
        try:
            session = view.open(InspectionRequest(case.image, case.category, references=case.references))
        except ReasonIADError as error:
            left_out.append(f"{case.name}: {error}")
            continue
        reply, asked = session.dialog.choose(DETECTION_QUESTION, (YES, NO)), time.monotonic()
        summary, offset = session.context.summary, session.offset()
        kept.add(
            {
                "group": case.group, "name": case.name, "references": len(case.references), "unit": case.unit,
                "defective": case.defective, "model": round(reply.probability_of(YES), 7),
                "score": 0.5 if summary is None else round(summary.anomaly_score, 6),
                "offset": None if offset is None else offset.mean,
                "goods": [] if offset is None else offset.pairs,
                "seconds": [round(asked - began, 3), round(time.monotonic() - asked, 3)],
            }
        )  # fmt: skip
        say(f"{len(kept.rows)} answers: {case.group}, {case.name}")
    return tuple(left_out)
