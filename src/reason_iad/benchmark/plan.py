"""Which questions are to be asked: each has a key over its content, and the questions of one image are one unit.

The key is a hash of question, image, references, setting and model, so a record says what it belongs to: a changed
image or a newly trained model is asked again, a repeated command asks nothing twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.setting import Setting
from reason_iad.datasets.mmad import MmadQuestion, MmadSample
from reason_iad.errors import InputError
from reason_iad.files import sha256, sha256_of_file, sha256_of_json

MISSING = "missing"


class AnySetting(Protocol):
    """What a run varies; hashable."""

    @property
    def fingerprint(self) -> str:
        """Hash over all fields."""
        ...

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain values."""
        ...


@dataclass(frozen=True)
class Job:
    """What leads to one record."""

    key: str
    id: str  # the same in every setting
    setting: AnySetting


@dataclass(frozen=True)
class Unit(ABC):
    """Jobs that share so much that they are one piece of work."""

    jobs: tuple[Any, ...]

    def keep(self, jobs: Sequence[Job]) -> Self:
        """The same unit with some of its jobs."""
        return replace(self, jobs=tuple(jobs))

    @abstractmethod
    def head(self, job: Any) -> Record:
        """What the record of a job begins with: enough to score it without the data."""

    @abstractmethod
    def content_of(self, job: Any) -> str:
        """Hash of the image that a job is about; `MISSING` where it was not there."""


@dataclass(frozen=True)
class QuestionJob(Job):
    """One question under one setting."""

    setting: Setting
    question: MmadQuestion


@dataclass(frozen=True)
class QuestionUnit(Unit):
    """All that is to be asked about one image."""

    jobs: tuple[QuestionJob, ...]
    sample: MmadSample
    image_sha256: str

    def head(self, job: QuestionJob) -> Record:
        """Image, question and the right answer."""
        question, sample = job.question, self.sample
        return {
            "key": job.key,
            "id": job.id,
            "image": sample.name,
            "dataset": sample.dataset,
            "category": sample.category,
            "type": question.kind,
            "question": question.question,
            "options": list(question.options),
            "target": question.target,
            "yes": question.yes,
            "questions": len(sample.questions),
        }

    def content_of(self, job: QuestionJob) -> str:
        """Hash of the image."""
        return self.image_sha256


@dataclass(frozen=True)
class Shard:
    """Every `count`-th image, from `index` on."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "i/n".

        >>> Shard.parse("1/2")
        Shard(index=1, count=2)

        Raises:
            InputError: it is something else.
        """
        index, _, count = text.partition("/")
        if not index.isdecimal() or not count.isdecimal() or int(index) >= int(count):
            raise InputError(f"the shard is {text!r}; expected i/n with i from 0 to n - 1, such as 0/2 and 1/2")
        return cls(int(index), int(count))

    @property
    def name(self) -> str:
        """For file names."""
        return f"{self.index}-of-{self.count}"


class ContentHashes:
    """SHA-256 of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Hash of a file's bytes; `MISSING` where it cannot be read."""
        if path not in self._known:
            try:
                self._known[path] = sha256_of_file(path)
            except OSError:
                self._known[path] = MISSING
        return self._known[path]


def plan(
    samples: Sequence[MmadSample], settings: Sequence[Setting], model: str, hashes: ContentHashes | None = None
) -> Iterator[QuestionUnit]:
    """Yield a unit an image with all its questions under all settings, those that share a context side by side.

    Args:
        samples: images with their questions.
        settings: under which each question is asked.
        model: fingerprint of the model's weights.
        hashes: of the files, where some are known already.
    """
    hashes = hashes or ContentHashes()
    ordered = sorted(settings, key=lambda one: (repr(one.context), one.latents, one.injection))
    for sample in samples:
        image = hashes.of(sample.image)
        jobs = []
        for setting in ordered:
            shown = [hashes.of(path) for path in sample.templates(setting.templates, setting.shots)]
            for question in sample.questions:
                content = [question.question, *question.options, question.kind, image, *shown]
                content += [setting.fingerprint, model, sample.category if setting.gives_category else ""]
                key = sha256_of_json(content)[:24]
                jobs.append(QuestionJob(key, f"{sample.name}#{question.number}", setting, question))
        yield QuestionUnit(tuple(jobs), sample, image)


AnyUnit = TypeVar("AnyUnit", bound=Unit)


def pending(units: Sequence[AnyUnit], done: Set[str]) -> list[AnyUnit]:
    """What is left of `units` when the jobs with the keys `done` are recorded already."""
    left = []
    for unit in units:
        jobs = [job for job in unit.jobs if job.key not in done]
        if jobs:
            left.append(unit.keep(jobs))
    return left


def model_fingerprint(name: str) -> str:
    """Hash that changes with the weights of a model: 16 hexadecimal digits."""
    if name == "nano":
        from reason_iad.models.nano import default_adapter

        folder = default_adapter()
        return sha256(*((folder / file).read_bytes() for file in ("adapter.safetensors", "adapter.json")))[:16]
    return sha256(name)[:16]
