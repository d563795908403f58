"""Models by folder and by hub id: the same model comes back, and what cannot be loaded is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import build_miniature

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.prompts import context_parts
from reason_iad.models import memory
from reason_iad.models.base import Prefix
from reason_iad.models.checkpoint import read_checkpoint
from reason_iad.models.families import FAMILIES
from reason_iad.models.loading import LoadOptions, open_model
from reason_iad.models.registry import check_model

PICTURE = np.random.default_rng(3).integers(0, 255, (45, 70, 3), dtype=np.uint8)


def save(family: str, folder: Path) -> None:
    """A folder as a hub holds it: the image processor under the name that releases give it."""
    mini = build_miniature(family)
    mini.model.save_pretrained(folder)
    mini.tokenizer.save_pretrained(folder)
    mini.image_processor.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Pil")
    path.write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "qwen"
    save("qwen2_5_vl", folder)
    return folder


@pytest.fixture
def copy(stored, tmp_path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "copy"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stored_model_comes_back_with_the_same_logits(family, tmp_path) -> None:
    save(family, tmp_path / "model")
    model, mini = open_model(str(tmp_path / "model")), build_miniature(family)
    logits = []
    for one in (model, mini):
        prefix = one.extend(Prefix(), context_parts(mini.info, one.encode_image(PICTURE)))
        logits.append(one.logits(one.run_suffix(prefix, one.embed([5, 6])[None]).hidden))
    torch.testing.assert_close(*logits)
    assert model.info.name == str(tmp_path / "model")


def test_the_memory_needed_is_said_before_anything_is_loaded(stored) -> None:
    said: list[str] = []
    model = open_model(str(stored), LoadOptions(dtype="bfloat16"), said.append)
    assert model.model.dtype == torch.bfloat16
    assert [line.split()[0] for line in said] == [str(stored), "loading"]
    assert " needs 0.0 GB in bfloat16 (weights 0.0 GB, keys and values of 8,192 tokens" in said[0]


def test_bfloat16_sees_and_answers(stored) -> None:
    model = open_model(str(stored), LoadOptions(dtype="bfloat16"))
    prefix = model.extend(Prefix(), context_parts(model.info, model.encode_image(PICTURE)))
    assert torch.isfinite(model.logits(model.run_suffix(prefix, model.embed([5, 6])[None]).hidden)).all()


def test_parameters_are_counted_from_the_files(stored) -> None:
    weights = {t.data_ptr(): t.numel() for t in build_miniature("qwen2_5_vl").model.parameters()}
    assert read_checkpoint(stored).num_parameters == sum(weights.values())


def edit(folder: Path, **changes) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def only_text(folder: Path) -> None:
    edit(folder, model_type="qwen2", vision_config=None)


def foreign_family(folder: Path) -> None:
    edit(folder, model_type="florence2")


def own_code(folder: Path) -> None:
    edit(folder, model_type="internvl_chat", auto_map={"AutoModel": "modeling.Model"})


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_image_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def not_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")


def a_shard_missing(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def still_coming(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.safetensors.incomplete")


def a_tensor_missing(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.endswith("layers.0.mlp.up_proj.weight"))
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


FAULTS = {
    only_text: "reads text alone; expected a model that reads images: Qwen2-VL",
    foreign_family: "of the family florence2, which is not in the table",
    own_code: "brings Python code of its own.*trust_remote_code is off",
    no_config: "holds no config.json",
    broken_config: "config.json cannot be read",
    no_image_processor: "holds no image processor; expected preprocessor_config.json",
    no_tokenizer: "holds no tokenizer",
    no_weights: "holds no weights",
    a_pickle: "as a pickle .* can run any code; expected safetensors",
    cut_short: "half downloaded or damaged",
    not_safetensors: "half downloaded or damaged",
    a_shard_missing: "half downloaded: 1 of 2 weight files are missing",
    still_coming: "half downloaded: no weight file is complete",
    a_tensor_missing: "lacks weights of a Qwen2.5-VL",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_folder_that_cannot_be_loaded_is_refused_in_words(fault, copy) -> None:
    fault(copy)
    with pytest.raises(ModelError, match=FAULTS[fault]):
        open_model(str(copy))


def test_a_model_that_does_not_fit_is_refused_with_what_would(stored, monkeypatch) -> None:
    needs = {d: memory.need_of(read_checkpoint(stored).num_parameters, {}, d).total for d in ("float32", "bfloat16")}
    assert needs["bfloat16"] < needs["float32"]
    text = memory.text_part(read_checkpoint(stored).config)
    half = memory.need_of(read_checkpoint(stored).num_parameters, text, "bfloat16").total
    monkeypatch.setattr(memory, "free_bytes", lambda device: half + 1)
    with pytest.raises(ModelError, match=r"needs .* in float32 .* cpu has 0.0 GB free: would fit: --dtype bfloat16"):
        open_model(str(stored))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1)
    with pytest.raises(ModelError, match="take a smaller model"):
        open_model(str(stored))


def test_a_device_that_is_not_there_is_refused(stored) -> None:
    with pytest.raises(ModelError, match="found --device cuda:7; this machine has cpu"):
        open_model(str(stored), LoadOptions(device="cuda:7"))


def test_quantization_without_its_library_is_refused(stored, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="expected bitsandbytes or torchao to be installed"):
        open_model(str(stored), LoadOptions(quantization="4bit"))


def test_a_tower_that_the_row_does_not_hold_for_is_refused(tmp_path) -> None:
    save("llava", tmp_path / "model")
    edit(tmp_path / "model", vision_config={"model_type": "pixtral"})
    with pytest.raises(ModelError, match="with the vision tower pixtral; expected clip_vision_model"):
        open_model(str(tmp_path / "model"))


@pytest.mark.filterwarnings("ignore")
def test_eight_bits_stay_near_the_full_precision(stored) -> None:
    pytest.importorskip("torchao")
    logits = []
    for options in (LoadOptions(dtype="float32"), LoadOptions(dtype="float32", quantization="8bit")):
        model = open_model(str(stored), options)
        prefix = model.extend(Prefix(), context_parts(model.info, model.encode_image(PICTURE)))
        logits.append(model.logits(model.run_suffix(prefix, model.embed([5, 6])[None]).hidden).flatten())
    assert torch.nn.functional.cosine_similarity(*logits, dim=0) > 0.999


@pytest.mark.parametrize(("setting", "value"), [("dtype", "int3"), ("quantization", "2bit"), ("max_image_tokens", 0)])
def test_a_setting_without_meaning_is_refused(setting, value) -> None:
    with pytest.raises(InputError, match=setting):
        LoadOptions(**{setting: value})


@pytest.mark.parametrize("name", ["nonsense", "no/such/folder", "../x", "openai:", ""])
def test_a_name_that_cannot_be_a_model_is_refused(name) -> None:
    with pytest.raises(ModelError, match="is not known; expected nano, a hub id such as"):
        check_model(name)


def test_memory_of_a_published_size_is_near_what_its_users_measure() -> None:
    text = {"num_hidden_layers": 28, "num_key_value_heads": 4, "num_attention_heads": 28, "hidden_size": 3584}
    need = memory.need_of(8_292_166_656, text, "bfloat16")  # Qwen2.5-VL-7B
    assert memory.cache_entries(text) == 2 * 28 * 4 * 128
    assert 16.5e9 < need.weights < 16.7e9
    assert 18e9 < need.total < 19.5e9
