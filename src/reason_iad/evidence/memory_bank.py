"""The references of one category: their patch features, and what their own differences say about normal.

A bank is saved as a folder: `bank.safetensors` is all that is read, `bank.json` repeats its facts for people.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.evidence import calibrate, regions
from reason_iad.evidence.calibrate import Array, Scale
from reason_iad.evidence.features import (
    QUARTERS,
    EvidenceOptions,
    Stream,
    altered_copies,
    extract,
    extract_turned,
)
from reason_iad.evidence.foreground import FOREGROUND
from reason_iad.evidence.patch_index import PatchIndex, worth_indexing
from reason_iad.evidence.search import enlarge, fuse, search
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 3
ENOUGH_TO_JUDGE = 4  # references from which one that the others do not explain can be told
ODD_RATIO = 1.8  # a reference whose statistic is this many times the median one is named (docs/evidence.md)
UPRIGHT = 0.9  # share of pairs that must lie upright beside each other, or references are turned (docs/evidence.md)
TURN_PROBE = 4  # references whose pairs decide that
UNLIKE_ASPECT = 1.15  # width to height, beside the usual one: more stretching than that is told
MAX_TURNED = 8  # turned views help where references are few; more would cost time for next to nothing
WIDEN = {"euclidean": 1.35, "cosine": 1.35**2}  # altered copies differ that much less than real normals do
SINGLE = (
    "There is one reference only, so normal variation was estimated from altered copies of it; show more if you can."
)


@dataclass(frozen=True)
class Calibration:
    """What normals show, in the units of the fused maps; all of it comes from the references alone.

    Attributes:
        scales: by stream, of the distances of normals.
        fused: of the fused distances of normals in the map.
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
class Measured:
    """One image beside the references.

    Attributes:
        raw: fused map (h, w); 0 the median of normals, about 1 their edge.
        statistic: oddness of the whole image, in the same units.
        distances: by stream (H, W).
    """

    raw: Array
    statistic: float
    distances: dict[str, Array]


@dataclass(frozen=True, eq=False)
class ReferenceBank:
    """Normal references and the calibration that they give themselves.

    Attributes:
        options: how it was built, and how images are compared with it.
        features: by source, (R * V, H, W, C): the V views of each reference follow each other, the upright one first.
        calibration: the scales of distances.
        views: V; 4 where references are turned, too, else 1.
        normal_scores: anomaly scores of normals that are not among the references, for the p-value.
        warnings: what a person should check about these references.
        reference_scores: anomaly score of each reference against all the others; empty where there is one.
        defects: by source, patches of known defects, (D, C); empty where none is known.
    """

    options: EvidenceOptions
    features: dict[str, torch.Tensor]
    calibration: Calibration
    views: int = 1
    normal_scores: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    reference_scores: tuple[float, ...] = ()
    defects: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def num_references(self) -> int:
        """Number of reference images."""
        return int(next(iter(self.features.values())).shape[0]) // self.views

    def upright(self, source: str) -> torch.Tensor:
        """Features of the references as they are, without their turned views: (R, H, W, C)."""
        return self.features[source][:: self.views]

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
        copies = None
        if len(references) == 1:
            copies = extract(altered_copies(references[0], options.side), vision, options)
        turned = turned_views(references, raw, vision, options)
        bank = cls.from_features(raw, options, copies, turned)
        return bank.warned(unlike_shapes([pixels.shape[:2] for pixels in references]))

    @classmethod
    def from_features(
        cls,
        raw: dict[str, torch.Tensor],
        options: EvidenceOptions,
        copies: dict[str, torch.Tensor] | None = None,
        turned: dict[str, torch.Tensor] | None = None,
        vouched: Sequence[int] = (),
    ) -> ReferenceBank:
        """Learn what is normal from the features of references, as `extract` gives them, (R, H, W, C) by source.

        Args:
            raw: features of the references.
            options: what they were extracted with.
            copies: features of altered copies, (N, H, W, C), which stand in for other normals where R is 1.
            turned: features of the references turned by 90, 180 and 270 degrees, (R, 3, H, W, C), to compare with too.
            vouched: indices of references that a person called good although they may look odd.

        Raises:
            EvidenceError: there is one reference and no altered copy of it.
        """
        num_references = len(next(iter(raw.values())))
        views = 1 if turned is None else QUARTERS
        features = {source: _with_views(one, turned[source] if turned else None) for source, one in raw.items()}
        if num_references > 1:
            residuals = _leave_one_out(features, options, views)
            warnings = _unlike_references(residuals, options)
        elif copies is None:
            raise EvidenceError("there is one reference and no altered copy of it; give copies, or a second reference")
        else:
            residuals = _distances_of(copies, features, options)
            residuals = {s.name: WIDEN[s.metric] * residuals[s.name] for s in options.streams}
            warnings = (SINGLE,)
        calibration, statistics = _calibrate(residuals, options, vouched)
        if num_references > 1 and not warnings:
            warnings = _odd_references(statistics, vouched)
        scores = _scores(statistics, calibration) if num_references > 1 else ()
        return cls(options, features, calibration, views, warnings=warnings, reference_scores=scores)

    def warned(self, warnings: Sequence[str]) -> ReferenceBank:
        """The same bank that also says `warnings`."""
        return dataclasses.replace(self, warnings=(*self.warnings, *warnings))

    def with_held_out(self, normals: Sequence[Pixels], vision: VisionTowers) -> ReferenceBank:
        """The same bank with `normals` that are not among its references, so that it gives p-values."""
        from reason_iad.evidence.compare import compare

        scores = tuple(compare(pixels, self, vision).anomaly_score for pixels in normals)
        return dataclasses.replace(self, normal_scores=scores)

    def with_defects(self, features: Sequence[dict[str, torch.Tensor]], share: float = 0.01) -> ReferenceBank:
        """The same bank that also knows defects: the oddest `share` of the patches of images of defective parts.

        Args:
            features: of each image, (H, W, C) by source.
            share: of the patches of an image that are kept.
        """
        import torch

        found: dict[str, list[torch.Tensor]] = {}
        plain = dataclasses.replace(self, defects={})
        for one in features:
            odd = plain.measure(one).raw
            for source in dict.fromkeys(stream.source for stream in self.options.streams):
                patches = one[source]
                strength = torch.from_numpy(enlarge(odd, (patches.shape[0], patches.shape[1]))).flatten()
                worst = strength.topk(max(1, round(len(strength) * share))).indices
                found.setdefault(source, []).append(patches.flatten(0, 1)[worst])
        return dataclasses.replace(self, defects={source: torch.cat(parts) for source, parts in found.items()})

    def measure(self, features: dict[str, torch.Tensor]) -> Measured:
        """Measure one image, features (H, W, C) by source, beside the references; known defects count more."""
        return self._judge(features, _distances(features, self.features, self.options, self._indexes))

    @cached_property
    def _indexes(self) -> dict[str, PatchIndex]:
        """Indexes of the sources whose patches are too many to be compared one by one."""
        found = {}
        for source in self.options.sources:
            metrics = [s.metric for s in self.options.streams if s.source == source and s.window is None]
            if metrics and worth_indexing(self.features[source]):
                found[source] = PatchIndex(self.features[source], metrics)
        return found

    def leave_one_out_scores(self) -> tuple[float, ...]:
        """Anomaly score of each reference against all the others, with what is known of defects: (R,)."""
        if self.num_references == 1:
            return ()
        residuals = _leave_one_out(self.features, self.options, self.views)
        statistics = []
        for index in range(self.num_references):
            mine = {source: self.upright(source)[index] for source in self.features}
            judged = self._judge(mine, {name: maps[index] for name, maps in residuals.items()})
            statistics.append(judged.statistic)
        return _scores(np.array(statistics, dtype=np.float32), self.calibration)

    def _judge(self, features: dict[str, torch.Tensor], distances: dict[str, Array]) -> Measured:
        """Fuse distances, after adding how much closer each patch is to a known defect than to any normal."""
        judged = distances
        if self.defects:
            known = {source: one[None, None] for source, one in self.defects.items()}
            options = dataclasses.replace(
                self.options,
                streams=tuple(dataclasses.replace(s, window=None) for s in self.options.streams),
                foreground=False,
            )
            gaps = _distances(features, known, options)
            judged = {name: one + np.maximum(one - gaps[name], 0.0) for name, one in distances.items()}
        scales = self.calibration.scales
        raw = fuse(judged, scales, self.options.map_weights)
        statistic = calibrate.image_statistic(fuse(judged, scales, self.options.weights), _worst_share(self.options))
        return Measured(raw, statistic, distances)

    def save(self, folder: str | Path) -> None:
        """Write the bank into `folder`; a bank that is there stays whole until the new one is."""
        from safetensors.torch import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        groups = {"features": self.features, "defects": self.defects}
        tensors = {f"{group}/{name}": one.contiguous() for group, some in groups.items() for name, one in some.items()}
        facts = {
            "format_version": FORMAT_VERSION,
            "options": dataclasses.asdict(self.options),
            "calibration": dataclasses.asdict(self.calibration),
            "views": self.views,
            "normal_scores": list(self.normal_scores),
            "warnings": list(self.warnings),
            "reference_scores": list(self.reference_scores),
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
            built = EvidenceOptions(streams=streams, **options)
            return cls(
                options=built,
                features={source: tensors[f"features/{source}"] for source in built.sources},
                calibration=Calibration(**calibration),
                views=int(facts["views"]),
                normal_scores=tuple(facts["normal_scores"]),
                warnings=tuple(facts["warnings"]),
                reference_scores=tuple(facts["reference_scores"]),
                defects={source: tensors[key] for source in built.sources if (key := f"defects/{source}") in tensors},
            )
        except (KeyError, TypeError) as error:
            raise EvidenceError(
                f"{path} lacks or does not know {error}; build the bank again from its references"
            ) from error


def turned_views(
    references: Sequence[Pixels], raw: dict[str, torch.Tensor], vision: VisionTowers, options: EvidenceOptions
) -> dict[str, torch.Tensor] | None:
    """Features of the references turned by quarters, (R, 3, H, W, C) by source, where the options or they ask for it.

    Args:
        references: images (H, W, 3).
        raw: their features as they are, (R, H, W, C) by source.
        vision: the towers.
        options: how they are compared.
    """
    import torch

    if not may_turn(len(references), options):
        return None

    def turn(some: Sequence[Pixels]) -> dict[str, torch.Tensor]:
        each = [extract_turned(pixels, vision, options) for pixels in some]
        return {source: torch.stack([one[source] for one in each]) for source in options.sources}

    one = turn(references[:1])
    if options.turns == "auto" and all_upright_beside_first(raw, one, options):
        return None
    more = turn(references[1:TURN_PROBE])
    first = {source: torch.cat([views, more[source]]) for source, views in one.items()}
    if not lie_turned(raw, first, options):
        return None
    if len(references) <= TURN_PROBE:
        return first
    rest = turn(references[TURN_PROBE:])
    return {source: torch.cat([one, rest[source]]) for source, one in first.items()}


def may_turn(num_references: int, options: EvidenceOptions) -> bool:
    """Whether turned views come into question: a single reference has no other to show that it lies turned."""
    return options.turns == "on" or (options.turns == "auto" and 2 <= num_references <= MAX_TURNED)


def all_upright_beside_first(
    raw: dict[str, torch.Tensor], turned: dict[str, torch.Tensor], options: EvidenceOptions
) -> bool:
    """Whether the next few references are nearest to the first one as it is, by every stream: a cheap first look.

    Args:
        raw: features of the references, (R, H, W, C) by source.
        turned: of the first one alone, (1, 3, H, W, C).
        options: how they are compared.
    """
    return all(
        _upright_is_nearest(other, [raw[stream.source][0], *turned[stream.source][0]], stream.metric)
        for stream in options.streams
        for other in raw[stream.source][1:TURN_PROBE]
    )


def _upright_is_nearest(query: torch.Tensor, views: Sequence[torch.Tensor], metric: str) -> bool:
    """Whether an image (H, W, C) is nearest to the first of the views (H, W, C) of another."""
    distances = [float(search(query, view[None], (metric,))[metric].mean()) for view in views]
    return distances[0] <= min(distances)


def lie_turned(raw: dict[str, torch.Tensor], turned: dict[str, torch.Tensor], options: EvidenceOptions) -> bool:
    """Whether references have no orientation in common: another is often nearest when it is turned.

    Args:
        raw: features of the references, (R, H, W, C) by source.
        turned: of the first few of them, (r, 3, H, W, C).
        options: how they are compared.
    """
    import torch

    if options.turns != "auto":
        return options.turns == "on"
    upright = []
    for stream in {stream.source: stream for stream in reversed(options.streams)}.values():
        source = stream.source
        views = torch.cat([raw[source][: len(turned[source]), None], turned[source]], dim=1)[:TURN_PROBE]
        for mine in range(len(views)):
            upright += [
                _upright_is_nearest(views[mine, 0], list(views[other]), stream.metric)
                for other in range(len(views))
                if mine != other
            ]
    return float(np.mean(upright)) < UPRIGHT


def _with_views(upright: torch.Tensor, turned: torch.Tensor | None) -> torch.Tensor:
    """Join (R, H, W, C) and (R, 3, H, W, C) to (R * 4, H, W, C)."""
    import torch

    return upright if turned is None else torch.cat([upright[:, None], turned], dim=1).flatten(0, 1)


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


def _distances(
    features: dict[str, torch.Tensor],
    references: dict[str, torch.Tensor],
    options: EvidenceOptions,
    indexes: Mapping[str, PatchIndex] | None = None,
) -> dict[str, Array]:
    """Distance map of one image, features (H, W, C) by source, to references (N, H, W, C): (H, W) by stream."""
    together: dict[tuple[str, int | None], list[Stream]] = {}
    for stream in options.streams:  # streams of one source share the search
        together.setdefault((stream.source, stream.window), []).append(stream)
    found: dict[str, Array] = {}
    for (source, window), streams in together.items():
        metrics = [stream.metric for stream in streams]
        if window is None and indexes and source in indexes:
            maps = indexes[source].search(features[source], options.num_neighbors)
        else:
            maps = search(features[source], references[source], metrics, options.num_neighbors, window)
        found.update({stream.name: maps[stream.metric] for stream in streams})
    if options.foreground:
        part = references[FOREGROUND].amax(dim=0)[..., 0].numpy()  # where some reference shows the part
        found = {name: _calm_outside(one, part) for name, one in found.items()}
    return {stream.name: found[stream.name] for stream in options.streams}


def _calm_outside(distances: Array, part: Array) -> Array:
    """Give patches (H, W) that show no part (h, w) the usual distance of those that do, so that they do not count."""
    inside = enlarge(part, (distances.shape[0], distances.shape[1])) >= 0.5
    return np.where(inside, distances, np.float32(np.median(distances[inside]))) if inside.any() else distances


def _worst_share(options: EvidenceOptions) -> float:
    """Share of the patches whose mean is the oddness of an image: 1 % of it, or of one of its tiles."""
    return calibrate.WORST_SHARE / options.tiles**2


def _distances_of(
    features: dict[str, torch.Tensor], references: dict[str, torch.Tensor], options: EvidenceOptions
) -> dict[str, Array]:
    """Distance maps of several images (N, H, W, C) by source to the same references: (N, H, W) by stream."""
    count = len(next(iter(features.values())))
    each = [_distances({s: one[index] for s, one in features.items()}, references, options) for index in range(count)]
    return {stream.name: np.stack([one[stream.name] for one in each]) for stream in options.streams}


def _leave_one_out(features: dict[str, torch.Tensor], options: EvidenceOptions, views: int) -> dict[str, Array]:
    """Distance maps of each reference to all the others, their views included, by stream (R, H, W)."""
    import torch

    count = len(next(iter(features.values()))) // views
    each = []
    for index in range(count):
        mine = {source: one[index * views] for source, one in features.items()}
        others = {s: torch.cat([one[: index * views], one[(index + 1) * views :]]) for s, one in features.items()}
        each.append(_distances(mine, others, options))
    return {stream.name: np.stack([one[stream.name] for one in each]) for stream in options.streams}


def _calibrate(
    residuals: dict[str, Array], options: EvidenceOptions, vouched: Sequence[int] = ()
) -> tuple[Calibration, Array]:
    """Fit every scale to the residual maps of normals, by stream (N, H, W); also the image statistic of each, (N,)."""
    scales = {name: calibrate.fit_scale(maps) for name, maps in residuals.items()}
    count = len(next(iter(residuals.values())))
    each = [{name: maps[index] for name, maps in residuals.items()} for index in range(count)]
    fused = np.stack([fuse(one, scales, options.map_weights) for one in each])
    scale = calibrate.fit_scale(fused)
    statistics = np.array(
        [calibrate.image_statistic(fuse(one, scales, options.weights), _worst_share(options)) for one in each],
        dtype=np.float32,
    )
    areas = np.array([regions.largest_area(one > scale.low) for one in fused], dtype=np.float32)
    median = float(np.median(statistics))
    # One that may be defective must not move the edge. With few, the oddest is all there is to go by.
    usual = np.delete(statistics, _odd_indices(statistics, vouched))
    edge = float(usual.max())
    limit = calibrate.area_limit(areas, calibrate.GATE_MARGIN / options.tiles**2)
    calibration = Calibration(scales, scale, limit, median, max(edge, median + 0.1))
    return calibration, statistics


def _scores(statistics: Array, calibration: Calibration) -> tuple[float, ...]:
    """Anomaly score of each image from its statistic (N,)."""
    return tuple(
        calibrate.anomaly_score(float(one), calibration.median_statistic, calibration.edge_statistic)
        for one in statistics
    )


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


def unlike_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
    """Say which references, of these heights and widths, have other proportions: stretched, their parts look odd."""
    aspects = np.array([width / height for height, width in shapes])
    usual = float(np.median(aspects))
    other = [str(index + 1) for index, one in enumerate(aspects) if max(one / usual, usual / one) > UNLIKE_ASPECT]
    if not other:
        return ()
    return (
        f"Of {len(shapes)} references, number {', '.join(other)} has other proportions than most; all are stretched "
        "to a square: show images of one camera and one cut.",
    )


def _odd_indices(statistics: Array, vouched: Sequence[int] = ()) -> list[int]:
    """References that the others do not explain, from the image statistic of each against the others (R,)."""
    if len(statistics) < ENOUGH_TO_JUDGE:
        return []
    limit = ODD_RATIO * max(float(np.median(statistics)), calibrate.SMALLEST)
    return [index for index, one in enumerate(statistics) if one > limit and index not in vouched]


def _odd_references(statistics: Array, vouched: Sequence[int] = ()) -> tuple[str, ...]:
    """Name the references that the others do not explain."""
    usual = max(float(np.median(statistics)), calibrate.SMALLEST)
    return tuple(
        f"Of {len(statistics)} references, number {index + 1} is {statistics[index] / usual:.1f} times as odd as the "
        "others usually are; it may show a defect: check it."
        for index in _odd_indices(statistics, vouched)
    )
