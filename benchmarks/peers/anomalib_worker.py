"""anomalib's own PatchCore and PaDiM, asked over a pipe: runs in an environment of its own, without this project.

    peers/bin/python benchmarks/peers/anomalib_worker.py model.safetensors FOLDER

`model.safetensors` are the EfficientNet-Lite0 weights of this project (batch norms folded into the convolutions). A
line of standard input is one JSON request, and one of standard output its answer; images and maps are .npy files:

    {"fit": "patchcore", "references": ["a.npy"], "ratio": 0.1}   ->  {"memory": 313}
    {"fit": "padim", "references": ["a.npy"]}                     ->  {"memory": 3136}
    {"score": "b.npy"}                                            ->  {"score": 3.1, "map": "FOLDER/map.npy"}
    {"features": "b.npy"}                                         ->  {"8": "FOLDER/8.npy", "16": "FOLDER/16.npy"}

Images are (448, 448, 3) uint8, so that both sides read the same pixels. Models are driven as anomalib's own engine
does: features of the references in training mode, then the coreset or the Gaussians, then one image at a time.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from safetensors.torch import load_file
from torch import nn

BACKBONE = "tf_efficientnet_lite0"
LAYERS = ["blocks.2", "blocks.4"]  # strides 8 and 16
MAP_SIDE = 112  # maps come back at this size
KEPT = 200  # images whose features are remembered
PADIM_FEATURES = 100  # of 152, as the paper takes 100 for its small backbone


class Remembering(nn.Module):
    """A feature extractor that remembers what it said of an image: every method and draw asks for the same ones."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor
        self.kept: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features of one image (1, 3, H, W) by layer."""
        key = hashlib.blake2b(pixels.numpy().tobytes(), digest_size=16).hexdigest()
        if key not in self.kept:
            self.kept[key] = dict(self.extractor(pixels))
            if len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return dict(self.kept[key])


def load_weights(extractor: nn.Module, file: str) -> None:
    """Put folded convolutions into timm's model in their order; its batch norms become the identity plus a bias."""
    ours = load_file(file)
    names = [name.removesuffix(".weight") for name in ours if name.endswith("convolution.weight")]
    order = sorted(names, key=_place)
    theirs = [module for module in extractor.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    pairs = list(zip(theirs[::2], theirs[1::2], strict=False))[: len(order)]
    for name, (convolution, norm) in zip(order, pairs, strict=True):
        if convolution.weight.shape != ours[f"{name}.weight"].shape:
            raise SystemExit(
                f"{name} is {tuple(ours[f'{name}.weight'].shape)}; expected {tuple(convolution.weight.shape)}"
            )
        with torch.no_grad():
            convolution.weight.copy_(ours[f"{name}.weight"])
            norm.weight.fill_(1.0)
            norm.bias.copy_(ours[f"{name}.bias"])
            norm.running_mean.zero_()
            norm.running_var.fill_(1.0 - norm.eps)


def _place(name: str) -> tuple[int, int]:
    """Where a convolution stands: the stem, then block by block what widens, filters, narrows."""
    if name.startswith("stem"):
        return -1, 0
    _, block, part = name.split(".")[:3]
    return int(block), ("expand", "depthwise", "project").index(part)


def read(path: str) -> torch.Tensor:
    """An image as the network reads it: (1, 3, H, W)."""
    pixels = torch.from_numpy(np.load(path)).float()
    return ((pixels - 127.0) / 128.0).permute(2, 0, 1)[None].contiguous()


class Worker:
    """One fitted model at a time."""

    def __init__(self, weights: str, folder: Path) -> None:
        self.folder = folder
        self.model: Any = self._new("patchcore")
        load_weights(self.model.feature_extractor.extractor, weights)
        self.extractor = self.model.feature_extractor

    def _new(self, method: str) -> Any:
        torch.manual_seed(0)
        if method == "patchcore":
            model: Any = PatchcoreModel(layers=LAYERS, backbone=BACKBONE, pre_trained=False)
        else:
            model = PadimModel(BACKBONE, LAYERS, pre_trained=False, n_features=PADIM_FEATURES)
        model.feature_extractor = getattr(self, "extractor", None) or Remembering(model.feature_extractor)
        return model

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks for."""
        if "fit" in request:
            return {"memory": self.fit(request["fit"], request["references"], request.get("ratio", 0.1))}
        if "score" in request:
            self.model.eval()
            with torch.no_grad():
                found = self.model(read(request["score"]))
            small = nn.functional.interpolate(found.anomaly_map.reshape(1, 1, *found.anomaly_map.shape[-2:]), MAP_SIDE)
            np.save(self.folder / "map.npy", small[0, 0].numpy())
            return {"score": float(found.pred_score), "map": str(self.folder / "map.npy")}
        levels = self.extractor(read(request["features"]))
        for stride, one in zip((8, 16), levels.values(), strict=True):
            np.save(self.folder / f"{stride}.npy", one[0].permute(1, 2, 0).numpy())
        return {str(stride): str(self.folder / f"{stride}.npy") for stride in (8, 16)}

    def fit(self, method: str, references: list[str], ratio: float) -> int:
        """Learn the references; the number of patches, or of Gaussians, that are kept."""
        self.model = self._new(method)
        self.model.train()
        self.extractor.eval()
        with torch.no_grad():
            for path in references:
                self.model(read(path))
            if method == "patchcore":
                self.model.subsample_embedding(ratio)
                return len(self.model.memory_bank)
            self.model.fit()
            return int(self.model.gaussian.mean.shape[-1])


def main() -> None:
    """Answer until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not mix with the answers
    worker = Worker(sys.argv[1], Path(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
