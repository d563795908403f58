"""The bundled model `nano`: two small vision towers, a projector and SmolLM2-135M, in the manner of LLaVA.

An image becomes 8 x 8 tokens. ViT-S/14 hidden states 7, 9 and 11 at 224 px and EfficientNet-Lite0 strides 8 and 16
at 256 px all fall on one 16 x 16 grid; the projector merges 2 x 2 cells to a token and adds, where normal references
were given, what the calibrated evidence says about each cell. The image is stretched to a square, so that grid and
image keep one linear map. Only the projector, four latents and low-rank updates of the language model are trained;
they ship with the package (`data/nano`), the frozen rest comes from `weights`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad.errors import ModelError
from reason_iad.images import Pixels
from reason_iad.models.base import ChatTemplate, ImageTokens, ModelInfo, VisionTowers
from reason_iad.models.decoder import CachedDecoder, DecoderLayers, Tokenizer
from reason_iad.models.fingerprint import of_bundled, of_tensors
from reason_iad.models.llama_graph import LlamaShape
from reason_iad.models.smollm import SmolLM
from reason_iad.models.sources import default_adapter
from reason_iad.processor import IN_TORCH, Arithmetic, choose

VIT_LAYERS = (7, 9, 11)
VIT_SIZE = 224
EFFICIENTNET_SIZE = 256
CELLS = 16  # the common grid of both towers at these sizes
TOKENS = 8  # rows and columns of image tokens after 2 x 2 merging
NUM_LATENTS = 4  # latents with a trained starting point

TEMPLATE = ChatTemplate(
    before_system="<|im_start|>system\n",
    before_user="<|im_end|>\n<|im_start|>user\n",
    before_answer="<|im_end|>\n<|im_start|>assistant\n",
    cue="Answer: ",
    end="<|im_end|>",
)


@dataclass(frozen=True)
class StreamWidths:
    """Channels of the three feature streams on the common grid."""

    vit: int = 3 * 384
    fine: int = 4 * 40  # stride 8: 2 x 2 positions a cell
    coarse: int = 112


def vision_features(images: Sequence[Pixels], vision: VisionTowers) -> dict[str, Tensor]:
    """Features of images on the common grid: vit, fine and coarse, each (B, 16, 16, C)."""
    hidden = vision.vit(images, VIT_SIZE, VIT_LAYERS)
    maps = vision.efficientnet(images, EFFICIENTNET_SIZE)
    fine = F.pixel_unshuffle(maps[8].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)  # (B, 16, 16, 4 C)
    return {"vit": torch.cat([hidden[i] for i in VIT_LAYERS], dim=-1), "fine": fine, "coarse": maps[16]}


def evidence_cells(evidence: npt.NDArray[np.float32]) -> Tensor:
    """Reduce a calibrated map (h, w) in [0, 1] to the common grid by its maximum in each cell: (16, 16)."""
    grid = torch.from_numpy(np.ascontiguousarray(evidence, dtype=np.float32))[None, None]
    if min(grid.shape[-2:]) < CELLS:
        grid = F.interpolate(grid, size=(CELLS, CELLS), mode="bilinear", align_corners=False)
    cells: Tensor = F.adaptive_max_pool2d(grid, CELLS)[0, 0]
    return cells.clamp(0, 1)


class Projector(nn.Module):
    """Feature streams and evidence on the common grid to image tokens in the language model's width."""

    def __init__(self, widths: StreamWidths, hidden_size: int, reduced: int = 256, inner: int = 768) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.LayerNorm(size) for name, size in vars(widths).items()})
        self.reduce = nn.Linear(sum(vars(widths).values()), reduced)
        self.merge = nn.Linear(4 * reduced, inner)
        self.out = nn.Linear(inner, hidden_size)
        self.evidence = nn.Linear(5, hidden_size)  # four cells, and whether there is any evidence at all
        self.position = nn.Parameter(torch.randn(TOKENS * TOKENS, hidden_size) * 0.02)
        self.gain = nn.Parameter(torch.tensor(0.1))

    def forward(self, features: dict[str, Tensor], evidence: Tensor | None) -> Tensor:
        """Streams (B, 16, 16, C) and evidence (B, 16, 16) in [0, 1] to tokens (B, 64, D)."""
        cells = torch.cat([norm(features[name].float()) for name, norm in self.norms.items()], dim=-1)
        tokens = self.merge(_merge(F.gelu(self.reduce(cells))))  # (B, 8, 8, inner)
        tokens = F.layer_norm(self.out(F.gelu(tokens)).flatten(1, 2) + self.position, (self.position.shape[1],))
        if evidence is not None:
            quads = _merge(evidence.float()[..., None]).flatten(1, 2)  # (B, 64, 4)
            tokens = tokens + self.evidence(torch.cat([quads, torch.ones_like(quads[..., :1])], dim=-1))
        scaled: Tensor = tokens * self.gain
        return scaled


def _merge(cells: Tensor) -> Tensor:
    """Join 2 x 2 neighbors along channels: (B, h, w, C) to (B, h/2, w/2, 4 C)."""
    return F.pixel_unshuffle(cells.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class NanoModel(CachedDecoder):
    """The bundled multimodal language model; implements `OpenModel`."""

    def __init__(
        self,
        layers: DecoderLayers,
        shape: LlamaShape,
        tokenizer: Tokenizer,
        vision: VisionTowers,
        projector: Projector,
        latents: Tensor,
        settings: dict[str, Any],
        fingerprint: str | None = None,
    ) -> None:
        info = ModelInfo(
            name="nano",
            version=str(settings["version"]),
            hidden_size=shape.hidden_size,
            num_layers=shape.num_layers,
            context_length=shape.context_length,
            answer_style="content",
            lists_options=False,
            answer_scale=float(settings["answer_scale"]),
            sees_references=False,
            template=TEMPLATE,
            reads_hue=bool(settings.get("reads_hue", False)),
        )
        super().__init__(
            layers,
            tokenizer,
            info,
            lambda: fingerprint or of_tensors({"latents": latents, **projector.state_dict()}),
        )
        self.vision = vision
        self.projector = projector.eval().requires_grad_(False)
        self.latents = latents  # (NUM_LATENTS, D)

    @classmethod
    def load(
        cls,
        adapter: Path | None = None,
        vision: VisionTowers | None = None,
        exact: bool = False,
        arithmetic: Arithmetic | None = None,
        device: str = "cpu",
    ) -> NanoModel:
        """Assemble the model from the cached weights and the adapter that ships with the package.

        Args:
            adapter: folder of another adapter.
            vision: towers that are loaded already.
            exact: in float32, what the adapter was trained in, even where the processor has something faster.
            arithmetic: by what and in which types it runs; what suits this processor where None.
            device: where it runs; elsewhere than on the processor in float32 by torch.

        Raises:
            WeightsError: a part cannot be fetched.
            ModelError: the adapter is missing or does not fit.
        """
        from reason_iad.models.vision import BundledVision

        arithmetic = arithmetic or (choose(exact) if device == "cpu" else IN_TORCH)
        tensors, settings = read_adapter(adapter or default_adapter())
        weights = SmolLM(adapter or default_adapter(), tensors, float(settings["lora_scale"]))
        projector = Projector(StreamWidths(), weights.shape.hidden_size)
        prefix = "projector."
        state = {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
        try:
            projector.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                f"the adapter does not fit this version of nano: {error}; reinstall the package"
            ) from error
        content = of_bundled(adapter or default_adapter())
        return cls(
            weights.layers(arithmetic, device),
            weights.shape,
            weights.tokenizer(),
            vision or BundledVision.load(arithmetic=arithmetic, device=device),
            projector.to(device),
            tensors["latents"].float().to(device),
            settings,
            content,
        )

    def initial_latents(self, num_latents: int) -> Tensor:
        """The trained starting point, repeated or cut to L: (L, D)."""
        repeats = -(-num_latents // self.latents.shape[0])
        return self.latents.repeat(repeats, 1)[:num_latents].clone()

    @torch.no_grad()
    def encode_image(
        self, pixels: Pixels, evidence: npt.NDArray[np.float32] | None = None, most_tokens: int | None = None
    ) -> ImageTokens:
        """Turn an image (H, W, 3) into 64 visual embeddings, whatever `most_tokens`; see `OpenModel.encode_image`."""
        cells = None if evidence is None else evidence_cells(evidence)[None].to(self.device)
        tokens = self.projector(vision_features([pixels], self.vision), cells)[0]
        return ImageTokens(tokens, (TOKENS, TOKENS), (pixels.shape[0], pixels.shape[1]))


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read `adapter.safetensors` and `adapter.json`; no code runs.

    Raises:
        ModelError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        settings = json.loads((folder / "adapter.json").read_text(encoding="utf-8"))
        return load_file(folder / "adapter.safetensors"), settings
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"the adapter in {folder} cannot be read ({error}); expected adapter.safetensors and adapter.json"
        ) from error
