"""The fact table of open multimodal models: one row a family, read by the one adapter `TransformersMLLM`.

What a row cannot say is one small function (`layouts`, `limits`). A new family is a row here and a line in
`tests/models/test_families.py`; docs/models.md says how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reason_iad.images import Pixels
from reason_iad.models import layouts, limits, readouts
from reason_iad.models.base import ChatTemplate

CUE = "Answer:\n"  # a line end: option letters follow it without a space, in every tokenizer


@dataclass(frozen=True)
class Family:
    """What the adapter must know of a family; the names are transformers' own."""

    model_type: str  # of its configuration: how a model is recognized
    title: str
    architecture: str  # class of the model
    image_token: str  # stands in `input_ids` for each visual token
    marks: tuple[str, ...]  # texts around and between visual tokens, as `layout` reads them
    layout: layouts.Layout  # where each visual token lies on the image
    limit: limits.Limit  # bounds the visual tokens of an image
    template: ChatTemplate  # where the model brings no chat template of its own
    features: tuple[str, ...] = ("pixel_values",)  # outputs of the image processor that the vision tower reads
    options: Callable[[Any], Mapping[str, Any]] = lambda config: {}  # of the image processor's call
    positions: Literal["1-D", "M-RoPE"] = "1-D"
    mutual: bool = False  # whether the visual tokens of an image see each other, later ones too
    readout: readouts.Readout = readouts.pooled  # what of the vision tower's output enters the decoder, and where
    thinking: str | None = None  # variable of the chat template that turns thinking off
    default_tokens: int | None = 1280  # most visual tokens an image unless the user says otherwise; None is fixed
    prepare: Callable[[Pixels, Any, Any], Pixels] | None = None  # before the image processor
    text_model: str = "language_model"  # where the decoder lies in the base model
    towers: tuple[str, ...] = ()  # kinds of vision towers that the layout holds for; any where empty
    pillow: str | None = None  # class in `pillow_processors`, where transformers' own needs torchvision


def _chatml(end: str = "<|im_end|>", first: str = "") -> ChatTemplate:
    return ChatTemplate(
        before_system=f"{first}<|im_start|>system\n",
        before_user=f"{end}\n<|im_start|>user\n",
        before_answer=f"{end}\n<|im_start|>assistant\n",
        cue=CUE,
        end=end,
    )


_LLAVA = ChatTemplate("<s>", "\nUSER: ", " ASSISTANT: ", CUE, "</s>")
_IDEFICS = ChatTemplate(
    "<|im_start|>System: ", "<end_of_utterance>\nUser: ", "<end_of_utterance>\nAssistant:", CUE, "<end_of_utterance>"
)
_GEMMA = ChatTemplate(
    "<bos><start_of_turn>user\n", "\n\n", "<end_of_turn>\n<start_of_turn>model\n", CUE, "<end_of_turn>"
)
_GEMMA4 = ChatTemplate("<bos><|turn>system\n", "<turn|>\n<|turn>user\n", "<turn|>\n<|turn>model\n", CUE, "<turn|>")
_MISTRAL = ChatTemplate("<s>[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT][INST]", "[/INST]", CUE, "</s>")
_GLM = ChatTemplate("[gMASK]<sop><|system|>\n", "<|user|>\n", "<|assistant|>\n<think></think>\n", CUE, "<|user|>")
_GRANITE = ChatTemplate(
    "<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>",
    "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>", CUE, "<|end_of_text|>",
)  # fmt: skip
_VISION = ("<|vision_start|>", "<|vision_end|>")

_ROWS = (
    Family(
        "qwen2_vl", "Qwen2-VL", "Qwen2VLForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE",
    ),
    Family(
        "qwen2_5_vl", "Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE",
    ),
    Family(
        "qwen3_vl", "Qwen3-VL", "Qwen3VLForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE", readout=readouts.with_first_layers, thinking="enable_thinking",
    ),
    Family(
        "qwen3_vl_moe", "Qwen3-VL (experts)", "Qwen3VLMoeForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE", readout=readouts.with_first_layers, thinking="enable_thinking",
    ),
    Family(
        "qwen3_5", "Qwen3.5", "Qwen3_5ForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE", thinking="enable_thinking",
    ),
    Family(
        "qwen3_5_moe", "Qwen3.5 (experts)", "Qwen3_5MoeForConditionalGeneration", "<|image_pad|>", _VISION,
        layouts.merged_grid, limits.limit_area, _chatml(), ("pixel_values", "image_grid_thw"),
        positions="M-RoPE", thinking="enable_thinking",
    ),
    Family(
        "glm46v", "GLM-4.6V", "Glm46VForConditionalGeneration", "<|image|>", ("<|begin_of_image|>", "<|end_of_image|>"),
        layouts.merged_grid, limits.limit_area, _GLM, ("pixel_values", "image_grid_thw"),
        positions="M-RoPE", thinking="enable_thinking",
    ),
    Family(
        "internvl", "InternVL3, InternVL3.5", "InternVLForConditionalGeneration", "<IMG_CONTEXT>", ("<img>", "</img>"),
        layouts.tiles_and_thumbnail, limits.limit_tiles, _chatml(), options=lambda config: {"crop_to_patches": True},
        thinking="enable_thinking",
    ),
    Family(
        "llava", "LLaVA-1.5", "LlavaForConditionalGeneration", "<image>", (),
        layouts.letterboxed, limits.fixed, _LLAVA, prepare=layouts.letterbox, default_tokens=None,
        towers=("clip_vision_model",),
    ),
    Family(
        "llava_onevision", "LLaVA-OneVision", "LlavaOnevisionForConditionalGeneration", "<image>", (),
        layouts.anyres, limits.limit_pinpoints, _chatml(), ("pixel_values", "image_sizes"), default_tokens=3700,
    ),
    Family(
        "idefics3", "Idefics3", "Idefics3ForConditionalGeneration", "<image>",
        ("<fake_token_around_image>", "<global-img>"), layouts.tagged_tiles, limits.limit_splits, _IDEFICS,
        ("pixel_values", "pixel_attention_mask"), options=lambda config: {"return_row_col_info": True},
        text_model="text_model",
    ),
    Family(
        "smolvlm", "SmolVLM", "SmolVLMForConditionalGeneration", "<image>",
        ("<fake_token_around_image>", "<global-img>"), layouts.tagged_tiles, limits.limit_splits, _IDEFICS,
        ("pixel_values", "pixel_attention_mask"), options=lambda config: {"return_row_col_info": True},
        text_model="text_model",
    ),
    Family(
        "gemma3", "Gemma 3", "Gemma3ForConditionalGeneration", "<image_soft_token>",
        ("\n\n<start_of_image>", "<end_of_image>\n\n"), layouts.square, limits.fixed, _GEMMA, mutual=True,
        default_tokens=None,
    ),
    Family(
        "gemma4", "Gemma 4", "Gemma4ForConditionalGeneration", "<|image|>", ("<|image>", "<image|>"),
        layouts.pooled_grid, limits.limit_soft, _GEMMA4, ("pixel_values", "image_position_ids"), mutual=True,
        thinking="enable_thinking", default_tokens=1120,
    ),
    Family(
        "mistral3", "Mistral Small 3.1", "Mistral3ForConditionalGeneration", "[IMG]", ("[IMG_BREAK]", "[IMG_END]"),
        layouts.broken_rows, limits.limit_side, _MISTRAL, ("pixel_values", "image_sizes"),
        options=lambda config: {"patch_size": config.vision_config.patch_size * config.spatial_merge_size},
    ),
    Family(
        "lfm2_vl", "LFM2-VL", "Lfm2VlForConditionalGeneration", "<image>",
        ("<|image_start|>", "<|img_thumbnail|>", "<|image_end|>"), layouts.numbered_tiles,
        limits.limit_numbered_tiles, _chatml(first="<|startoftext|>"),
        ("pixel_values", "spatial_shapes", "pixel_attention_mask"),
        options=lambda config: {"return_row_col_info": True}, pillow="Lfm2VlImageProcessorPil",
    ),
    Family(
        "minicpmv4_6", "MiniCPM-V 4.6", "MiniCPMV4_6ForConditionalGeneration", "<|image_pad|>",
        ("<image>", "</image>", "<slice>", "</slice>"), layouts.whole_and_slices, limits.limit_slices, _chatml(),
        ("pixel_values", "target_sizes"), thinking="enable_thinking",
    ),
    Family(
        "granite4_vision", "Granite 4 Vision", "Granite4VisionForConditionalGeneration", "<image>", (),
        layouts.anyres, limits.limit_pinpoints, _GRANITE, ("pixel_values", "image_sizes"),
        readout=readouts.for_chosen_layers,
    ),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {row.model_type: row for row in _ROWS}
