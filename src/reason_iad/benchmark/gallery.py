"""Questions worth looking at, with their pictures: those that every run gets wrong, and those where two runs differ."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reason_iad.benchmark.compare import Run
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.summary import is_right
from reason_iad.errors import ImageError
from reason_iad.images import encode_jpeg, read_image, resize

COUNT = 12  # questions of one gallery
SIDE = 200  # pixels of the longer side of a picture


@dataclass(frozen=True)
class Shown:
    """One question as it is shown."""

    image: str
    picture: str  # as a data URI; empty where the image is not there
    kind: str
    question: str
    right: str
    answers: tuple[tuple[str, str, bool], ...]  # run, what it answered and how sure, whether that is right


@dataclass(frozen=True)
class Gallery:
    """Questions with a title."""

    title: str
    note: str
    shown: tuple[Shown, ...]


def galleries(runs: Sequence[Run]) -> tuple[Gallery, ...]:
    """The hardest questions, and for each run those where it differs from the first."""
    found = [_hardest(runs), *(_differing(runs[0], run) for run in runs[1:])]
    return tuple(one for one in found if one.shown)


def _hardest(runs: Sequence[Run]) -> Gallery:
    """Wrong in every run, those first that the runs were surest of."""
    by_run = [{record["id"]: record for record in run.records.records} for run in runs]
    wrong = [
        record["id"]
        for record in runs[0].records.records
        if all("error" not in one[record["id"]] and not is_right(one[record["id"]]) for one in by_run)
    ]
    wrong.sort(key=lambda name: (-sum(max(one[name]["probabilities"]) for one in by_run), name))
    shown = tuple(_show([(run, one[name]) for run, one in zip(runs, by_run, strict=True)]) for name in wrong[:COUNT])
    every = f"all {len(runs)} runs" if len(runs) > 1 else "the run"
    note = f"{len(wrong)} questions that {every} got wrong; the {len(shown)} that were answered most surely."
    return Gallery("Hardest questions", note, shown)


def _differing(first: Run, second: Run) -> Gallery:
    """Right in one of two runs alone, lost ones before won ones, the surest first."""
    other = {record["id"]: record for record in second.records.records}
    pairs = [
        (record, other[record["id"]])
        for record in first.records.records
        if is_right(record) != is_right(other[record["id"]]) and "error" not in {**record, **other[record["id"]]}
    ]
    lost = sorted((pair for pair in pairs if is_right(pair[0])), key=_sureness)
    won = sorted((pair for pair in pairs if is_right(pair[1])), key=_sureness)
    half = COUNT // 2
    chosen = [*lost[: max(half, COUNT - len(won))], *won[: max(half, COUNT - len(lost))]][:COUNT]
    shown = tuple(_show([(first, a), (second, b)]) for a, b in chosen)
    note = f"{len(lost)} lost and {len(won)} won against {first.name}; {len(shown)} of them."
    return Gallery(f"Where {second.name} differs from {first.name}", note, shown)


def _sureness(pair: tuple[Record, Record]) -> tuple[float, str]:
    return -sum(max(record["probabilities"]) for record in pair), pair[0]["id"]


def _show(answers: Sequence[tuple[Run, Record]]) -> Shown:
    run, record = answers[0]
    given = []
    for one, found in answers:
        sure = found["probabilities"][found["answer"]]
        given.append((one.name, f"{found['options'][found['answer']]} ({sure:.0%})", is_right(found)))
    root = str(run.facts.get("root", ""))
    picture = _picture(Path(root) / record["image"]) if root else ""
    right = record["options"][record["target"]]
    return Shown(record["image"], picture, record["type"], record["question"], right, tuple(given))


@lru_cache(maxsize=256)
def _picture(path: Path) -> str:
    """A small copy of an image as a data URI; empty where it cannot be read."""
    try:
        pixels = read_image(path).pixels
    except ImageError:
        return ""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small, 80)).decode("ascii")
