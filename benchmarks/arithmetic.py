"""Every arithmetic of the bundled model beside the others, on this processor, with random weights: nothing is fetched.

    python benchmarks/arithmetic.py [--threads 2] [--repeat 5] [--level avx2|vnni|amx] [--json]

The parts are those of an inspection: a prompt of 350 tokens, a question of 40 behind it, a step of 5 candidates of 16
tokens behind both, one image of 224 pixels through the ViT and one of 448 through EfficientNet-Lite0. Every arithmetic
takes its turn in every round, and the shortest of its times counts. `--level` holds a richer processor back
(ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY) before torch is imported; onnxruntime cannot be held back.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

LIMITS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "bfloat16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "amx": {},
}
PROMPT, QUESTION, CANDIDATES, SUFFIX = 350, 40, 5, 16


def sizes_of(shape: Any) -> dict[str, tuple[int, ...]]:
    """The weights of a llama decoder by transformers' names, and how large each is."""
    width, inner, kept = shape.hidden_size, shape.intermediate_size, shape.num_key_value_heads * shape.head_width
    layer = {
        "self_attn.q_proj": (width, width), "self_attn.k_proj": (kept, width), "self_attn.v_proj": (kept, width),
        "self_attn.o_proj": (width, width), "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner), "input_layernorm": (width,), "post_attention_layernorm": (width,),
    }  # fmt: skip
    found: dict[str, tuple[int, ...]] = {
        f"model.layers.{number}.{name}.weight": size
        for number in range(shape.num_layers)
        for name, size in layer.items()
    }
    return {**found, "model.embed_tokens.weight": (shape.vocab_size, width), "model.norm.weight": (width,)}


def decoders(folder: Path) -> dict[str, Callable[[], Any]]:
    """What builds the bundled language model's layers in every arithmetic, with the same random weights."""
    import torch

    from reason_iad.models.graph_cache import new_session
    from reason_iad.models.llama import Llama, TiedHead
    from reason_iad.models.llama_graph import LlamaShape, write_llama
    from reason_iad.models.onnx_layers import OnnxLayers
    from reason_iad.models.torch_layers import TorchLayers
    from reason_iad.processor import threads

    shape = LlamaShape(576, 1536, 30, 9, 3, 49152, 1e-5, 1e5, 2048)
    generator = torch.Generator().manual_seed(0)
    sizes = sizes_of(shape)
    state = {
        name: torch.ones(size) if len(size) == 1 else torch.empty(size).normal_(std=0.04, generator=generator)
        for name, size in sizes.items()
    }

    def in_torch(dtype: torch.dtype) -> TorchLayers:
        return TorchLayers(Llama.of(shape, state.__getitem__, dtype), TiedHead(state["model.embed_tokens.weight"]))

    def in_onnxruntime() -> OnnxLayers:
        write_llama(folder, "decoder", shape, lambda name: state[name].numpy())
        session = new_session(folder / "decoder.onnx", threads())
        return OnnxLayers(
            session, state["model.embed_tokens.weight"], shape.num_layers, partial(in_torch, torch.float32)
        )

    return {
        "torch float32": partial(in_torch, torch.float32),
        "onnxruntime float32": in_onnxruntime,
        "torch bfloat16": partial(in_torch, torch.bfloat16),
    }


def towers(folder: Path) -> dict[str, Any]:
    """The vision towers in every arithmetic, with the same random weights."""
    from reason_iad.models.graph_cache import new_session
    from reason_iad.models.vision import BLOCKS, IMAGENET_MEAN, IMAGENET_STD, TAPS, BundledVision
    from reason_iad.models.vision_graph import write_efficientnet, write_vit
    from reason_iad.models.vision_onnx import OnnxVision
    from reason_iad.models.vit import VisionTransformer
    from reason_iad.processor import threads

    full = BundledVision(VisionTransformer(), BundledVision.random().convolutional)
    vit, convolutional = full.transformer.state_dict(), full.convolutional.state_dict()
    write_vit(folder, "vit", lambda name: vit[name].numpy(), 12, 6, IMAGENET_MEAN, IMAGENET_STD)
    write_efficientnet(folder, "efficientnet", lambda name: convolutional[name].numpy(), BLOCKS, TAPS)
    transformer, towers = (new_session(folder / f"{name}.onnx", threads()) for name in ("vit", "efficientnet"))
    return {
        "torch float32": full,
        "onnxruntime float32": OnnxVision(transformer, towers, vit["embeddings.position_embeddings"]),
        "torch bfloat16": BundledVision(deepcopy(full.transformer), deepcopy(full.convolutional), halved=True),
    }


def parts_of(layers: Any) -> dict[str, Callable[[], Any]]:
    """The passes of an inspection through a decoder."""
    import torch

    def passed(past: tuple[Any, ...], rows: int, length: int, record: bool) -> Any:
        before = sum(segment.length for segment in past)
        embeds = layers.embed([7] * length).expand(rows, -1, -1)
        positions = (torch.arange(length) + before)[None]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        return layers.run(past, embeds, positions, mask, record=record)

    with torch.no_grad():
        prompt = (passed((), 1, PROMPT, True)[1],)
        asked = (*prompt, passed(prompt, 1, QUESTION, True)[1])
    return {
        f"prompt of {PROMPT}": lambda: passed((), 1, PROMPT, True),
        f"question of {QUESTION}": lambda: passed(prompt, 1, QUESTION, True),
        f"step of {CANDIDATES} x {SUFFIX}": lambda: layers.logits(passed(asked, CANDIDATES, SUFFIX, False)[0][:, :5]),
    }


def in_turn(actions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Shortest milliseconds of each; all take their turn in every round."""
    import torch

    spent: dict[str, list[float]] = {name: [] for name in actions}
    with torch.no_grad():
        for _ in range(repeat):
            for name, action in actions.items():
                began = time.perf_counter()
                action()
                spent[name].append((time.perf_counter() - began) * 1000)
    return {name: round(min(times), 1) for name, times in spent.items()}


def _vit(vision: Any, images: list[Any]) -> None:
    vision.vit(images, 224, (7, 12))


def _efficientnet(vision: Any, images: list[Any]) -> None:
    vision.efficientnet(images, 448)


def main() -> None:
    """Build, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--level", choices=LIMITS)
    parser.add_argument("--only", default="", help="arithmetics whose name holds this, beside torch float32")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ.update({"OMP_NUM_THREADS": str(args.threads), **LIMITS.get(args.level or "", {})})
    import numpy as np
    import torch

    from reason_iad import processor

    torch.set_num_threads(args.threads)
    rows: dict[str, dict[str, float]] = {}

    def chosen(all_of_them: dict[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in all_of_them.items() if args.only in name or name == "torch float32"}

    with tempfile.TemporaryDirectory() as folder:
        by_arithmetic = {name: parts_of(build()) for name, build in chosen(decoders(Path(folder))).items()}
        for part in next(iter(by_arithmetic.values())):
            rows[part] = in_turn({name: parts[part] for name, parts in by_arithmetic.items()}, args.repeat)
        del by_arithmetic
        image = [np.random.default_rng(0).integers(0, 255, (448, 448, 3), dtype=np.uint8)]
        vision = chosen(towers(Path(folder)))
        for title, look in (("ViT, 224 px", _vit), ("EfficientNet, 448 px", _efficientnet)):
            rows[title] = in_turn({name: partial(look, one, image) for name, one in vision.items()}, args.repeat)
    held = f", held back to {args.level}" if args.level else ""
    abilities = ", ".join(name for name, has in processor.abilities().items() if has)
    print(f"{processor.model_name()} ({abilities}){held}, {args.threads} threads; ms, the shortest of {args.repeat}")
    for part, found in rows.items():
        plain = found["torch float32"]
        told = "; ".join(f"{name} {ms:.0f} ({ms / plain:.2f})" for name, ms in found.items())
        print(f"{part:20} {told}", flush=True)
    if args.json:
        level = {"processor": processor.model_name(), "level": args.level, "threads": args.threads}
        print(json.dumps({**level, "ms": rows}))


if __name__ == "__main__":
    main()
