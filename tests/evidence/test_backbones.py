"""Other vision transformers by name: random miniatures of each family stand in for what a hub has."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from reason_iad.errors import EvidenceError
from reason_iad.evidence.backbones import load_backbone
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import EvidenceOptions, Stream, extract
from reason_iad.evidence.memory_bank import MemoryBank

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(autouse=True)
def _forget():
    load_backbone.cache_clear()


def miniature(family, folder):
    """Write a random model of a family into a folder, as a hub would hold it; returns its name."""
    import transformers as t

    with torch.random.fork_rng():
        torch.manual_seed(0)
        if family == "dinov2":
            config = t.Dinov2Config(**{k: v for k, v in SMALL.items() if k != "intermediate_size"}, image_size=56)
            t.Dinov2Model(config).save_pretrained(folder)
        elif family == "dinov2 with registers":
            sizes = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
            t.Dinov2WithRegistersModel(
                t.Dinov2WithRegistersConfig(**sizes, image_size=56, patch_size=14)
            ).save_pretrained(folder)
        elif family == "dinov3":
            t.DINOv3ViTModel(t.DINOv3ViTConfig(**SMALL, image_size=56, patch_size=14)).save_pretrained(folder)
        else:
            text = t.SiglipTextConfig(**SMALL, vocab_size=50)
            vision = t.SiglipVisionConfig(**SMALL, image_size=56, patch_size=14)
            t.SiglipModel(t.SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())).save_pretrained(
                folder
            )
    return str(folder)


def picture(seed=0, hw=(60, 90)):
    return np.random.default_rng(seed).integers(0, 255, (*hw, 3), dtype=np.uint8)


FAMILIES = ("dinov2", "dinov2 with registers", "dinov3", "siglip")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [56, 84])
def test_a_backbone_by_name_gives_the_patches_of_its_family_at_any_size(family, size, tmp_path):
    name = miniature(family, tmp_path)
    stream = Stream(name, 2, size)
    found = extract([picture(), picture(1)], None, EvidenceOptions(streams=(stream,)))[stream.source]
    assert found.shape == (2, size // 14, size // 14, 32)
    assert found.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_patch_tokens_lie_where_the_image_changes(family, tmp_path):
    backbone = load_backbone(miniature(family, tmp_path))
    plain = np.full((56, 56, 3), 90, dtype=np.uint8)
    changed = plain.copy()
    changed[42:, :14] = (250, 10, 10)  # the patch of the last row and first column
    before, after = (backbone.features([one], 56, [0])[0][0] for one in (plain, changed))
    moved = (after - before).norm(dim=-1)
    assert moved[3, 0] > 0
    moved[3, 0] = 0
    assert moved.max() < 1e-5


def test_colors_are_those_the_preprocessor_says(tmp_path):
    name = miniature("siglip", tmp_path)
    assert load_backbone(name).mean == (0.5, 0.5, 0.5)
    load_backbone.cache_clear()
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]})
    )
    assert load_backbone(name).mean == (0.1, 0.2, 0.3)


def test_images_are_compared_by_a_backbone_alone(tmp_path):
    options = EvidenceOptions(streams=(Stream(miniature("dinov2", tmp_path), -1, 84),), rotations="off")
    bank = MemoryBank.build([picture(3), picture(3), picture(4)], None, options)
    assert compare(picture(3), bank, None).anomaly_score < compare(picture(9), bank, None).anomaly_score


@pytest.mark.parametrize(
    ("name", "size", "level", "message"),
    [
        ("no-such/backbone-here", 56, 1, "cannot be loaded"),
        (None, 60, 1, "such as 56"),
        (None, 56, 9, "no hidden state 9; expected 0 to 3"),
    ],
)
def test_a_backbone_that_cannot_be_used_says_why(name, size, level, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # it was read from the environment before
    name = name or miniature("dinov2", tmp_path)
    with pytest.raises(EvidenceError, match=message):
        extract([picture()], None, EvidenceOptions(streams=(Stream(name, level, size),)))
