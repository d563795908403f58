"""The references of one category: their patch features, and what their own differences say about normal.

A bank is saved as a folder: `bank.safetensors` is all that is read, `bank.json` repeats its facts for people.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.evidence import calibrate, regions
from reason_iad.evidence.calibrate import Array, Scale
from reason_iad.evidence.features import EvidenceOptions, Stream, altered_copies, extract
from reason_iad.evidence.search import fuse, prepare, search
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 1
ENOUGH_FOR_POSITIONS = 4  # references from which the usual distance at each position is known well enough to subtract
ODD_RATIO = 1.8  # a reference whose statistic is this many times the median one is named (docs/evidence.md)
WIDEN = 1.8  # altered copies differ that much less than real normals do (docs/evidence.md)
SINGLE = (
    "There is one reference only, so normal variation was estimated from altered copies of it; show more if you can."
)


@dataclass(frozen=True)
class Calibration:
    """What normals show, in the units of the fused map; all of it comes from the references alone.

    Attributes:
        scales: by stream, of the distances of normals.
        fused: of the fused distances of normals.
        area_limit: largest odd area that normals explain, as a share of the image.
        median_statistic: image statistic of a usual normal.
        edge_statistic: image statistic of the oddest normal that the references let expect.
    """

    scales: dict[str, Scale]
    fused: Scale
    area_limit: float
    median_statistic: float
    edge_statistic: float


@dataclass(frozen=True, eq=False)
class ReferenceBank:
    """Normal references and the calibration that they give themselves.

    Attributes:
        options: how it was built, and how images are compared with it.
        features: by stream, unit length, (R, H, W, C).
        means: by stream, what is subtracted before, (C,).
        usual: by stream, the distance that normals usually have at each position, (H, W); zeros with few references.
        calibration: the scales of distances.
        normal_scores: anomaly scores of normals that are not among the references, for the p-value.
        warnings: what a person should check about these references.
    """

    options: EvidenceOptions
    features: dict[str, torch.Tensor]
    means: dict[str, torch.Tensor]
    usual: dict[str, torch.Tensor]
    calibration: Calibration
    normal_scores: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def num_references(self) -> int:
        """Number of reference images."""
        return int(next(iter(self.features.values())).shape[0])

    @classmethod
    def build(
        cls, references: Sequence[Pixels], vision: VisionTowers, options: EvidenceOptions | None = None
    ) -> ReferenceBank:
        """Learn what is normal from `references`, each (H, W, 3) of any size.

        Raises:
            EvidenceError: there is no reference.
        """
        options = options or EvidenceOptions()
        if not len(references):
            raise EvidenceError("there are 0 reference images; expected at least one image of a good part")
        raw = extract(references, vision, options)
        means = {stream.name: _mean_patch(raw[stream.name], stream) for stream in options.streams}
        features = {name: prepare(raw[name], means[name]) for name in raw}
        if len(references) > 1:
            residuals = _leave_one_out(features, options)
            warnings = _unlike_references(residuals, options)
        else:
            size = max(stream.size for stream in options.streams)
            copies = extract(altered_copies(references[0], size), vision, options)
            residuals = {}
            for stream in options.streams:
                queries = prepare(copies[stream.name], means[stream.name])
                residuals[stream.name] = WIDEN * _distances(queries, features[stream.name], stream, options)
            warnings = (SINGLE,)
        usual = {name: _usual(maps, len(references)) for name, maps in residuals.items()}
        above = {name: maps - usual[name].numpy() for name, maps in residuals.items()}
        calibration, _ = _calibrate(above, options.weights)
        if len(references) > 1 and not warnings:
            # A defect raises what is usual at its place and would hide itself, so what is usual is not subtracted here.
            warnings = _odd_references(_calibrate(residuals, options.weights)[1])
        return cls(options, features, means, usual, calibration, warnings=warnings)

    def with_held_out(self, normals: Sequence[Pixels], vision: VisionTowers) -> ReferenceBank:
        """The same bank with `normals` that are not among its references, so that it gives p-values."""
        from reason_iad.evidence.compare import compare

        scores = tuple(compare(pixels, self, vision).anomaly_score for pixels in normals)
        return dataclasses.replace(self, normal_scores=scores)

    def distances(self, features: dict[str, torch.Tensor]) -> dict[str, Array]:
        """Distance of each patch of one image, features (H, W, C) by stream, to its nearest references: (H, W)."""
        return {
            stream.name: search(
                prepare(features[stream.name], self.means[stream.name]),
                self.features[stream.name],
                self.options.num_neighbors,
                stream.window,
            )
            for stream in self.options.streams
        }

    def fuse(self, distances: dict[str, Array]) -> Array:
        """One map (h, w) from the distances by stream, above what is usual at each position; 0 median, about 1 edge."""
        above = {name: one - self.usual[name].numpy() for name, one in distances.items()}
        return fuse(above, self.calibration.scales, self.options.weights)

    def save(self, folder: str | Path) -> None:
        """Write the bank into `folder`; a bank that is there stays whole until the new one is."""
        from safetensors.torch import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        groups = {"features": self.features, "means": self.means, "usual": self.usual}
        tensors = {f"{group}/{name}": one.contiguous() for group, some in groups.items() for name, one in some.items()}
        facts = {
            "format_version": FORMAT_VERSION,
            "options": dataclasses.asdict(self.options),
            "calibration": dataclasses.asdict(self.calibration),
            "normal_scores": list(self.normal_scores),
            "warnings": list(self.warnings),
        }
        with tempfile.TemporaryDirectory(dir=target) as draft:
            save_file(tensors, Path(draft) / "bank.safetensors", metadata={"facts": json.dumps(facts, allow_nan=False)})
            (Path(draft) / "bank.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            # The tensors carry the facts too, and only they are read: one rename changes the bank as a whole.
            (Path(draft) / "bank.safetensors").replace(target / "bank.safetensors")
            (Path(draft) / "bank.json").replace(target / "bank.json")

    @classmethod
    def load(cls, folder: str | Path) -> ReferenceBank:
        """Read a bank written by `save`.

        Raises:
            EvidenceError: there is no bank, it is damaged, or another version wrote it.
        """
        path = Path(folder) / "bank.safetensors"
        facts, tensors = _read(path)
        try:
            options = dict(facts["options"])
            streams = tuple(Stream(**stream) for stream in options.pop("streams"))
            calibration = dict(facts["calibration"])
            calibration["scales"] = {name: Scale(**scale) for name, scale in calibration["scales"].items()}
            calibration["fused"] = Scale(**calibration["fused"])
            groups: dict[str, dict[str, torch.Tensor]] = {
                group: {stream.name: tensors[f"{group}/{stream.name}"] for stream in streams}
                for group in ("features", "means", "usual")
            }
            return cls(
                options=EvidenceOptions(streams=streams, **options),
                calibration=Calibration(**calibration),
                normal_scores=tuple(facts["normal_scores"]),
                warnings=tuple(facts["warnings"]),
                **groups,
            )
        except (KeyError, TypeError) as error:
            raise EvidenceError(
                f"{path} lacks or does not know {error}; build the bank again from its references"
            ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Facts and tensors of a bank of this version."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise EvidenceError(f"{path} does not exist; expected a folder written by `ReferenceBank.save`")
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise EvidenceError(f"{path} cannot be read ({error}); build the bank again from its references") from error
    if facts.get("format_version") != FORMAT_VERSION:
        raise EvidenceError(
            f"{path} has format version {facts.get('format_version')}; this program reads {FORMAT_VERSION}: "
            "build the bank again from its references"
        )
    return facts, tensors


def _mean_patch(raw: torch.Tensor, stream: Stream) -> torch.Tensor:
    """Mean over all patches (R, H, W, C) of the references, (C,), for a stream that asks for it; else zeros."""
    import torch

    return raw.mean(dim=(0, 1, 2)) if stream.center else torch.zeros(raw.shape[-1])


def _distances(queries: torch.Tensor, references: torch.Tensor, stream: Stream, options: EvidenceOptions) -> Array:
    """Distance maps of several images (N, H, W, C) to the same references: (N, H, W)."""
    return np.stack([search(one, references, options.num_neighbors, stream.window) for one in queries])


def _leave_one_out(features: dict[str, torch.Tensor], options: EvidenceOptions) -> dict[str, Array]:
    """Distance maps of each reference to all the others, by stream (R, H, W)."""
    import torch

    residuals: dict[str, Array] = {}
    for stream in options.streams:
        mine = features[stream.name]
        others = [torch.cat([mine[:index], mine[index + 1 :]]) for index in range(len(mine))]
        residuals[stream.name] = np.concatenate(
            [_distances(mine[index : index + 1], rest, stream, options) for index, rest in enumerate(others)]
        )
    return residuals


def _usual(residuals: Array, num_references: int) -> torch.Tensor:
    """Distance that normals usually have at each position, from their residuals (N, H, W): (H, W)."""
    import torch
    from torch.nn import functional as F

    mean = torch.from_numpy(residuals.mean(axis=0))
    if num_references < ENOUGH_FOR_POSITIONS:
        return torch.zeros_like(mean)
    return F.avg_pool2d(mean[None], 5, stride=1, padding=2, count_include_pad=False)[0]


def _calibrate(residuals: dict[str, Array], weights: dict[str, float]) -> tuple[Calibration, Array]:
    """Fit every scale to the residual maps of normals, by stream (N, H, W); also the image statistic of each, (N,)."""
    scales = {name: calibrate.fit_scale(maps) for name, maps in residuals.items()}
    count = len(next(iter(residuals.values())))
    each = [{name: maps[index] for name, maps in residuals.items()} for index in range(count)]
    fused = np.stack([fuse(one, scales, weights) for one in each])
    scale = calibrate.fit_scale(fused)
    statistics = np.array([calibrate.image_statistic(one) for one in fused], dtype=np.float32)
    areas = np.array([regions.largest_area(one > scale.low) for one in fused], dtype=np.float32)
    median, edge = float(np.median(statistics)), float(statistics.max())
    calibration = Calibration(scales, scale, calibrate.area_limit(areas), median, max(edge, median + 0.1))
    return calibration, statistics


def _unlike_references(residuals: dict[str, Array], options: EvidenceOptions) -> tuple[str, ...]:
    """Say which references resemble none of the others."""
    for stream in options.streams:
        if stream.unlike is None:
            continue
        medians = np.median(residuals[stream.name], axis=(1, 2))
        alone = [str(index + 1) for index, value in enumerate(medians) if value > stream.unlike]
        if len(alone) == len(medians):
            return (f"The {len(medians)} references do not resemble each other; show good parts of one product only.",)
        if alone:
            return (
                f"Of {len(medians)} references, number {', '.join(alone)} resembles none of the others; "
                "it may show another product: check it.",
            )
    return ()


def _odd_references(statistics: Array) -> tuple[str, ...]:
    """Name references that the others do not explain, from the image statistic of each against the others (R,)."""
    if len(statistics) < ENOUGH_FOR_POSITIONS:
        return ()
    ratios = statistics / max(float(np.median(statistics)), calibrate.SMALLEST)
    return tuple(
        f"Of {len(statistics)} references, number {index + 1} is {ratio:.1f} times as odd as the others usually are; "
        "it may show a defect: check it."
        for index, ratio in enumerate(ratios)
        if ratio > ODD_RATIO
    )
