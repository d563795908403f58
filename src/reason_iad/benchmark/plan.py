"""Which questions are to be asked: each has a key over its content, and the questions of one image are one unit.

The key is a hash of everything that the answer depends on: image, question, options, references, setting, and the
content of model, knowledge and profiles. What an image is called and which answer is right are no part of it: they
stand in the plan (`plan_file`), apart from the records. A moved image and a corrected answer are not asked again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.setting import Setting
from reason_iad.datasets.mmad import MmadQuestion, MmadSample
from reason_iad.errors import InputError
from reason_iad.files import sha256_of_file, sha256_of_json

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
        """What the record of a job begins with: what was asked."""

    @abstractmethod
    def truth(self, job: Any) -> Record:
        """What the plan says of a job: where it belongs and what is right."""


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
        """Image, question and options as they were asked."""
        question = job.question
        return {
            "key": job.key,
            "id": job.id,
            "image": self.sample.name,
            "question": question.question,
            "options": list(question.options),
        }

    def truth(self, job: QuestionJob) -> Record:
        """Place and type of the question, and the right answer."""
        question, sample = job.question, self.sample
        return {
            **self.head(job),
            "image_sha256": self.image_sha256,
            "dataset": sample.dataset,
            "category": sample.category,
            "type": question.kind,
            "target": question.target,
            "yes": question.yes,
            "questions": len(sample.questions),
            **({"pair": question.pair} if question.pair else {}),
            **({"difficulty": question.difficulty} if question.difficulty else {}),
        }


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
    samples: Sequence[MmadSample], contents: Mapping[Setting, str], hashes: ContentHashes | None = None
) -> Iterator[QuestionUnit]:
    """Yield a unit an image with all its questions under all settings, those that share a context side by side.

    Args:
        samples: images with their questions.
        contents: the settings under which each question is asked, with the fingerprint of what their answers depend
            on besides (`Content`).
        hashes: of the files, where some are known already.
    """
    hashes = hashes or ContentHashes()
    ordered = sorted(contents, key=lambda one: (repr(one.context), one.latents, one.injection))
    for sample in samples:
        image = hashes.of(sample.image)
        jobs = []
        for setting in ordered:
            shown = [hashes.of(path) for path in sample.templates(setting.templates, setting.shots)]
            told = sample.category if setting.gives_category else ""
            for question in sample.questions:
                asked = [question.question, *question.options, str(question.yes)]
                content = [*asked, image, *shown, told, setting.fingerprint, contents[setting]]
                if image == MISSING:
                    content.append(sample.name)  # nothing else tells it from others that are gone
                key = sha256_of_json(content)[:24]
                jobs.append(QuestionJob(key, f"{sample.id}#{question.number}", setting, question))
        yield QuestionUnit(tuple(jobs), sample, image)


AnyUnit = TypeVar("AnyUnit", bound=Unit)


def pending(units: Sequence[AnyUnit], done: Set[str]) -> list[AnyUnit]:
    """What is left of `units` when the jobs with the keys `done` are recorded already; each key once."""
    left, known = [], set(done)
    for unit in units:
        jobs = []
        for job in unit.jobs:
            if job.key not in known:
                known.add(job.key)
                jobs.append(job)
        if jobs:
            left.append(unit.keep(jobs))
    return left
