"""The two bundled vision towers as frozen feature extractors: a ViT-S/14 and the first blocks of EfficientNet-Lite0.

They see different things: the ViT's middle layers describe what lies where in the whole image, the convolutions at
strides 8 and 16 compare parts closely and survive small shifts. Nothing is trained here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad import weights
from reason_iad.errors import ModelError
from reason_iad.images import Pixels, resize
from reason_iad.models.base import VisionTowers
from reason_iad.models.vit import PATCH, Linear, VisionTransformer
from reason_iad.processor import IN_TORCH, Arithmetic, choose

WEIGHTS = "model.safetensors"
STRIDES = (8, 16)  # pixels between neighboring EfficientNet features

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_BATCH = 8  # images at a time: bounds the memory, and larger batches are no faster on a CPU

# kernel, stride, expansion, output channels of EfficientNet-Lite0's blocks up to stride 16
BLOCKS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24), (3, 1, 6, 24),
    (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80),
    (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
)  # fmt: skip
_STEM_CHANNELS = 32
TAPS = {4: 8, 10: 16}  # the last block of a stride, and that stride


class SameConvolution(nn.Module):
    """A convolution with its batch norm folded in, padded as TensorFlow does.

    With stride 2 and an even input the odd row of padding goes to the bottom right, where PyTorch would be symmetric.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = (kernel - 1) // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.convolution.kernel_size[0], self.convolution.stride[0]
        if stride > 1:
            below, right = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
            x = F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2))
        out: Tensor = self.convolution(x)
        return out


class InvertedResidual(nn.Module):
    """Widen, filter each channel on its own, narrow; add the input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = SameConvolution(inputs, width, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(width, width, kernel, stride, groups=width)
        self.project = SameConvolution(width, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(out)))
        return x + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (no squeeze-excite, ReLU6) up to stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, _STEM_CHANNELS, 3, stride=2)
        blocks, inputs = [], _STEM_CHANNELS
        for kernel, stride, expansion, outputs in BLOCKS:
            blocks.append(InvertedResidual(inputs, outputs, kernel, stride, expansion))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Map normalized images (B, 3, H, W) to {8: (B, 40, H / 8, W / 8), 16: (B, 112, H / 16, W / 16)}."""
        x = F.relu6(self.stem(x))
        taps = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                taps[TAPS[index]] = x
        return taps


class Towers(ABC):
    """Both towers behind two calls that take images as they come; implements `VisionTowers`.

    Results are ordinary float32 tensors without a gradient history.
    """

    num_layers: int  # of the transformer; hidden states run from 0 (embeddings) to this one

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states of the image patches.

        Args:
            images: B images (H, W, 3) uint8 of any sizes.
            size: side in pixels that each is resized to; a multiple of 14.
            layers: hidden states to return: 0 are the embeddings, 12 the last layer before the final norm. Only as
                many layers are run as the highest needs.

        Returns:
            A tensor (B, size / 14, size / 14, 384) for each layer.

        Raises:
            ModelError: no image, another type or shape, or a size or layer that does not exist.
        """
        _check(images, size, PATCH)
        if wrong := [layer for layer in layers if not 0 <= layer <= self.num_layers]:
            raise ModelError(f"found the layers {wrong}; expected hidden states 0 to {self.num_layers}")
        wanted = sorted(set(layers))
        if not wanted:
            return {}
        found = [self._run_vit(pixels, wanted) for pixels in _batches(images, size)]
        side = size // PATCH
        joined = {layer: _ordinary([part[layer] for part in found]) for layer in wanted}
        return {layer: hidden.view(len(images), side, side, -1) for layer, hidden in joined.items()}

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, Tensor]:
        """Convolutional features at strides 8 and 16.

        Args:
            images: B images (H, W, 3) uint8 of any sizes.
            size: side in pixels that each is resized to; a multiple of 16.

        Returns:
            {8: (B, size / 8, size / 8, 40), 16: (B, size / 16, size / 16, 112)}.

        Raises:
            ModelError: no image, another type or shape, or a size that does not divide.
        """
        _check(images, size, max(STRIDES))
        found = [self._run_efficientnet(pixels) for pixels in _batches(images, size)]
        return {stride: _ordinary([part[stride] for part in found]) for stride in STRIDES}

    @abstractmethod
    def _run_vit(self, pixels: npt.NDArray[np.uint8], layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states (b, P, C) by layer, of a few images (b, H, H, 3)."""

    @abstractmethod
    def _run_efficientnet(self, pixels: npt.NDArray[np.uint8]) -> dict[int, Tensor]:
        """Features (b, h, h, C) by stride, of a few images (b, H, H, 3)."""


class BundledVision(Towers, nn.Module):
    """The towers in torch.

    Args:
        transformer: the ViT.
        convolutional: the other tower.
        halved: whether matrix products and convolutions run in bfloat16; the weights given are changed to it.
    """

    def __init__(self, transformer: VisionTransformer, convolutional: EfficientNetLite0, halved: bool = False) -> None:
        super().__init__()
        self.transformer = transformer
        self.convolutional = convolutional
        self.num_layers = len(transformer.encoder.layer)  # type: ignore[arg-type]
        self.eval().requires_grad_(False)
        # measured on a CPU at 448 px: 93 ms, against 121 ms in the default layout
        self.convolutional.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if halved:
            convolutional.to(torch.bfloat16)
            for module in transformer.modules():
                if isinstance(module, Linear):
                    module.to(torch.bfloat16)

    @staticmethod
    def load(device: str = "cpu", exact: bool = False, arithmetic: Arithmetic | None = None) -> VisionTowers:
        """Load the towers from the weights cache, fetching them on first use.

        Args:
            device: where they run; elsewhere than on the processor in float32 by torch.
            exact: in float32 even where the processor multiplies bfloat16 faster.
            arithmetic: by what and in which type they run; what suits this processor where None.

        Raises:
            WeightsError: they could not be fetched.
        """
        from reason_iad.models.graph_cache import NoRoomError, tell
        from reason_iad.models.vision_onnx import OnnxVision

        arithmetic = arithmetic or (choose(exact) if device == "cpu" else IN_TORCH)
        if arithmetic.towers == "onnxruntime":
            try:
                return OnnxVision.load()
            except NoRoomError as error:
                tell(f"{error}. Until then the vision towers run in torch, slower")
        return BundledVision.load_torch(arithmetic.towers == "bfloat16").to(device)

    @classmethod
    def load_torch(cls, halved: bool = False) -> BundledVision:
        """The towers in torch, from the weights cache.

        Raises:
            WeightsError: they could not be fetched.
        """
        from safetensors.torch import load_file

        with torch.device("meta"):  # nothing is drawn at random that the files then replace
            convolutional, transformer = EfficientNetLite0(), VisionTransformer()
        convolutional.load_state_dict(load_file(weights.resolve("efficientnet-lite0") / WEIGHTS), assign=True)
        transformer.load_state_dict(load_file(weights.resolve("vit-s14") / WEIGHTS), assign=True)
        return cls(transformer, convolutional, halved)

    @classmethod
    def random(cls, seed: int = 0) -> BundledVision:
        """Make towers of the same structure and output widths with random weights, for tests: no file is read."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            convolutional = EfficientNetLite0()
            for module in convolutional.modules():
                if isinstance(module, nn.Conv2d):  # keeps activations at one scale through the depth
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            transformer = VisionTransformer(mlp_ratio=1, image_size=56)
            for name, parameter in transformer.named_parameters():
                if parameter.dim() > 1:
                    nn.init.trunc_normal_(parameter, std=0.02)
                elif name.endswith("bias"):
                    nn.init.zeros_(parameter)
        return cls(transformer, convolutional)

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return next(self.parameters()).device

    def _run_vit(self, pixels: npt.NDArray[np.uint8], layers: Sequence[int]) -> dict[int, Tensor]:
        mean, std = (torch.tensor(part, device=self.device) * 255 for part in (IMAGENET_MEAN, IMAGENET_STD))
        found = {}
        with torch.inference_mode():
            images = (torch.from_numpy(pixels).to(self.device).float() - mean) / std
            hidden = self.transformer.embeddings(images.permute(0, 3, 1, 2))
            for layer in range(max(layers) + 1):
                if layer:
                    hidden = self.transformer.encoder.layer[layer - 1](hidden)  # type: ignore[index,operator]
                if layer in layers:
                    found[layer] = hidden[:, 1:]
        return found

    def _run_efficientnet(self, pixels: npt.NDArray[np.uint8]) -> dict[int, Tensor]:
        with torch.inference_mode():
            # the permuted view is already "channels last" in memory
            images = ((torch.from_numpy(pixels).to(self.device).float() - 127) / 128).permute(0, 3, 1, 2)
            images = images.to(self.convolutional.stem.convolution.weight.dtype)
            return {stride: f.permute(0, 2, 3, 1) for stride, f in self.convolutional(images).items()}


def _batches(images: Sequence[Pixels], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield images (b, size, size, 3), a few at a time."""
    for start in range(0, len(images), _BATCH):
        chosen = images[start : start + _BATCH]
        yield np.stack([p if p.shape[:2] == (size, size) else resize(p, (size, size)) for p in chosen])


def _check(images: Sequence[Pixels], size: int, multiple: int) -> None:
    if size < multiple or size % multiple:
        raise ModelError(f"found the input size {size}; expected a multiple of {multiple} pixels")
    if not len(images):
        raise ModelError("found no image; expected at least one")
    for pixels in images:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ModelError(f"found an image {pixels.dtype} {pixels.shape}; expected uint8 RGB of shape (H, W, 3)")


def _ordinary(tensors: list[Tensor]) -> Tensor:
    """Join batches outside inference mode, so that a trained layer may take the result as its input."""
    return torch.cat(tensors).float().contiguous()
