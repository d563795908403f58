"""Image tokens at the published geometry: sides, patches and tiles of the releases, in models of few and narrow layers.

The reference is the processor class's own formula for the number of tokens of an image of a size, which never sees one.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import transformers
from miniatures import build_miniature
from test_families import CASES, processor_of

from reason_iad.models.families import FAMILIES
from reason_iad.models.published import PUBLISHED
from reason_iad.models.transformers_mllm import TransformersMLLM

SIZES = ((768, 1024), (1080, 1920), (201, 77), (2048, 1531))
RELEASES = {  # image processor at a release's settings, and what the processor class is told
    "Qwen/Qwen2-VL-2B-Instruct": ("qwen2_vl.Qwen2VL", {}, {}),
    "Qwen/Qwen2.5-VL-3B-Instruct": ("qwen2_vl.Qwen2VL", {}, {}),
    "Qwen/Qwen3-VL-2B-Instruct": ("qwen2_vl.Qwen2VL", {"patch_size": 16}, {}),
    "OpenGVLab/InternVL3-1B-hf": (
        "got_ocr2.GotOcr2", {"size": {"height": 448, "width": 448}, "max_patches": 12}, {"image_seq_length": 256},
    ),
    "llava-hf/llava-1.5-7b-hf": (
        "clip.CLIP", {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}, {"patch_size": 14},
    ),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": (
        "llava_onevision.LlavaOnevision", {}, {"num_image_tokens": 729, "vision_aspect_ratio": "anyres_max_9"},
    ),
    "HuggingFaceM4/Idefics3-8B-Llama3": ("idefics3.Idefics3", {}, {"image_seq_len": 169}),
    "google/gemma-3-4b-it": ("gemma3.Gemma3", {"size": {"height": 896, "width": 896}}, {"image_seq_length": 256}),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": (
        "pixtral.Pixtral", {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}},
        {"patch_size": 14},
    ),
}  # fmt: skip


def narrow(config: Any, family: str) -> Any:
    """The release's geometry with few, narrow layers."""
    vision, text = config.vision_config, config.text_config
    text.hidden_size, text.intermediate_size, text.head_dim = 64, 64, 16
    text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads = 2, 4, 2
    text.pad_token_id, text.bos_token_id, text.eos_token_id = 0, 1, 2
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:2]
    if not hasattr(vision, "depth"):
        vision.hidden_size, vision.intermediate_size, vision.num_attention_heads = 32, 32, 2
        vision.num_hidden_layers = 2
        vision.head_dim = 16
        return config
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [4, 2, 2]}
    vision.depth, vision.num_heads = 1, 2
    if family == "qwen2_vl":
        vision.embed_dim, vision.hidden_size = 32, 64
    else:
        vision.hidden_size, vision.intermediate_size, vision.out_hidden_size = 32, 32, 64
        vision.fullatt_block_indexes, vision.deepstack_visual_indexes = [0], [0]
    return config


@pytest.mark.slow
@pytest.mark.parametrize("hub_id", RELEASES)
def test_an_image_takes_the_tokens_that_the_processors_formula_gives(hub_id, monkeypatch) -> None:
    published = next(one for one in PUBLISHED if one.hub_id == hub_id)
    kind, settings, told = RELEASES[hub_id]
    row, case = replace(FAMILIES[published.family], default_tokens=None), CASES[published.family]
    module, name = kind.split(".")
    source = importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    processor = getattr(source, f"{name}ImageProcessorPil")(**settings)
    config = narrow(published.config(), published.family)
    config.image_token_id = 5
    network = getattr(transformers, row.architecture)(config).float()
    model = TransformersMLLM(network, build_miniature(published.family).tokenizer, processor, row)
    monkeypatch.setitem(CASES, published.family, replace(case, settings={**(case.settings or {}), **told}))
    formula = processor_of(model)
    options = {"crop_to_patches": True} if published.family == "internvl" else {}
    marks = 2 if row.positions == "M-RoPE" else 6 if published.family == "gemma3" else 0  # of the chat template
    for size in SIZES:
        image = model.encode_image(np.full((*size, 3), 100, dtype=np.uint8))
        expected = formula._get_num_multimodal_tokens(image_sizes=[size], **options)["num_image_tokens"][0]
        assert image.layout.embeds.shape[0] == expected + marks
        assert image.embeds.shape[0] == image.grid_hw[0] * image.grid_hw[1]
