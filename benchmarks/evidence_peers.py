"""Other methods on the same features, written from their papers, for `benchmarks/evidence.py`.

`Anomalib` asks anomalib itself, in an environment of its own (`benchmarks/peers/`): its torchvision does not load
beside the CPU build of torch that this project uses. `patchcore` and `padim` are for machines without it. All read
EfficientNet-Lite0 strides 8 and 16 at 448 px, as this project's own comparison does.

Axes: R references, H x W patches, N patches of all references, C width of a feature.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from reason_iad import weights
from reason_iad.errors import InputError
from reason_iad.images import Pixels, resize
from reason_iad.models.base import VisionTowers

SIZE = 448
BLUR = 1.0 / 56  # of the side: sigma 4 at 224 px, as both papers blur their maps

Scorer = Callable[[Pixels], tuple[float, np.ndarray]]  # image score, anomaly map (h, w)


class Anomalib:
    """anomalib's PatchCore and PaDiM in a process of their own; images, scores and maps go to and fro as files."""

    def __init__(self, python: Path, coreset: float = 0.1, most: int = 1000) -> None:
        """Start it.

        Args:
            python: the interpreter of an environment with anomalib.
            coreset: share of the patches that PatchCore keeps, anomalib's default.
            most: patches that it keeps at most: the greedy selection takes minutes beyond.
        """
        self._folder = tempfile.TemporaryDirectory()
        worker = Path(__file__).parent / "peers" / "anomalib_worker.py"
        convolutions = weights.resolve("efficientnet-lite0") / "model.safetensors"
        command = [str(python), str(worker), str(convolutions), self._folder.name]
        self._log = Path(self._folder.name) / "log.txt"
        # Or glibc keeps what each step of the greedy selection frees: 16 GB were seen with nine references.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        self._coreset, self._most = coreset, most

    def patchcore(self, references: Sequence[Pixels], _vision: VisionTowers) -> Scorer:
        """Its PatchCore with a coreset of `coreset` of the patches, `most` at most."""
        ratio = min(self._coreset, self._most / (len(references) * (SIZE // 8) ** 2))
        return self._fit("patchcore", references, ratio=ratio)

    def padim(self, references: Sequence[Pixels], _vision: VisionTowers) -> Scorer:
        """Its PaDiM with 100 features; not a number with one reference, whose covariance it cannot estimate."""
        return self._fit("padim", references)

    def _fit(self, method: str, references: Sequence[Pixels], **settings: float) -> Scorer:
        files = [self._write(pixels, f"reference-{index}") for index, pixels in enumerate(references)]
        self._ask(fit=method, references=files, **settings)

        def score(pixels: Pixels) -> tuple[float, np.ndarray]:
            found = self._ask(score=self._write(pixels, "image"))
            return float(found["score"]), np.load(found["map"]).astype(np.float32)

        return score

    def _write(self, pixels: Pixels, name: str) -> str:
        path = Path(self._folder.name) / f"{name}.npy"
        np.save(path, resize(pixels, (SIZE, SIZE)))
        return str(path)

    def _ask(self, **request: Any) -> dict[str, Any]:
        pipe, answers = self._process.stdin, self._process.stdout
        if pipe is None or answers is None or self._process.poll() is not None:
            raise InputError(f"anomalib's process ended: {self._log.read_text()[-500:]}")
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        line = answers.readline()
        if not line:
            raise InputError(f"anomalib's process ended: {self._log.read_text()[-500:]}")
        return cast(dict[str, Any], json.loads(line))


def plain(references: Sequence[Pixels], vision: VisionTowers) -> Scorer:
    """Cosine distance at the stride-16 grid, both strides, without calibration; mean of the worst 1 %."""

    def describe(images: Sequence[Pixels]) -> torch.Tensor:
        levels = vision.efficientnet(images, SIZE)
        fine = F.avg_pool2d(levels[8].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return torch.cat([F.normalize(fine, dim=-1), F.normalize(levels[16], dim=-1)], dim=-1) / 2**0.5

    memory = describe(references).flatten(0, 2)

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        query = describe([pixels])[0]
        distance = 1 - (query.flatten(0, 1) @ memory.T).amax(dim=1)
        worst = distance.topk(max(1, round(len(distance) * 0.01))).values.mean()
        return float(worst), distance.reshape(query.shape[:2]).numpy()

    return score


def patchcore(references: Sequence[Pixels], vision: VisionTowers) -> Scorer:
    """PatchCore (Roth et al., CVPR 2022): 3 x 3 neighborhoods, greedy coreset, nine neighbors in the reweighting.

    The coreset holds 1 % of the patches, at least 1,000: the paper finds 1, 10 and 100 % alike.
    """

    def describe(images: Sequence[Pixels]) -> torch.Tensor:
        return _both_strides(vision.efficientnet(images, SIZE), neighborhood=3)

    patches = describe(references).flatten(0, 2)
    memory = patches[greedy_coreset(patches, max(1000, len(patches) // 100))]

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        query = describe([pixels])[0]
        flat = query.flatten(0, 1)
        nearest, index = torch.cdist(flat, memory).min(dim=1)
        worst = int(nearest.argmax())
        around = torch.cdist(memory[index[worst]][None], memory)[0].topk(min(9, len(memory)), largest=False).indices
        to_neighbors = torch.cdist(flat[worst][None], memory[around])[0]
        weight = 1 - torch.exp(nearest[worst] - torch.logsumexp(to_neighbors, dim=0))
        return float(weight * nearest[worst]), _blur(nearest.reshape(query.shape[:2]).numpy())

    return score


def padim(references: Sequence[Pixels], vision: VisionTowers) -> Scorer:
    """PaDiM (Defard et al., ICPR 2020): a Gaussian at each position, covariance + 0.01 I, 100 random features of 152.

    With R references the covariance has rank R - 1 at most, so the Mahalanobis distance follows exactly from an
    R x R matrix (Woodbury): with centered references A (R, C) and c = 0.01 (R - 1),
    d^2 = (|x|^2 - (A x)^T (c I + A A^T)^-1 (A x)) / 0.01. One reference leaves 0.01 I.
    """
    chosen = torch.randperm(152, generator=torch.Generator().manual_seed(0))[:100]

    def describe(images: Sequence[Pixels]) -> torch.Tensor:
        return _both_strides(vision.efficientnet(images, SIZE))[..., chosen].flatten(1, 2).transpose(0, 1)  # (P, n, C)

    known = describe(references)
    mean = known.mean(dim=1, keepdim=True)
    centered = known - mean
    count = known.shape[1]
    inner = 0.01 * max(count - 1, 1) * torch.eye(count) + centered @ centered.transpose(1, 2)  # (P, R, R)
    inverse = torch.linalg.inv(inner.double()).float()

    def score(pixels: Pixels) -> tuple[float, np.ndarray]:
        x = describe([pixels]) - mean  # (P, 1, C)
        projected = centered @ x.transpose(1, 2)  # (P, R, 1)
        explained = (projected.transpose(1, 2) @ inverse @ projected)[:, 0, 0]
        distance = ((x.square().sum(dim=(1, 2)) - explained).clamp(min=0) / 0.01).sqrt()
        side = round(len(distance) ** 0.5)
        blurred = _blur(distance.reshape(side, side).numpy())
        return float(blurred.max()), blurred

    return score


def _both_strides(levels: dict[int, torch.Tensor], neighborhood: int = 1) -> torch.Tensor:
    """Strides 8 and 16 joined at the finer grid, (B, H, W, 152), each averaged over a neighborhood first."""
    side = levels[8].shape[1]
    parts = []
    for stride in (8, 16):
        local = F.avg_pool2d(levels[stride].permute(0, 3, 1, 2), neighborhood, stride=1, padding=neighborhood // 2)
        parts.append(F.interpolate(local, size=(side, side), mode="bilinear", align_corners=False))
    return torch.cat(parts, dim=1).permute(0, 2, 3, 1)


def _blur(values: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, BLUR * len(values)), np.float32)


def greedy_coreset(patches: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of `count` patches, each the farthest from those before, after a random projection to 64 dimensions."""
    if count >= len(patches):
        return torch.arange(len(patches))
    generator = torch.Generator().manual_seed(0)
    projected = patches @ torch.randn(patches.shape[1], 64, generator=generator) / 8.0
    norms = (projected**2).sum(dim=1)
    chosen = [int(torch.randint(len(patches), (1,), generator=generator))]
    gap = torch.full((len(patches),), float("inf"))
    for _ in range(count - 1):
        last = projected[chosen[-1]]
        gap = torch.minimum(gap, norms - 2 * projected @ last + last @ last)
        chosen.append(int(gap.argmax()))
    return torch.tensor(chosen)
