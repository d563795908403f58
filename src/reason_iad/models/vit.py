"""A ViT of the DINOv2 architecture in torch: transformers' `Dinov2Model` up to its last layer, without its import.

The parameters carry the names of the weights' file. Linear maps may be held in bfloat16: then products and attention
run in it, while norms and what the layers add to stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 14  # pixels a side of a patch
NORM_EPS = 1e-6


class _Module(nn.Module):
    """A named place for other modules."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Embeddings(nn.Module):
    """Patches to tokens behind a class token, with positions stretched to the image's grid."""

    def __init__(self, width: int, image_size: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # in the weights; only training uses it
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + (image_size // PATCH) ** 2, width))
        self.patch_embeddings = _Module(projection=nn.Conv2d(3, width, PATCH, PATCH))

    def forward(self, x: Tensor) -> Tensor:
        """Normalized images (B, 3, H, H) to tokens (B, 1 + P, C)."""
        patches = self.patch_embeddings.projection(x).flatten(2).transpose(1, 2)  # type: ignore[operator]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        return tokens + stretch_positions(self.position_embeddings, x.shape[-1] // PATCH)


def stretch_positions(positions: Tensor, side: int) -> Tensor:
    """Position embeddings (1, 1 + n * n, C) for a grid of side x side patches: (1, 1 + side * side, C)."""
    count, width = positions.shape[1] - 1, positions.shape[2]
    if side * side == count:
        return positions
    known = round(count**0.5)
    grid = positions[:, 1:].reshape(1, known, known, width).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)


class Linear(nn.Linear):
    """A linear map that computes in the type of its weights, and gives it, whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Scale(nn.Module):
    """A factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return x * self.lambda1


class Layer(nn.Module):
    """Attention and feed-forward part, each behind a norm, scaled, beside a shortcut."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=NORM_EPS), nn.LayerNorm(width, eps=NORM_EPS)
        kinds = {name: Linear(width, width) for name in ("query", "key", "value")}
        self.attention = _Module(attention=_Module(**kinds), output=_Module(dense=Linear(width, width)))
        self.mlp = _Module(fc1=Linear(width, mlp_ratio * width), fc2=Linear(mlp_ratio * width, width))
        self.layer_scale1, self.layer_scale2 = Scale(width), Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        parts: Any = self.attention.attention
        normed = self.norm1(x)
        query, key, value = (
            part(normed).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (parts.query, parts.key, parts.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.layer_scale1(self.attention.output.dense(attended))  # type: ignore[union-attr,operator]
        inner = F.gelu(self.mlp.fc1(self.norm2(x)))  # type: ignore[operator]
        result: Tensor = x + self.layer_scale2(self.mlp.fc2(inner))  # type: ignore[operator]
        return result


class VisionTransformer(nn.Module):
    """The tower; called by its parts, since only some layers are run."""

    def __init__(
        self, width: int = 384, num_layers: int = 12, num_heads: int = 6, mlp_ratio: int = 4, image_size: int = 518
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(width, image_size)
        layers = nn.ModuleList(Layer(width, num_heads, mlp_ratio) for _ in range(num_layers))
        self.encoder = _Module(layer=layers)
        self.layernorm = nn.LayerNorm(width, eps=NORM_EPS)  # of the output, which nobody here reads
