"""The two bundled vision towers as ONNX graphs; see `vision` for what they are.

Axes: B images of side H, P patches, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reason_iad.models.onnx_writer import FUSED, GraphWriter, Weights

VERSION = 2  # raise it when a graph computes something else


def write_vit(
    folder: Path,
    name: str,
    weights: Weights,
    num_layers: int,
    num_heads: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Write a ViT of the DINOv2 architecture.

    Inputs: `pixels` (B, H, H, 3) uint8, `positions` (1, 1 + P, C) for images of that size, `depth` (): how many layers
    are run, since onnxruntime runs all of a graph, whichever outputs are asked for.
    Outputs: `hidden.i` (B, P, C), the patches' hidden states: 0 are the embeddings, the last one before the final norm;
    beyond `depth` they are that one.
    """
    w = GraphWriter(folder, name)
    pixels = w.input("pixels", ("B", "H", "H", 3), "UINT8")
    count = w.node("Gather", w.node("Shape", pixels), w.integers(0))
    patches, width = _patches(w, weights, pixels, count, mean, std)
    w.input("positions", (1, "all", width))
    first = w.weight("cls", weights("embeddings.cls_token"))
    first = w.node("Expand", first, w.node("Concat", count, w.integers(1, 1), axis=0))
    hidden = w.node("Add", w.node("Concat", first, patches, axis=1), "positions")
    _tap(w, 0, hidden, width)
    depth = w.input("depth", (), "INT64")
    for layer in range(num_layers):
        wanted = w.node("Greater", depth, w.integers(layer))
        run = functools.partial(_vit_layer, w, weights, f"encoder.layer.{layer}", hidden, num_heads)
        hidden = w.only_if(wanted, run, hidden)
        _tap(w, layer + 1, hidden, width)
    w.save()


def _patches(
    w: GraphWriter, weights: Weights, pixels: str, count: str, mean: Sequence[float], std: Sequence[float]
) -> tuple[str, int]:
    """Embeddings of the patches (B, P, C), and C: one product, into which the scaling of the pixels is folded."""
    front = "embeddings.patch_embeddings.projection"
    kernel = weights(f"{front}.weight").astype(np.float64)  # (C, 3, p, p)
    width, _, patch, _ = kernel.shape
    center, scale = (np.asarray(values, dtype=np.float64) * 255 for values in (mean, std))
    kernel = kernel / scale[:, None, None]
    bias = weights(f"{front}.bias") - (kernel * center[:, None, None]).sum(axis=(1, 2, 3))
    matrix = kernel.transpose(2, 3, 1, 0).reshape(-1, width)  # (p * p * 3, C), as the bytes of a patch lie
    side = w.node("Div", w.node("Gather", w.node("Shape", pixels), w.integers(1)), w.integers(patch))
    rows = w.node("Concat", count, side, w.integers(patch), side, w.integers(patch * 3), axis=0)
    blocks = w.node("Transpose", w.node("Reshape", pixels, rows), perm=[0, 1, 3, 2, 4])  # (B, h, h, p, 3p)
    flat = w.node("Reshape", blocks, w.node("Concat", count, w.integers(-1), w.integers(len(matrix)), axis=0))
    product = w.node("MatMul", w.node("Cast", flat, to=1), w.weight(f"{front}.weight", matrix.astype(np.float32)))
    return w.node("Add", product, w.weight(f"{front}.bias", bias.astype(np.float32))), width


def _tap(w: GraphWriter, layer: int, hidden: str, width: int) -> None:
    patches = w.node("Slice", hidden, w.integers(1), w.integers(np.iinfo(np.int64).max), w.integers(1))
    w.output(f"hidden.{layer}", patches, ("B", "P", width))


def _vit_layer(w: GraphWriter, weights: Weights, front: str, hidden: str, num_heads: int) -> str:
    def linear(name: str, x: str, *parts: str, scale: str | None = None) -> str:
        """Maps side by side as one product, a scale a channel of the output folded in."""
        matrix = np.concatenate([weights(f"{front}.{part}.weight") for part in parts])
        bias = np.concatenate([weights(f"{front}.{part}.bias") for part in parts])
        factor = np.float32(1) if scale is None else weights(f"{front}.{scale}.lambda1")
        product = w.node("MatMul", x, w.weight(f"{front}.{name}.weight", (matrix.T * factor)))
        return str(w.node("Add", product, w.weight(f"{front}.{name}.bias", bias * factor)))

    def normed(name: str, x: str) -> str:
        scale, bias = (w.weight(f"{front}.{name}.{n}", weights(f"{front}.{name}.{n}")) for n in ("weight", "bias"))
        return str(w.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-6))

    parts = [f"attention.attention.{part}" for part in ("query", "key", "value")]
    joined = linear("qkv", normed("norm1", hidden), *parts)
    query, key, value = w.node("Split", joined, outputs=3, axis=-1)
    attended = w.node("MultiHeadAttention", query, key, value, domain=FUSED, num_heads=num_heads)
    hidden = w.node("Add", hidden, linear("out", attended, "attention.output.dense", scale="layer_scale1"))
    inner = w.node("Gelu", linear("fc1", normed("norm2", hidden), "mlp.fc1"), domain=FUSED)
    return str(w.node("Add", hidden, linear("fc2", inner, "mlp.fc2", scale="layer_scale2")))


def write_efficientnet(
    folder: Path, name: str, weights: Weights, blocks: Sequence[tuple[int, int, int, int]], taps: dict[int, int]
) -> None:
    """Write EfficientNet-Lite0 as far as `blocks` go: kernel, stride, expansion, output channels of each.

    Inputs: `pixels` (B, H, H, 3) uint8, H a multiple of 16. Outputs: `stride.s` (B, H / s, H / s, C) of each s of
    `taps`, which names the block that gives it.
    """
    w = GraphWriter(folder, name)

    def convolve(x: str, part: str, stride: int = 1, depthwise: bool = False) -> str:
        """A convolution padded as TensorFlow does: of an odd row of padding, the bottom right has more."""
        kernel, bias = weights(f"{part}.convolution.weight"), weights(f"{part}.convolution.bias")
        size = kernel.shape[-1]
        pad = size - stride  # sides are multiples of the stride
        begin, end = pad // 2, pad - pad // 2
        return str(w.node(
            "Conv", x, w.weight(f"{part}.weight", kernel), w.weight(f"{part}.bias", bias), kernel_shape=[size, size],
            strides=[stride, stride], group=kernel.shape[0] if depthwise else 1, pads=[begin, begin, end, end],
        ))  # fmt: skip

    def bounded(x: str) -> str:
        return str(w.node("Clip", x, w.number(0.0), w.number(6.0)))  # ReLU6

    pixels = w.node("Cast", w.input("pixels", ("B", "H", "H", 3), "UINT8"), to=1)
    scaled = w.node("Div", w.node("Sub", pixels, w.number(127.0)), w.number(128.0))
    hidden = bounded(convolve(w.node("Transpose", scaled, perm=[0, 3, 1, 2]), "stem", 2))
    inputs = weights("stem.convolution.bias").shape[0]
    for index, (_, stride, expansion, outputs) in enumerate(blocks):
        inner = bounded(convolve(hidden, f"blocks.{index}.expand")) if expansion > 1 else hidden
        inner = bounded(convolve(inner, f"blocks.{index}.depthwise", stride, depthwise=True))
        inner = convolve(inner, f"blocks.{index}.project")
        hidden = w.node("Add", hidden, inner) if stride == 1 and inputs == outputs else inner
        inputs = outputs
        if index in taps:
            shape = ("B", f"H{taps[index]}", f"H{taps[index]}", outputs)
            w.output(f"stride.{taps[index]}", w.node("Transpose", hidden, perm=[0, 2, 3, 1]), shape)
    w.save()
