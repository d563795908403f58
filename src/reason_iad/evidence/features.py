"""Streams of patch features: what of an image is compared, and how it is prepared.

A stream is one layer of one frozen tower at one image size, compared in one way. Images of any size and aspect are
stretched to a square, so that the grid of every image covers the same share of the part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from reason_iad.errors import EvidenceError
from reason_iad.evidence.backbones import load_backbone
from reason_iad.evidence.foreground import FOREGROUND, foreground_mask
from reason_iad.images import Pixels
from reason_iad.models.base import VisionTowers

if TYPE_CHECKING:
    import torch


Metric = Literal["euclidean", "cosine"]
Rotations = Literal["auto", "off", "on"]
QUARTERS = 4  # views of a reference that may lie turned: as it is, and by 90, 180 and 270 degrees


@dataclass(frozen=True)
class Stream:
    """One layer of one tower, compared in one way.

    Attributes:
        tower: "efficientnet" or "vit", both bundled, or a hub id such as facebook/dinov2-small (see `backbones`).
        level: the stride of `efficientnet` (8 or 16), or the hidden state of a transformer (0 to 12 of `vit`); of
            several the mean is taken, each brought to mean 0 and variance 1 over its channels first.
        size: side of the square the image is stretched to, in pixels.
        metric: "euclidean" sees how strong a feature is, "cosine" only which one it is.
        pool: side of the blocks of patches that are averaged into one; 1 for none.
        window: search the references only this many patches around the same position; None searches everywhere.
        unlike: median distance to a single reference from which on images show different products (see
            docs/evidence.md); None where unknown.
        farther: the same beyond the largest of any reference to the others, of several references.
        weight: share in the score of the image, relative to the other streams.
        map_weight: share in the map, relative to the other streams; some layers score better than they locate.
        tiles: the image is cut into tiles x tiles pieces, each stretched to `size`: for small defects on large images.
    """

    tower: str
    level: int | tuple[int, ...]
    size: int
    metric: Metric = "cosine"
    pool: int = 1
    window: int | None = None
    unlike: float | None = None
    farther: float | None = None
    weight: float = 1.0
    map_weight: float = 1.0
    tiles: int = 1

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels whose mean it compares, most often one."""
        return (self.level,) if isinstance(self.level, int) else self.level

    @property
    def source(self) -> str:
        """Name of the features it compares, such as efficientnet-16@448."""
        name = f"{self.tower}-{'+'.join(map(str, self.levels))}@{self.size}"
        return name + (f"x{self.tiles}" if self.tiles > 1 else "") + (f"/{self.pool}" if self.pool > 1 else "")

    @property
    def name(self) -> str:
        """Short name, such as efficientnet-16@448 cosine."""
        return f"{self.source} {self.metric}"


DEFAULT_STREAMS = (
    Stream("efficientnet", 16, 448, "euclidean", map_weight=0.5),
    Stream("efficientnet", 16, 448, "cosine", unlike=0.38, farther=0.12, map_weight=0.5),
    Stream("vit", (7, 9, 10), 224, "cosine", map_weight=0.0),
    Stream("vit", 7, 224, "euclidean", farther=0.5, weight=0.0),
)
FAST_STREAMS = DEFAULT_STREAMS[:2]  # no ViT pass; a little worse, above all in maps (docs/evidence.md)
TILE_REACH = 0.05  # share of the side that a part may lie elsewhere on images that are tiled


@dataclass(frozen=True)
class EvidenceOptions:
    """How references are compared.

    Attributes:
        streams: what is compared; the results are fused after each was calibrated.
        num_neighbors: the distance of a patch is the mean over this many nearest reference patches.
        batch_size: images per forward pass.
        rotations: compare with references turned by 90, 180 and 270 degrees, too; "auto" where the references
            themselves are then closer to each other.
        foreground: let only patches count where some reference shows the part (see `foreground_mask`), so that dirt on
            the background does not; parts must lie alike.
        max_references: of the images that a profile learns from, at most this many are compared with; the others
            only tell how odd normals are. Bounds the time of a comparison.
    """

    streams: tuple[Stream, ...] = DEFAULT_STREAMS
    num_neighbors: int = 1
    batch_size: int = 8
    rotations: Rotations = "auto"
    foreground: bool = False
    max_references: int = 32

    def __post_init__(self) -> None:
        if not self.streams:
            raise EvidenceError(
                "no stream of features is chosen; expected at least one: leave `streams` at its default"
            )
        if wrong := [stream.tiles for stream in self.streams if stream.tiles < 1]:
            raise EvidenceError(f"found {wrong[0]} tiles a side; expected 1 or more")
        if len({stream.name for stream in self.streams}) < len(self.streams):
            raise EvidenceError(f"the streams {[s.name for s in self.streams]} repeat; name each once")
        if self.num_neighbors < 1 or self.batch_size < 1:
            raise EvidenceError(
                f"num_neighbors is {self.num_neighbors} and batch_size {self.batch_size}; expected 1 or more of each"
            )
        if self.max_references < 1:
            raise EvidenceError(f"max_references is {self.max_references}; expected 1 or more")
        if self.rotations not in ("auto", "off", "on"):
            raise EvidenceError(f"rotations is {self.rotations!r}; expected auto, off or on")
        if not any(self.weights.values()) or not any(self.map_weights.values()):
            raise EvidenceError("every stream has the weight 0; expected at least one above it, for score and map")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the features that are extracted, each once; the mask of the foreground where it is asked for."""
        masks = (FOREGROUND,) if self.foreground else ()
        return (*dict.fromkeys(stream.source for stream in self.streams), *masks)

    @property
    def tiles(self) -> int:
        """The most tiles a side of any stream: a share of the image is judged as a share of one such tile."""
        return max(stream.tiles for stream in self.streams)

    @property
    def side(self) -> int:
        """Pixels a side at which the finest stream sees the whole image."""
        return max(stream.size * stream.tiles for stream in self.streams)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each stream in the score, by its name."""
        return {stream.name: stream.weight for stream in self.streams}

    @property
    def map_weights(self) -> dict[str, float]:
        """Weight of each stream in the map, by its name."""
        return {stream.name: stream.map_weight for stream in self.streams}


def tiled_streams(tiles: int, streams: tuple[Stream, ...] = FAST_STREAMS) -> tuple[Stream, ...]:
    """Streams that see an image in tiles x tiles pieces: 8 make a 4,000-pixel board as sharp as 3,584 pixels.

    Patches are then compared with those around the same place only, so parts must lie alike: a search everywhere would
    cost the fourth power of the tiles.

    Args:
        tiles: pieces a side, 1 or more.
        streams: the streams that are tiled; by default those without the ViT.
    """
    found = []
    for stream in streams:
        patches = stream.size * tiles // (stream.levels[0] if stream.tower == "efficientnet" else 14) // stream.pool
        window = stream.window if tiles == 1 else math.ceil(TILE_REACH * patches)
        found.append(dataclasses.replace(stream, tiles=tiles, window=window))
    return tuple(found)


def extract(
    images: Sequence[Pixels], vision: VisionTowers, options: EvidenceOptions, sources: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """Patch features of `images` by source: (B, H, W, C) float32, blocks of `pool` averaged.

    Args:
        images: (H, W, 3) each.
        vision: the towers.
        options: streams, and how many images go through a tower at once.
        sources: the features that are wanted; None for all.
    """
    import torch

    sources = options.sources if sources is None else sources
    parts: dict[str, list[torch.Tensor]] = {source: [] for source in sources}
    wanted = [stream for stream in options.streams if stream.source in parts]
    for tiles in dict.fromkeys(stream.tiles for stream in wanted):
        streams = tuple(stream for stream in wanted if stream.tiles == tiles)
        step = options.batch_size if tiles == 1 else 1
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            found = _extract_batch(batch, vision, streams) if tiles == 1 else _extract_tiled(batch[0], vision, streams)
            for source, features in found.items():
                parts[source].append(features)
    if FOREGROUND in parts:
        parts[FOREGROUND] = [torch.from_numpy(foreground_mask(pixels))[None, ..., None].float() for pixels in images]
    return {source: torch.cat(features) for source, features in parts.items()}


def _extract_tiled(pixels: Pixels, vision: VisionTowers, streams: tuple[Stream, ...]) -> dict[str, torch.Tensor]:
    """Features of one image (H, W, 3) tile by tile, put together again: (1, H, W, C) by source."""
    import torch

    from reason_iad.images import resize

    tiles, size = streams[0].tiles, max(stream.size for stream in streams)
    rows: dict[str, list[torch.Tensor]] = {}
    image = resize(pixels, (size * tiles, size * tiles))
    for row in range(tiles):  # a row of tiles at a time bounds the memory
        band = image[row * size : (row + 1) * size]
        pieces = [np.ascontiguousarray(band[:, column * size : (column + 1) * size]) for column in range(tiles)]
        for source, features in _extract_batch(pieces, vision, streams).items():
            rows.setdefault(source, []).append(torch.cat(list(features), dim=1))
    return {source: torch.cat(parts)[None] for source, parts in rows.items()}


def extract_turned(
    pixels: Pixels, vision: VisionTowers, options: EvidenceOptions, sources: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """Features of one image turned by 90, 180 and 270 degrees, by source: (3, H, W, C); see `extract`."""
    turned = [np.ascontiguousarray(np.rot90(pixels, quarter)) for quarter in range(1, 4)]
    return extract(turned, vision, options, sources)


def _extract_batch(
    batch: Sequence[Pixels], vision: VisionTowers, streams: tuple[Stream, ...]
) -> dict[str, torch.Tensor]:
    """One forward pass per tower and size, shared by its streams."""
    by_pass: dict[tuple[str, int], dict[str, Stream]] = {}
    for stream in streams:
        by_pass.setdefault((stream.tower, stream.size), {})[stream.source] = stream
    found: dict[str, torch.Tensor] = {}
    for (tower, size), members in by_pass.items():
        wanted = sorted({level for stream in members.values() for level in stream.levels})
        if tower == "efficientnet":
            levels = vision.efficientnet(batch, size)
        elif tower == "vit":
            levels = vision.vit(batch, size, wanted)
        else:
            device = str(getattr(vision, "device", "cpu"))
            levels = load_backbone(tower, device).features(batch, size, wanted)
        for source, stream in members.items():
            found[source] = pool_blocks(_mean_of([levels[level].float() for level in stream.levels]), stream.pool)
    return found


def _mean_of(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """One level (B, H, W, C) as it is; of several the mean, each normalized over its channels: they differ in scale."""
    from torch.nn import functional as F

    if len(levels) == 1:
        return levels[0]
    mean: torch.Tensor = sum(F.layer_norm(one, one.shape[-1:]) for one in levels) / len(levels)  # type: ignore[assignment]
    return mean


def pool_blocks(features: torch.Tensor, pool: int) -> torch.Tensor:
    """Average blocks of pool x pool patches: (B, H, W, C) to (B, H // pool, W // pool, C)."""
    if pool == 1:
        return features
    from torch.nn import functional as F

    return F.avg_pool2d(features.permute(0, 3, 1, 2), pool).permute(0, 2, 3, 1).contiguous()


def altered_copies(pixels: Pixels, size: int) -> list[Pixels]:
    """Copies of one good image that would still be good: small shifts and turns, light, blur, noise.

    They stand in for other normal images where there is only one, so they are of the sort a camera and a holder make.

    Args:
        pixels: (H, W, 3).
        size: side of the square the copies are made at.
    """
    from scipy import ndimage

    from reason_iad.images import resize

    image = resize(pixels, (size, size)).astype(np.float32)
    rng = np.random.default_rng(0)
    copies = [_move(image, degrees, shift) * gain for degrees, shift, gain in _MOVES]
    copies.append(ndimage.gaussian_filter(image, (0.7, 0.7, 0)))
    copies.append(image + rng.normal(0, 3.0, image.shape))
    return [np.clip(copy, 0, 255).round().astype(np.uint8) for copy in copies]


_MOVES = (  # degrees, shift as a share of the side (down, right), gain of the light
    (3, (0.02, -0.01), 1.08),
    (-3, (-0.02, 0.02), 0.93),
    (6, (-0.03, -0.03), 1.0),
    (-6, (0.04, 0.01), 1.04),
)


def _move(image: npt.NDArray[np.float32], degrees: float, shift: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Turn about the center and shift (S, S, 3); what comes in from outside mirrors the inside."""
    from scipy import ndimage

    size, angle = len(image), np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.full(2, (size - 1) / 2)
    offset = center - turn @ center + np.array(shift) * size
    planes = [ndimage.affine_transform(image[..., c], turn, offset, order=1, mode="reflect") for c in range(3)]
    return np.stack(planes, axis=-1)
