"""Detection and localization on a data set: every test image compared with k normal training images of its category.

The references of a category are drawn once, by the hash of seed and name, so they depend on no order; with a model the
tool's whole verdict is asked, too. A record holds score and map, the plan label and mask: every measure follows from
the two.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from reason_iad.benchmark.detect_maps import pack_map, pack_mask
from reason_iad.benchmark.features import StoredBanks, StoredVision, vision_namespace
from reason_iad.benchmark.plan import MISSING, ContentHashes, Job, Unit
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.solver import InspectorSolver, error_record, is_readable
from reason_iad.datasets.base import Fault, ImageDataset, ImageSample
from reason_iad.errors import InputError, ModelUnavailableError
from reason_iad.files import sha256_of_json
from reason_iad.images import read_image
from reason_iad.inspection.options import InspectorOptions

if TYPE_CHECKING:
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.models.base import VisionTowers

CHUNK = 8  # test images a unit: small enough for several workers, large enough to share a bank
MAX_BANKS = 16


@dataclass(frozen=True)
class DetectSetting:
    """How every test image is judged."""

    shots: int = 4
    model: str = ""  # the comparison alone where empty
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        if not 1 <= self.shots <= 1000:
            raise InputError(f"shots is {self.shots}; expected a number of references from 1 to 1000")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> DetectSetting:
        """Make a setting from plain values.

        Raises:
            InputError: a name is not known.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(values) - fields:
            raise InputError(f"the setting names {sorted(unknown)}; expected some of {sorted(fields)}")
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @property
    def fingerprint(self) -> str:
        """Hash over all fields: 16 hexadecimal digits."""
        return sha256_of_json(self.to_mapping(), sort_keys=True)[:16]

    def __str__(self) -> str:
        return f"{self.shots}-shot, {'evidence and ' + self.model if self.model else 'evidence alone'}"


@dataclass(frozen=True)
class DetectJob(Job):
    """One test image."""

    sample: ImageSample
    content: str  # hash of the image


@dataclass(frozen=True)
class DetectUnit(Unit):
    """A few test images of one category and what they are compared with."""

    jobs: tuple[DetectJob, ...]
    category: str
    references: tuple[Path, ...]
    setting: DetectSetting

    def head(self, job: DetectJob) -> Record:
        """Which image was judged."""
        return {"key": job.key, "id": job.id, "image": job.sample.name}

    def truth(self, job: DetectJob) -> Record:
        """Label and mask of the image."""
        sample = job.sample
        mask, how = pack_mask(sample)
        return {
            **self.head(job),
            "image_sha256": job.content,
            "category": sample.category,
            "defective": sample.defective,
            "defect_type": sample.defect_type,
            "mask": mask,
            "mask_taken": how,
        }


def plan_detection(
    dataset: ImageDataset,
    setting: DetectSetting,
    limit: int | None = None,
    hashes: ContentHashes | None = None,
    content: str = "",
) -> list[DetectUnit]:
    """Units of work for all test images.

    The one rule for references that are missing: a category with fewer than asked is compared with those it has, one
    with none is left out; `shortages` says so.

    Args:
        dataset: the images.
        setting: how each is judged.
        limit: so many a category, defective and normal in proportion.
        hashes: of files, where some are known.
        content: fingerprint of what a model's verdict depends on besides.

    Raises:
        InputError: no category has a normal training image.
    """
    hashes = hashes or ContentHashes()
    units = []
    for category in dataset.categories:
        queries = sorted(dataset.queries(category), key=lambda sample: _draw(0, sample.name))
        goods = sorted(dataset.references(category), key=lambda sample: _draw(setting.seed, sample.name))
        drawn = tuple(sample.image for sample in goods[: setting.shots])
        together: dict[tuple[Path, ...], list[DetectJob]] = {}
        for sample in _stratified(queries, limit):
            references = sample.references[: setting.shots] or drawn
            if not references:
                continue
            image = hashes.of(sample.image)
            shown = [hashes.of(path) for path in references]
            parts = [image, *shown, setting.fingerprint, content, *([sample.name] if image == MISSING else [])]
            key = sha256_of_json(parts)[:24]
            together.setdefault(references, []).append(DetectJob(key, sample.name, setting, sample, image))
        units += [
            DetectUnit(tuple(jobs[start : start + CHUNK]), category, references, setting)
            for references, jobs in together.items()
            for start in range(0, len(jobs), CHUNK)
        ]
    if not units:
        raise InputError(
            f"no category of {dataset.name} has both test images and a normal training image; expected at least one: "
            "see the data faults"
        )
    return units


def shortages(dataset: ImageDataset, setting: DetectSetting) -> list[Fault]:
    """Categories with fewer normal training images than are asked for, and what is done about it."""
    found = []
    for category in dataset.categories:
        count = len(dataset.references(category))
        queries = [sample for sample in dataset.queries(category) if not sample.references]
        if not queries or count >= setting.shots:
            continue
        done = f"it is compared with {count}" if count else "there is nothing to compare it with: it is left out"
        found.append(Fault(category, f"has {count} normal training images; expected {setting.shots}: {done}"))
    return found


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _stratified(queries: Sequence[ImageSample], limit: int | None) -> list[ImageSample]:
    if limit is None or limit >= len(queries):
        return list(queries)
    defective = [sample for sample in queries if sample.defective]
    normal = [sample for sample in queries if not sample.defective]
    count = min(len(defective), max(1, round(limit * len(defective) / len(queries)))) if defective else 0
    return [*defective[:count], *normal[: limit - count]]


class DetectSolver:
    """Compares images with references; with an inspector it also asks for the tool's probability of a defect."""

    def __init__(
        self, vision: VisionTowers, banks: StoredBanks | None = None, solver: InspectorSolver | None = None
    ) -> None:
        self._vision, self._store, self._solver = vision, banks, solver
        self._banks: OrderedDict[tuple[Path, ...], MemoryBank] = OrderedDict()
        self._usable: dict[tuple[Path, ...], tuple[Path, ...]] = {}

    @classmethod
    def load(cls, model: str = "", cache: Path | None = None, threads: int = 1) -> DetectSolver:
        """Load the towers, and the model where one is named.

        Raises:
            WeightsError: a part cannot be fetched.
        """
        import torch

        from reason_iad.models.vision import BundledVision
        from reason_iad.models.vision_cache import CachedVision

        torch.set_num_threads(threads)
        if model:
            solver = InspectorSolver.load(InspectorOptions(model=model), cache, threads)
            return cls(solver.inspector.vision, solver=solver)
        towers = BundledVision.load(exact=True)  # the same records on every machine
        if cache is None:
            return cls(CachedVision(towers))
        folder = cache / vision_namespace()
        stored = CachedVision(StoredVision(towers, folder))
        return cls(stored, StoredBanks(towers, stored, folder))

    def answer(self, unit: DetectUnit) -> Iterator[Record]:
        """Yield one record for each image; an error stays with its image."""
        for job in unit.jobs:
            try:
                yield self._judge(unit, job)
            except ModelUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it stays with this image
                yield error_record(unit, job, error)

    def _judge(self, unit: DetectUnit, job: DetectJob) -> Record:
        began = perf_counter()
        references = self._readable(unit.references)
        if self._solver is None:
            from reason_iad.evidence.compare import compare

            image = read_image(job.sample.image)
            evidence = compare(image.pixels, self._bank(references), self._vision)
            probability = evidence.anomaly_score
        else:
            found, probability = self._solver.judge(job.sample.image, references, unit.setting.seed)
            evidence, image = found
        spent = (perf_counter() - began) * 1000
        return {
            **unit.head(job),
            "references": len(references),
            "score": round(evidence.anomaly_score, 7),
            "probability": round(probability, 7),
            "p_value": evidence.p_value,
            "map": pack_map(evidence, image.image_hw),
            "milliseconds": {"judge": round(spent, 1)},
        }

    def _bank(self, references: tuple[Path, ...]) -> MemoryBank:
        """The bank of a category, from those of its references that can be read; the record counts them."""
        from reason_iad.evidence.memory_bank import MemoryBank

        if references not in self._banks:
            pixels = [read_image(path).pixels for path in references]
            if len(pixels) == 1 and self._store is not None:
                self._banks[references] = self._store.single(pixels[0])
            else:
                self._banks[references] = MemoryBank.build(pixels, self._vision)
            if len(self._banks) > MAX_BANKS:
                self._banks.popitem(last=False)
        return self._banks[references]

    def _readable(self, references: tuple[Path, ...]) -> tuple[Path, ...]:
        """Those of the references that can be read: the others are passed over as if they were missing.

        Raises:
            InputError: none can be read.
        """
        if references not in self._usable:
            self._usable[references] = tuple(path for path in references if is_readable(path))
        if not self._usable[references]:
            raise InputError(f"none of {len(references)} references can be read; expected at least one image")
        return self._usable[references]
