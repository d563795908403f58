"""The references of one category: their patch features and what their own differences say about normal.

A bank is a folder of two files, `bank.safetensors` and `bank.json`, that can be copied.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.evidence import calibrate, regions
from reason_iad.evidence.calibrate import Array, Scale
from reason_iad.evidence.features import EvidenceOptions, Stream, VisionTower, altered_copies, extract
from reason_iad.images import Pixels

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class ReferenceBank:
    """Normal references and the calibration that they give themselves.

    Attributes:
        options: how it was built, and how images must be compared with it.
        features: by stream, unit length, (R, H, W, C).
        means: by stream, what is subtracted before, (C,).
        scales: by stream, of the distances of normals.
        fused_scale: of the fused distances of normals.
        area_limit: largest odd area that normals explain, as a share of the image.
        median_statistic: image statistic of a usual normal.
        edge_statistic: image statistic of the oddest normal that the references let expect.
        normal_scores: anomaly scores of normals that took no part in the comparison, for the p-value.
        warnings: what a person should check about these references.
    """

    options: EvidenceOptions
    features: dict[str, torch.Tensor]
    means: dict[str, torch.Tensor]
    scales: dict[str, Scale]
    fused_scale: Scale
    area_limit: float
    median_statistic: float
    edge_statistic: float
    normal_scores: tuple[float, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def num_references(self) -> int:
        """Number of reference images."""
        return int(next(iter(self.features.values())).shape[0])

    @classmethod
    def build(
        cls, references: Sequence[Pixels], vision: VisionTower, options: EvidenceOptions | None = None
    ) -> ReferenceBank:
        """Learn what is normal from `references`, each (H, W, 3) of any size.

        Raises:
            EvidenceError: there is no reference.
        """
        options = options or EvidenceOptions()
        if not references:
            raise EvidenceError("there are 0 reference images; expected at least one image of a good part")
        raw = extract(references, vision, options)
        means = {s.name: _mean_patch(raw[s.name], s) for s in options.streams}
        features = {name: prepare(raw[name], means[name]) for name in raw}
        if len(references) > 1:
            residuals = _leave_one_out(features, options)
        else:
            size = max(stream.size for stream in options.streams)
            copies = extract(altered_copies(references[0], size), vision, options)
            residuals = {
                name: np.stack(
                    [
                        search(prepare(copy[None], means[name])[0], features[name], options.num_neighbors)
                        for copy in maps
                    ]
                )
                for name, maps in copies.items()
            }
        return cls._calibrated(options, features, means, residuals)

    @classmethod
    def _calibrated(
        cls,
        options: EvidenceOptions,
        features: dict[str, torch.Tensor],
        means: dict[str, torch.Tensor],
        residuals: dict[str, Array],
    ) -> ReferenceBank:
        """Fit every scale to the residual maps of normals, by stream (N, H, W)."""
        scales = {name: calibrate.fit_scale(maps) for name, maps in residuals.items()}
        count = len(next(iter(residuals.values())))
        fused = [fuse({name: residuals[name][i] for name in residuals}, scales) for i in range(count)]
        fused_scale = calibrate.fit_scale(np.stack(fused))
        statistics = np.array([calibrate.image_statistic(one) for one in fused])
        areas = np.array([regions.largest_area(one > fused_scale.low) for one in fused], dtype=np.float32)
        median = float(np.median(statistics))
        return cls(
            options=options,
            features=features,
            means=means,
            scales=scales,
            fused_scale=fused_scale,
            area_limit=calibrate.area_limit(areas),
            median_statistic=median,
            edge_statistic=max(float(statistics.max()), 1.1 * median),
            warnings=_check_references(statistics) if next(iter(features.values())).shape[0] > 1 else _SINGLE,
        )

    def with_held_out(self, normals: Sequence[Pixels], vision: VisionTower) -> ReferenceBank:
        """The same bank with normals that are not among its references, so that it gives p-values."""
        from reason_iad.evidence.compare import compare

        scores = tuple(compare(pixels, self, vision).anomaly_score for pixels in normals)
        return dataclasses.replace(self, normal_scores=scores)

    def distances(self, features: dict[str, torch.Tensor]) -> dict[str, Array]:
        """Distance of each patch of one image to its nearest reference patches, by stream (H, W)."""
        found = {}
        for stream in self.options.streams:
            prepared = prepare(features[stream.name][None], self.means[stream.name])[0]
            found[stream.name] = search(prepared, self.features[stream.name], self.options.num_neighbors)
        return found

    def save(self, folder: str | Path) -> None:
        """Write the bank into `folder`; a bank that is there stays whole until the new one is."""
        from safetensors.torch import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {f"features/{name}": tensor.contiguous() for name, tensor in self.features.items()}
        tensors |= {f"means/{name}": tensor.contiguous() for name, tensor in self.means.items()}
        facts = {
            "format_version": FORMAT_VERSION,
            "options": dataclasses.asdict(self.options),
            "scales": {name: dataclasses.asdict(scale) for name, scale in self.scales.items()},
            "fused_scale": dataclasses.asdict(self.fused_scale),
            "area_limit": self.area_limit,
            "median_statistic": self.median_statistic,
            "edge_statistic": self.edge_statistic,
            "normal_scores": list(self.normal_scores),
            "warnings": list(self.warnings),
        }
        with tempfile.TemporaryDirectory(dir=target) as draft:
            save_file(tensors, Path(draft) / "bank.safetensors", metadata={"facts": json.dumps(facts, allow_nan=False)})
            (Path(draft) / "bank.json").write_text(
                json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )
            # The tensors carry the facts too, and are what is read: one rename changes the bank as a whole.
            (Path(draft) / "bank.json").replace(target / "bank.json")
            (Path(draft) / "bank.safetensors").replace(target / "bank.safetensors")

    @classmethod
    def load(cls, folder: str | Path) -> ReferenceBank:
        """Read a bank written by `save`.

        Raises:
            EvidenceError: there is no bank, it is damaged, or another version wrote it.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(folder) / "bank.safetensors"
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
                f"{path} has format version {facts.get('format_version')}; this program reads {FORMAT_VERSION}: build it again"
            )
        options = facts["options"]
        streams = tuple(Stream(**stream) for stream in options.pop("streams"))
        return cls(
            options=EvidenceOptions(streams=streams, **options),
            features={k.removeprefix("features/"): v for k, v in tensors.items() if k.startswith("features/")},
            means={k.removeprefix("means/"): v for k, v in tensors.items() if k.startswith("means/")},
            scales={name: Scale(**scale) for name, scale in facts["scales"].items()},
            fused_scale=Scale(**facts["fused_scale"]),
            area_limit=facts["area_limit"],
            median_statistic=facts["median_statistic"],
            edge_statistic=facts["edge_statistic"],
            normal_scores=tuple(facts["normal_scores"]),
            warnings=tuple(facts["warnings"]),
        )


_SINGLE = (
    "there is one reference only: normal variation was estimated from altered copies of it; show more if you can",
)


def prepare(features: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Center and scale (B, H, W, C) to unit length, so that the inner product is the cosine."""
    from torch.nn import functional as F

    return F.normalize(features - mean, dim=-1)


def search(query: torch.Tensor, references: torch.Tensor, num_neighbors: int = 1, chunk: int = 8192) -> Array:
    """Cosine distance of each patch (H, W, C) to its nearest among references (R, ..., C): (H, W), in [0, 2].

    Exact; `chunk` reference patches at a time bound the memory.
    """
    import torch

    rows, columns, width = query.shape
    patches, memory = query.reshape(-1, width), references.reshape(-1, width)
    best: torch.Tensor | None = None
    for start in range(0, len(memory), chunk):
        similarity = patches @ memory[start : start + chunk].T
        if num_neighbors == 1:  # several times as fast as topk
            top = similarity.amax(dim=1, keepdim=True)
        else:
            top = similarity.topk(min(num_neighbors, similarity.shape[1]), dim=1).values
        best = (
            top
            if best is None
            else torch.cat([best, top], dim=1).topk(min(num_neighbors, best.shape[1] + top.shape[1]), dim=1).values
        )
    assert best is not None
    distance = (1.0 - best).clamp(min=0).mean(dim=1).reshape(rows, columns)
    return np.ascontiguousarray(distance.float().numpy())


def fuse(distances: dict[str, Array], scales: dict[str, Scale]) -> Array:
    """Mean over the streams of their standardized distances, on the finest grid of them: (h, w)."""
    rows = max(one.shape[0] for one in distances.values())
    columns = max(one.shape[1] for one in distances.values())
    parts = [enlarge(scales[name].standardize(one), (rows, columns)) for name, one in distances.items()]
    return np.asarray(np.mean(parts, axis=0), dtype=np.float32)


def enlarge(values: Array, hw: tuple[int, int]) -> Array:
    """Resample a map (h, w) to `hw`, linearly between patch centers."""
    if values.shape == hw:
        return values
    import torch
    from torch.nn import functional as F

    scaled = F.interpolate(torch.from_numpy(values)[None, None], size=hw, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(scaled[0, 0].numpy())


def _mean_patch(raw: torch.Tensor, stream: Stream) -> torch.Tensor:
    """Mean over all patches (R, H, W, C) of the references, (C,), for a stream that asks for it; else zeros."""
    import torch

    return raw.mean(dim=(0, 1, 2)) if stream.center else torch.zeros(raw.shape[-1])


def _leave_one_out(features: dict[str, torch.Tensor], options: EvidenceOptions) -> dict[str, Array]:
    """Distance maps of each reference to all the others, by stream (R, H, W)."""
    import torch

    residuals: dict[str, Array] = {}
    for name, all_features in features.items():
        maps = []
        for index in range(len(all_features)):
            others = torch.cat([all_features[:index], all_features[index + 1 :]])
            maps.append(search(all_features[index], others, options.num_neighbors))
        residuals[name] = np.stack(maps)
    return residuals


def _check_references(statistics: np.ndarray) -> tuple[str, ...]:
    """Name references that the others do not explain."""
    found = []
    median = float(np.median(statistics))
    spread = float(np.median(np.abs(statistics - median)))
    if len(statistics) >= 4:
        for index, value in enumerate(statistics):
            if value > median + 6 * max(spread, 0.05 * median):
                found.append(
                    f"reference {index + 1} of {len(statistics)} is {value / median:.1f} times as odd as the others usually are: "
                    "it may show a defect or another product; check it"
                )
    return tuple(found)
