"""Detection and localization on a data set: every test image compared with k normal training images of its category.

The references of a category are drawn once, by the hash of seed and name, so they depend on no order; with a model the
tool's whole verdict is asked, too. A record holds score, map and mask, so that every measure follows from it alone.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reason_iad.benchmark.features import StoredBanks, StoredVision, vision_namespace
from reason_iad.benchmark.plan import ContentHashes, Job, Unit, model_fingerprint
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.solver import InspectorSolver, error_record
from reason_iad.datasets.base import ImageDataset, ImageSample
from reason_iad.errors import InputError
from reason_iad.files import sha256_of_json
from reason_iad.images import ImageLimits, read_image

if TYPE_CHECKING:
    from reason_iad.evidence.compare import EvidenceMap
    from reason_iad.evidence.memory_bank import MemoryBank
    from reason_iad.models.base import VisionTowers

CHUNK = 8  # test images a unit: small enough for several workers, large enough to share a bank
MAX_BANKS = 16
MASK_SIDE = 256  # pixels of the longer side at which maps and masks are compared
_MASK_LIMITS = ImageLimits(min_side=1, max_aspect=1000.0)


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
        """Image and label."""
        sample = job.sample
        return {
            "key": job.key,
            "id": job.id,
            "image": sample.name,
            "category": sample.category,
            "defective": sample.defective,
            "defect_type": sample.defect_type,
        }

    def content_of(self, job: DetectJob) -> str:
        """Hash of the image."""
        return job.content


def plan_detection(
    dataset: ImageDataset, setting: DetectSetting, limit: int | None = None, hashes: ContentHashes | None = None
) -> list[DetectUnit]:
    """Units of work for all test images; `limit` keeps so many a category, defective and normal in proportion.

    Raises:
        InputError: a category has too few normal training images.
    """
    hashes = hashes or ContentHashes()
    model = model_fingerprint(setting.model) if setting.model else ""
    units = []
    for category in dataset.categories:
        queries = sorted(dataset.queries(category), key=lambda sample: _draw(0, sample.name))
        if not queries:
            continue
        goods = sorted(dataset.references(category), key=lambda sample: _draw(setting.seed, sample.name))
        if len(goods) < setting.shots:
            raise InputError(
                f"{category} has {len(goods)} normal training images; expected {setting.shots}: use fewer --shots"
            )
        references = tuple(sample.image for sample in goods[: setting.shots])
        shown = [hashes.of(path) for path in references]
        jobs = []
        for sample in _stratified(queries, limit):
            image = hashes.of(sample.image)
            masks = [hashes.of(path) for path in sample.masks]
            content = [image, *shown, *masks, str(sample.defective), setting.fingerprint, model]
            key = sha256_of_json(content)[:24]
            jobs.append(DetectJob(key, sample.name, setting, sample, image))
        units += [
            DetectUnit(tuple(jobs[start : start + CHUNK]), category, references, setting)
            for start in range(0, len(jobs), CHUNK)
        ]
    return units


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
            solver = InspectorSolver.load(model, cache, threads)
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
            except Exception as error:  # noqa: BLE001 - whatever it is, it stays with this image
                yield error_record(unit, job, error)

    def _judge(self, unit: DetectUnit, job: DetectJob) -> Record:
        began = perf_counter()
        if self._solver is None:
            from reason_iad.evidence.compare import compare

            image = read_image(job.sample.image)
            evidence = compare(image.pixels, self._bank(unit.references), self._vision)
            probability = evidence.anomaly_score
        else:
            found, probability = self._solver.judge(job.sample.image, unit.references, unit.setting.seed)
            evidence, image = found
        spent = (perf_counter() - began) * 1000
        return {
            **unit.head(job),
            "score": round(evidence.anomaly_score, 7),
            "probability": round(probability, 7),
            "p_value": evidence.p_value,
            "map": pack_map(evidence, image.image_hw),
            "mask": pack_mask(job.sample, image.image_hw),
            "milliseconds": {"judge": round(spent, 1)},
        }

    def _bank(self, references: tuple[Path, ...]) -> MemoryBank:
        """The bank of a category; images that cannot be read would change every result, so they are errors."""
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


def comparison_hw(image_hw: tuple[int, int]) -> tuple[int, int]:
    """Size at which map and mask of an image are compared: as it is, or its longer side cut to `MASK_SIDE`.

    >>> comparison_hw((100, 50)), comparison_hw((1024, 512))
    ((100, 50), (256, 128))
    """
    scale = min(1.0, MASK_SIDE / max(image_hw))
    return max(1, round(image_hw[0] * scale)), max(1, round(image_hw[1] * scale))


def pack_map(evidence: EvidenceMap, image_hw: tuple[int, int]) -> dict[str, Any]:
    """The uncalibrated map in half precision, as text, with the size of its image."""
    values = evidence.raw.astype(np.float16)
    return {"hw": list(values.shape), "image_hw": list(image_hw), "data": _pack(values.tobytes())}


def unpack_map(packed: Mapping[str, Any]) -> npt.NDArray[np.float16]:
    """The map at the size it is compared at: (h, w)."""
    from reason_iad.evidence.search import enlarge

    values = np.frombuffer(_unpack(packed["data"]), dtype=np.float16).reshape(packed["hw"])
    height, width = packed["image_hw"]
    return enlarge(values.astype(np.float32), comparison_hw((height, width))).astype(np.float16)


def pack_mask(sample: ImageSample, image_hw: tuple[int, int]) -> str | None:
    """Which pixels are defective at the size they are compared at, as text; None where that is not known."""
    if sample.defective and not sample.masks:
        return None
    height, width = comparison_hw(image_hw)
    mask = np.zeros((height, width), dtype=bool)
    for path in sample.masks:
        whole = read_image(path, _MASK_LIMITS).pixels.max(axis=-1) > 0
        rows = (np.arange(height) + 0.5) * whole.shape[0] / height
        columns = (np.arange(width) + 0.5) * whole.shape[1] / width
        mask |= whole[rows.astype(int)[:, None], columns.astype(int)[None]]
        if whole.any() and not mask.any():  # smaller than one pixel of the comparison: it keeps one
            y, x = np.argwhere(whole).mean(0)
            mask[int(y * height / whole.shape[0]), int(x * width / whole.shape[1])] = True
    return _pack(np.packbits(mask).tobytes())


def unpack_mask(record: Record) -> npt.NDArray[np.bool_] | None:
    """Which pixels are defective (h, w); None where that is not known."""
    if record["mask"] is None:
        return None
    height, width = comparison_hw((record["map"]["image_hw"][0], record["map"]["image_hw"][1]))
    bits = np.unpackbits(np.frombuffer(_unpack(record["mask"]), dtype=np.uint8), count=height * width)
    return bits.reshape(height, width).astype(bool)


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
