"""Linear maps with 8-bit weights and activations, for processors whose short float32 passes wait for memory.

Weights are quantized once, symmetric, one scale an output channel; activations at run time, symmetric, one scale a row.
Because no row shares a scale with another, a row's result does not depend on what runs beside it: candidates together
are candidates one by one, and stored keys and values are those of the whole prompt. (Scales per tensor, torch's own
dynamic quantization, fail here: the first token of a prompt has activations a hundred times larger than the others'.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 127  # symmetric: -127 to 127


class Int8Linear(nn.Module):
    """x W^T + b with W in 8 bits: (..., in) float32 to (..., out) float32."""

    weight: Tensor  # (out, in) int8
    scale: Tensor  # (out,)

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Quantize the rows of x, multiply in integers, scale back."""
        rows = x.reshape(-1, x.shape[-1])
        product: Tensor = _Int8Product.apply(rows, self.weight, self.scale)  # type: ignore[no-untyped-call]
        result = product.view(*x.shape[:-1], -1)
        return result if self.bias is None else result + self.bias


class _Int8Product(torch.autograd.Function):
    """The product, with the gradient that the dequantized weights would have (straight through the rounding)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        rows, row_scale = quantize_rows(x)
        product = torch._int_mm(rows, weight.t()).to(x.dtype)
        return product.mul_(row_scale[:, None]).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        return (grad * scale) @ weight.to(grad.dtype), None, None


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row (n, d) to 8 bits of its own largest entry: int8 (n, d) and scales (n,).

    >>> quantize_rows(torch.tensor([[1.0, -2.0]]))
    (tensor([[  64, -127]], dtype=torch.int8), tensor([0.0157]))
    """
    scale = values.abs().amax(dim=1).clamp_min(1e-8) / LEVELS
    return torch.round(values / scale[:, None]).to(torch.int8), scale


class Int8Gate(nn.Module):
    """The gated feed-forward part of a llama layer, down(silu(gate(x)) * up(x)), with gate and up in one product."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, down: nn.Linear) -> None:
        super().__init__()
        both = nn.Linear(gate.in_features, gate.out_features + up.out_features, bias=False)
        both.weight = nn.Parameter(torch.cat([gate.weight, up.weight]).detach(), requires_grad=False)
        self.both, self.down = Int8Linear(both), Int8Linear(down)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        gate, up = self.both(x).chunk(2, dim=-1)
        result: Tensor = self.down(nn.functional.silu(gate) * up)
        return result


def quantize_linears(module: nn.Module) -> nn.Module:
    """Replace every linear map inside `module` in place; a linear map itself is returned replaced."""
    if isinstance(module, nn.Linear):
        return Int8Linear(module)
    if (gated := _gated(module)) is not None:
        return gated
    for name, child in list(module.named_children()):
        replaced = quantize_linears(child)
        if replaced is not child:
            setattr(module, name, replaced)
    return module


def _gated(module: nn.Module) -> Int8Gate | None:
    """The module in 8 bits, where it is a gated feed-forward part without biases."""
    gate, up, down = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
    if not (isinstance(gate, nn.Linear) and isinstance(up, nn.Linear) and isinstance(down, nn.Linear)):
        return None
    biased = any("bias" in dict(part.named_parameters()) for part in (gate, up))
    if biased or "SiLU" not in type(getattr(module, "act_fn", None)).__name__:
        return None
    return Int8Gate(gate, up, down)
