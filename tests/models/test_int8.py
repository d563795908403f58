"""Products in 8 bits."""

from __future__ import annotations

import torch
from torch import nn

from reason_iad.models.int8 import Int8Linear, quantize_linears, quantize_rows


def dequantized(layer: Int8Linear) -> torch.Tensor:
    return layer.weight.double() * layer.scale[:, None].double()


def test_the_product_is_that_of_the_rounded_factors():
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(96, 40)), torch.randn(3, 7, 96)
    rows, scale = quantize_rows(x.reshape(-1, 96))
    expected = (rows.double() * scale[:, None].double()) @ dequantized(layer).T + layer.bias.double()
    torch.testing.assert_close(layer(x).double(), expected.view(3, 7, 40), atol=1e-5, rtol=1e-5)


def test_rounding_costs_less_than_two_percent():
    torch.manual_seed(0)
    linear, x = nn.Linear(576, 100), torch.randn(20, 576)
    error = ((Int8Linear(linear)(x) - linear(x)).norm() / linear(x).norm()).detach()
    assert 0 < float(error) < 0.02


def test_a_row_does_not_depend_on_what_runs_beside_it():
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(64, 32)), torch.randn(5, 64)
    x[2] *= 1000
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), atol=0, rtol=0)


def test_the_gradient_is_that_of_the_dequantized_weights():
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(16, 8, bias=False)), torch.randn(4, 16, requires_grad=True)
    layer(x).pow(2).sum().backward()
    expected = (2 * layer(x).detach().double()) @ dequantized(layer)
    torch.testing.assert_close(x.grad.double(), expected, atol=1e-4, rtol=1e-4)


def test_every_linear_map_of_a_module_is_replaced():
    module = nn.Sequential(nn.Linear(8, 8), nn.ModuleDict({"inner": nn.Linear(8, 4)}))
    quantize_linears(module)
    assert not [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert isinstance(quantize_linears(nn.Linear(8, 4)), Int8Linear)


def test_a_gated_part_in_one_product_is_that_of_three():
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    torch.manual_seed(0)
    plain = LlamaMLP(LlamaConfig(hidden_size=32, intermediate_size=48))
    gate, up, down = (Int8Linear(part) for part in (plain.gate_proj, plain.up_proj, plain.down_proj))
    fused, x = quantize_linears(plain), torch.randn(2, 5, 32)
    assert not [m for m in fused.modules() if isinstance(m, nn.Linear)]
    torch.testing.assert_close(fused(x), down(nn.functional.silu(gate(x)) * up(x)), atol=0, rtol=0)
