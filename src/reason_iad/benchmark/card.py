"""The card of a result: everything that another needs to get the same numbers, and to see that they are the same.

It holds versions, hashes, hardware and seeds, the figures with their intervals, a hash over all answers, and some
answers in full. `verify` follows the figures from the records where they lie beside it, and asks those questions again.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reason_iad.benchmark.compare import Run, load_run
from reason_iad.benchmark.content import Content, differences
from reason_iad.benchmark.plan import Unit, plan
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.summary import given_answer
from reason_iad.datasets.mmad import MmadQuestions
from reason_iad.errors import InputError
from reason_iad.files import sha256_of_json, write_whole
from reason_iad.metrics.intervals import Estimate
from reason_iad.metrics.official_intervals import official_intervals
from reason_iad.versions import versions

FORMAT = 1
FILE = "card.json"
SPOT_IMAGES = 4  # images whose answers stand in the card in full
_PACKAGES = ("torch", "transformers", "numpy", "onnxruntime", "pillow")
AnswerPool = Callable[[Sequence[Unit]], Iterator[Record]]


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    what: str
    good: bool
    said: str

    def __str__(self) -> str:
        return f"{'same' if self.good else 'DIFFERS'}: {self.what}: {self.said}"


def figures_of(run: Run) -> dict[str, Any]:
    """What a run says, with 95 % intervals, and a hash over its answers."""
    records = run.records.records
    types, average = official_intervals([given_answer(record) for record in records])
    summary = run.summary
    found: dict[str, Any] = {
        "official": {kind: _numbers(one) for kind, one in types.items()},
        "official_average": _numbers(average),
        "strict": {kind: _numbers(one) for kind, one in summary.accuracy.items()},
        "strict_macro": _numbers(summary.macro),
        "n": summary.n, "images": summary.images, "unreadable": len(summary.unreadable),
        "answers_sha256": answers_digest(records),
    }  # fmt: skip
    if summary.detection is not None:
        found["image_auroc"] = _numbers(summary.detection.auroc)
    return found


def answers_digest(records: Sequence[Record]) -> str:
    """Hash over which question got which answer."""
    return sha256_of_json(sorted([record["key"], record.get("answer", -1)] for record in records))


def make_card(runs: Mapping[str, Run], questions: MmadQuestions, spot_images: Sequence[str]) -> dict[str, Any]:
    """The card of runs on the same questions, by the names of their settings."""
    first = next(iter(runs.values()))
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": first.setting.model,
        "software": software(),
        "hardware": hardware(),
        "data": {
            "questions": Path(str(questions.source.get("questions", ""))).name,
            "sha256": questions.source.get("sha256"),
            "known_faults_left_out": questions.source.get("known_faults"),
            "images": len(questions.samples), "questions_in_all": questions.num_questions,
            "faults": len(questions.faults),
        },
        "settings": {name: run.setting.to_mapping() for name, run in runs.items()},
        "content": {name: run.facts["content"] for name, run in runs.items()},
        "seeds": {name: run.setting.seed for name, run in runs.items()},
        "results": {name: figures_of(run) for name, run in runs.items()},
        "spot": {
            name: [
                {"id": r["id"], "key": r["key"], "answer": r.get("answer", -1), "probabilities": r.get("probabilities")}
                for r in run.records.records
                if r["image"] in spot_images
            ]
            for name, run in runs.items()
        },
    }  # fmt: skip


def write_card(card: Mapping[str, Any], folder: Path) -> Path:
    """Write `card.json`; returns its path."""
    path = folder / FILE
    write_whole(path, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return path


def read_card(path: Path) -> dict[str, Any]:
    """Read a card.

    Raises:
        InputError: it cannot be read, or is of another format.
    """
    path = path / FILE if path.is_dir() else path
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = card["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error!r}); expected a card written by `benchmark reproduce`"
        ) from error
    if found != FORMAT:
        raise InputError(f"{path} has the format {found}; this program reads {FORMAT}: use the version that wrote it")
    return card


def check_records(card: Mapping[str, Any], folder: Path) -> Iterator[Check]:
    """Whether the figures follow from the records that lie beside the card."""
    for name, held in card["results"].items():
        if not (folder / name).is_dir():
            continue
        found = figures_of(load_run(folder / name))
        wrong = [part for part in found if not _close(found[part], held.get(part))]
        said = f"figures and answers of {found['n']} records" if not wrong else f"other {', '.join(wrong)}"
        yield Check(f"{name}, from its records", not wrong, said)


def check_again(card: Mapping[str, Any], questions: MmadQuestions, pool: AnswerPool) -> Iterator[Check]:
    """Whether data and content are the same here, and whether the questions in the card get the same answers.

    The key of a question covers image, references, question, options, setting, and the content of model, knowledge and
    learned categories: where it is the same, all of them are.
    """
    held, here = card["data"]["sha256"], questions.source.get("sha256")
    yield Check("question file", held == here, "the same bytes" if held == here else f"{here} in place of {held}")
    settings = {name: Setting.from_mapping(values) for name, values in card["settings"].items()}
    contents = {setting: Content.of(setting) for setting in settings.values()}
    for name, setting in settings.items():
        changed = differences(card["content"][name], contents[setting].to_mapping())
        yield Check(f"{name}, content", not changed, "; ".join(changed) or "model, knowledge, categories and version")
    wanted = {one["key"]: one for spot in card["spot"].values() for one in spot}
    ids = {one["id"].rpartition("#")[0] for one in wanted.values()}
    samples = [sample for sample in questions.samples if sample.id in ids]
    units = list(plan(samples, {setting: content.fingerprint for setting, content in contents.items()}))
    names = {setting: name for name, setting in settings.items()}
    asked = {job.key: names[job.setting] for unit in units for job in unit.jobs}
    again = [unit.keep([job for job in unit.jobs if job.key in wanted]) for unit in units]
    records = list(pool([unit for unit in again if unit.jobs]))
    for name in settings:
        spot = {one["key"]: one for one in card["spot"][name]}
        mine = [record for record in records if asked[record["key"]] == name]
        same = sum(record.get("answer", -1) == spot[record["key"]]["answer"] for record in mine)
        apart = max((_apart(record, spot[record["key"]]) for record in mine), default=0.0)
        lost = len(spot) - len(mine)
        said = f"{same} of {len(spot)} answers, probabilities at most {apart:.1e} apart"
        said += f"; {lost} have another key, so image, references, words, setting or content is another" if lost else ""
        yield Check(f"{name}, asked again", same == len(spot), said)


def software() -> dict[str, str]:
    """Versions of what answers depend on."""
    return versions(_PACKAGES)


def hardware() -> dict[str, Any]:
    """What the questions were asked on."""
    from reason_iad.processor import abilities, cores, model_name

    found: dict[str, Any] = {
        "processor": model_name(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}",
        "abilities": [name for name, there in abilities().items() if there],
    }  # fmt: skip
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def _numbers(one: Estimate) -> dict[str, float]:
    return {"value": round(one.value, 6), "low": round(one.low, 6), "high": round(one.high, 6), "n": one.n}


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(other, (int, float)) and math.isclose(one, other, abs_tol=2e-6)
    return bool(one == other)


def _apart(record: Record, held: Mapping[str, Any]) -> float:
    now, then = record.get("probabilities"), held.get("probabilities")
    if now is None or then is None or len(now) != len(then):
        return math.inf if now != then else 0.0
    return max(abs(float(a) - float(b)) for a, b in zip(now, then, strict=True))
