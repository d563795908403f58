"""Multiple-choice questions in the layout of MMAD (arXiv 2410.09453).

A file maps each image to {"conversation": [{"Question", "Options", "Answer", "type"}], "random_templates",
"similar_templates", "mask_path"}; paths are relative to the data folder. Real files have faults: what cannot be asked
is left out and listed, the rest is asked. What stands twice is asked about twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reason_iad.datasets.base import Fault
from reason_iad.datasets.known_faults import MMAD_FAULTS, KnownFault, known_faults_of
from reason_iad.datasets.located import LocatedJson, Member
from reason_iad.datasets.mmad_entry import EntryReader
from reason_iad.datasets.mmad_types import DETECTION, TYPES, MmadQuestion, MmadSample
from reason_iad.errors import InputError
from reason_iad.files import sha256

__all__ = ["DETECTION", "TYPES", "MmadQuestion", "MmadQuestions", "MmadSample", "Templates", "read_mmad"]

Templates = Literal["random", "similar"]


@dataclass(frozen=True)
class MmadQuestions:
    """What can be asked, and what is wrong with the files."""

    samples: tuple[MmadSample, ...]
    faults: tuple[Fault, ...]
    source: dict[str, Any] = field(default_factory=dict)  # the files, to read them again

    @property
    def num_questions(self) -> int:
        """Number of questions over all images."""
        return sum(len(sample.questions) for sample in self.samples)


def read_mmad(root: Path, questions: Path, known_faults: bool = False) -> MmadQuestions:
    """Read a question file over the images under `root`.

    Entries that do not follow the layout and images that are missing are left out and listed as faults.

    Args:
        root: folder that the paths in the file are relative to.
        questions: the file.
        known_faults: leave out what is on the list of MMAD's known faults; without it they are said and asked.

    Raises:
        InputError: the file cannot be read, is in another layout, or none of its images lies under `root`.
    """
    try:
        data = questions.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{questions} cannot be read ({error}); expected a JSON file in the MMAD layout") from error
    located, members = read_located(questions, text)
    reader = EntryReader(root, questions, located)
    samples = [sample for member in members if (sample := reader.read(member)) is not None]
    return finished(root, questions, data, samples, reader.faults, len(members), known_faults)


def read_located(file: Path, text: str) -> tuple[LocatedJson, list[Member]]:
    """The members of a JSON object with their places.

    Raises:
        InputError: the text is something else.
    """
    located = LocatedJson(text)
    try:
        members = list(located.members())
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); expected a JSON file in the MMAD layout, an object that maps images to "
            "entries"
        ) from error
    if not members:
        raise InputError(f"{file} holds no entry; expected an object that maps images to entries")
    return located, members


def finished(
    root: Path,
    file: Path,
    data: bytes,
    samples: list[MmadSample],
    faults: list[Fault],
    listed: int,
    known_faults: bool,
) -> MmadQuestions:
    """What was read from a file of `listed` entries, after what is known of its faults was said or applied.

    Raises:
        InputError: nothing is left to be asked.
    """
    faults = [*faults, *_misplaced(samples)]
    samples, said = _with_known(samples, known_faults)
    faults.extend(said)
    if not samples:
        raise InputError(
            f"of {listed} entries in {file} none can be asked ({faults[0]}); expected images under {root} "
            "at the paths that the file names: check --root"
        )
    source = {
        "questions": str(file.resolve()), "root": str(root.resolve()), "known_faults": known_faults,
        "sha256": sha256(data),
    }  # fmt: skip
    return MmadQuestions(tuple(samples), tuple(faults), source)


def _with_known(samples: list[MmadSample], apply: bool) -> tuple[list[MmadSample], list[Fault]]:
    """Samples after the known faults of MMAD were applied, or the same and how many there are."""
    kept: list[MmadSample] = []
    faults: list[Fault] = []
    met: Counter[KnownFault] = Counter()
    for sample in samples:
        found = known_faults_of(sample, MMAD_FAULTS)
        met.update(found)
        rest: MmadSample | None = sample
        for one in found if apply else ():
            rest = None if rest is None else one.without(rest)
            faults.append(Fault(sample.name, f"{one.what} ({one.source}); {one.kind or 'every question'} left out"))
        if rest is not None:
            kept.append(rest)
    if not apply:
        faults += [
            Fault(one.id, f"{count} images are on the list of MMAD's known faults: {one.what} ({one.source}); they are "
                  "asked about as they are: --known-faults leaves them out")
            for one, count in met.items()
        ]  # fmt: skip
    return kept, faults


def _misplaced(samples: Sequence[MmadSample]) -> list[Fault]:
    """Images that have the size of another category's images, as 22 metal nuts among MMAD's pills have.

    A category's size is that of seven in ten of its images. Only PNG, which states its size at once, is looked at.
    """
    by_category: dict[tuple[str, str], list[tuple[MmadSample, tuple[int, int]]]] = {}
    for sample in samples:
        if (size := sample.png_hw) is not None:
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
