"""The bundled model: its adapter, its grid, its evidence channel; and, with weights, its numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from reason_iad.errors import ModelError
from reason_iad.inspection.verdict import FUSIONS
from reason_iad.models.nano import (
    Projector,
    StreamWidths,
    evidence_cells,
    read_adapter,
)
from reason_iad.models.smollm import check_updates, merge_low_rank
from reason_iad.models.sources import default_adapter
from reason_iad.models.vision_cache import CachedVision
from reason_iad.training.nano_trainer import LowRank


def test_merging_the_low_rank_update_equals_running_it_beside():
    torch.manual_seed(0)
    base = nn.Linear(6, 5, bias=False)
    beside = LowRank(base, rank=2, scale=2.0)
    nn.init.normal_(beside.lora_b)
    x = torch.randn(3, 6)
    merged = merge_low_rank(base.weight, beside.lora_a.detach(), beside.lora_b.detach(), 2.0)
    torch.testing.assert_close(x @ merged.T, beside(x).detach())


def test_an_update_for_another_model_is_refused():
    names = {"model.layers.0.mlp.up_proj.weight"}
    check_updates(["model.layers.0.mlp.up_proj.lora_a", "latents"], names)
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj"):
        check_updates(["model.layers.1.mlp.up_proj.lora_a"], names)


def test_the_shipped_adapter_fits_the_projector_and_has_its_fusion():
    tensors, settings = read_adapter(default_adapter())
    projector = Projector(StreamWidths(), 576)
    shapes = {f"projector.{name}": p.shape for name, p in projector.named_parameters()}
    assert {n: t.shape for n, t in tensors.items() if n.startswith("projector.")} == shapes
    assert tensors["latents"].shape == (4, 576)
    assert sum(n.endswith(".lora_a") for n in tensors) == 30 * 7
    assert set(FUSIONS) == set(settings["fusion"])
    assert (default_adapter() / "adapter.safetensors").stat().st_size < 20_000_000


@pytest.mark.parametrize("damage", ["missing", "truncated", "no json"])
def test_a_damaged_adapter_is_explained(tmp_path, damage):
    source = default_adapter()
    (tmp_path / "adapter.json").write_text("{" if damage == "no json" else (source / "adapter.json").read_text())
    if damage != "missing":
        data = (source / "adapter.safetensors").read_bytes()
        (tmp_path / "adapter.safetensors").write_bytes(data[:1000] if damage == "truncated" else data)
    with pytest.raises(ModelError, match="cannot be read"):
        read_adapter(tmp_path)


def test_evidence_lands_in_the_cell_it_was_seen_in():
    for shape in ((56, 56), (20, 48), (7, 9)):
        seen = np.zeros(shape, dtype=np.float32)
        seen[int(shape[0] * 0.7), int(shape[1] * 0.2)] = 1.0
        cells = evidence_cells(seen)
        row, column = divmod(int(cells.argmax()), 16)
        assert abs(row / 16 - 0.7) < 0.13
        assert abs(column / 16 - 0.2) < 0.13
        assert cells.max() > 0.2


def test_without_references_the_evidence_channel_is_silent(tiny_nano, photo):
    plain = tiny_nano.encode_image(photo).embeds
    calm = tiny_nano.encode_image(photo, np.zeros((16, 16), dtype=np.float32)).embeds
    odd = np.zeros((16, 16), dtype=np.float32)
    odd[13, 3] = 1.0
    seen = tiny_nano.encode_image(photo, odd).embeds
    assert not torch.equal(plain, calm)  # "nothing odd" is not "nobody looked"
    changed = (seen - calm).abs().sum(1).nonzero()[:, 0].tolist()
    assert changed == [6 * 8 + 1]


def test_each_tower_runs_once_for_an_image(tiny_nano, photo):
    calls = []

    class Counting:
        def vit(self, images, size, layers):
            calls.append(("vit", len(images)))
            return tiny_nano.vision.vit(images, size, layers)

        def efficientnet(self, images, size):
            calls.append(("efficientnet", len(images)))
            return tiny_nano.vision.efficientnet(images, size)

    vision = CachedVision(Counting())
    first = vision.vit([photo], 224, (7,))[7]
    again = vision.vit([photo, photo], 224, (9, 7))[7]
    vision.efficientnet([photo], 256)
    vision.efficientnet([photo.copy()], 256)
    assert calls == [("vit", 1), ("efficientnet", 1)]
    torch.testing.assert_close(again[1], first[0])
    torch.testing.assert_close(first, tiny_nano.vision.vit([photo], 224, (7,))[7])


def test_kept_features_are_bounded_by_bytes_and_keep_no_batch_alive(photo):
    side, runs = 32, []

    class Towers:
        def efficientnet(self, images, size):
            runs.append(len(images))
            return {16: torch.stack([torch.full((side, side), float(image[0, 0, 0])) for image in images])}

    photos = [np.full_like(photo, number) for number in range(8)]
    vision = CachedVision(Towers(), max_bytes=3 * side * side * 4)
    batch = vision.efficientnet(photos, 256)[16]
    assert [int(features[0, 0]) for features in batch] == list(range(8))  # all are given, also where few are kept
    held = [features[16] for features in vision._found.values()]
    assert sum(one.untyped_storage().nbytes() for one in held) == vision.num_bytes == vision.max_bytes
    vision.efficientnet(photos[5:], 256)
    assert runs == [8]
    vision.efficientnet(photos[:1], 256)
    assert runs == [8, 1]
    assert vision.num_bytes == vision.max_bytes


@pytest.mark.weights
def test_the_real_model_gives_the_logits_of_the_whole_prompt(photo):
    from reason_iad import weights
    from reason_iad.models.base import Prefix
    from reason_iad.models.nano import NanoModel

    needed = ("vit-s14", "efficientnet-lite0", "smollm2-135m")
    if any(s.state != "cached" for s in weights.verify(needed, full=False)):
        pytest.skip("the bundled weights are not in the cache: run `reason-iad weights fetch`")
    model = NanoModel.load(exact=True)
    image = model.encode_image(photo)
    parts = ["<|im_start|>user\nImage:", image, "\nIs there a defect?<|im_end|>\n<|im_start|>assistant\n"]
    prefix = model.extend(model.extend(Prefix(), parts[:2]), parts[2:])
    suffix = model.initial_latents(4)[None]
    ours = model.logits(model.run_suffix(prefix, suffix).hidden)
    pieces = [model.embed(model.tokenize(p)) if isinstance(p, str) else p.embeds for p in parts]
    expected = whole_prompt(model, torch.cat([*pieces, suffix[0]])[None])[:, -4:]
    assert float((ours - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert json.loads((default_adapter() / "adapter.json").read_text())["version"] == model.info.version


def whole_prompt(model, embeds):
    """Logits of transformers' own model with the merged weights, its attention eager, nothing stored."""
    from transformers import AutoModelForCausalLM

    from reason_iad import weights
    from reason_iad.models.smollm import SmolLM

    tensors, settings = read_adapter(default_adapter())
    merged = SmolLM(default_adapter(), tensors, settings["lora_scale"])
    language_model = AutoModelForCausalLM.from_pretrained(
        weights.resolve("smollm2-135m"), dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in language_model.named_parameters():
            parameter.copy_(torch.from_numpy(merged.matrix(name)))
        return language_model(inputs_embeds=embeds, use_cache=False).logits


def test_what_model_evidence_and_recognition_read_of_the_vit_is_read_in_one_pass():
    from reason_iad.evidence.features import DEFAULT_STREAMS
    from reason_iad.models.nano import VIT_LAYERS
    from reason_iad.models.vision_cache import SHARED_LAYERS
    from reason_iad.recognition.prototypes import VIT_LAYER

    asked = {level for stream in DEFAULT_STREAMS if stream.tower == "vit" for level in stream.levels}
    assert asked | set(VIT_LAYERS) | {VIT_LAYER} <= set(SHARED_LAYERS)


@pytest.mark.weights
def test_the_tokenizer_is_that_of_transformers():
    from transformers import AutoTokenizer

    from reason_iad import weights
    from reason_iad.models.smollm import FileTokenizer

    if weights.verify(["smollm2-135m"], full=False)[0].state != "cached":
        pytest.skip("the bundled weights are not in the cache: run `reason-iad weights fetch`")
    folder = weights.resolve("smollm2-135m")
    ours, theirs = FileTokenizer(folder / "tokenizer.json"), AutoTokenizer.from_pretrained(folder)
    for text in ("<|im_start|>user\nIs the cap 1204 mm wide? <|im_end|>", " à la carte, 部品", "", "Answer: "):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text), skip_special_tokens=True)
