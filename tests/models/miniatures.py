"""Miniature models of every family: the real classes, random weights, nothing downloaded.

For the contract tests, and for benchmarks that ask what a step costs and not what an answer is worth. Tokenizers are
the families' own classes over an alphabet of bytes, image processors the families' own classes at a small size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from reason_iad.errors import InputError
from reason_iad.models.families import FAMILIES
from reason_iad.models.transformers_mllm import TransformersMLLM

_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
_QWEN_TOKENS = (*_CHATML_TOKENS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_IDEFICS_TOKENS = (
    "<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Dimensions of a miniature's decoder; the vision tower stays tiny."""

    hidden_size: int = 32
    num_layers: int = 3
    num_heads: int = 4
    num_kv_heads: int = 2
    vocab_size: int = 0  # at least the tokenizer's; that where 0

    def text(self, tokens: int, **more: Any) -> dict[str, Any]:
        """Settings that all text configurations share."""
        return {
            "hidden_size": self.hidden_size, "intermediate_size": 2 * self.hidden_size,
            "num_hidden_layers": self.num_layers, "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads, "vocab_size": max(tokens, self.vocab_size),
            "max_position_embeddings": 8192, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **more,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Parts:
    """What a family's real code is built from."""

    config: Any
    tokenizer: Any
    image_processor: Any


def build_miniature(
    family: str, size: Size | None = None, seed: int = 0, max_image_tokens: int | None = None, gain: float = 6.0
) -> TransformersMLLM:
    """Build a randomly initialized miniature of a family, in float32 on the CPU.

    Args:
        family: a name of the table, such as "qwen2_5_vl".
        size: dimensions of the decoder.
        seed: of the weights.
        max_image_tokens: most visual tokens an image, where the family lets one choose.
        gain: factor on the initial weights; at 1 every prompt predicts the same token.

    Raises:
        InputError: no such family.
    """
    row = FAMILIES.get(family)
    if row is None:
        raise InputError(f"the family {family!r} is not known; expected one of {', '.join(FAMILIES)}")
    import transformers

    parts = _BUILDERS[family](size or Size())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, row.architecture)(parts.config).float()
        _spread(model, gain)
    return TransformersMLLM(
        model, parts.tokenizer, parts.image_processor, row, None, f"miniature {row.title}", "random", max_image_tokens
    )  # fmt: skip


def _spread(model: torch.nn.Module, gain: float) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(gain)
            if not parameter.data.any():  # a projection that training starts from zero
                parameter.data.normal_(std=0.1)


def _byte_level(tokens: tuple[str, ...], **special: Any) -> Any:
    """Qwen's tokenizer class over bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    alphabet = {character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocab=alphabet, merges=[], **special)
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    return tokenizer


def _pieces(first: tuple[str, ...]) -> dict[str, int]:
    """A sentencepiece vocabulary: special tokens, bytes, and the printable characters."""
    characters = ["▁", *(chr(code) for code in range(33, 127))]
    names = [*first, *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    return {name: number for number, name in enumerate(names)}


def _vision(**more: Any) -> dict[str, Any]:
    return {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, **more}


def _qwen(version: str) -> Callable[[Size], Parts]:
    def build(size: Size) -> Parts:
        import transformers
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        tokenizer = _byte_level(_QWEN_TOKENS)
        number = tokenizer.convert_tokens_to_ids
        half = size.hidden_size // size.num_heads // 2  # M-RoPE shares the frequencies among time, row and column
        rope = {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
        }
        text = size.text(len(tokenizer), rope_parameters=rope)
        ids = {
            "image_token_id": number("<|image_pad|>"), "video_token_id": number("<|video_pad|>"),
            "vision_start_token_id": number("<|vision_start|>"), "vision_end_token_id": number("<|vision_end|>"),
        }  # fmt: skip
        if version.startswith("Qwen3_5"):
            rope |= {"partial_rotary_factor": 1.0, "mrope_interleaved": True}
            layers = max(4, size.num_layers)
            text |= {
                "num_hidden_layers": layers, "head_dim": size.hidden_size // size.num_heads,
                "layer_types": ["linear_attention", "full_attention"] * (layers // 2),
                "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
                "linear_num_value_heads": 4,
            }  # fmt: skip
        patch = 4
        vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": patch}
        if version == "Qwen2VL":
            vision.update(embed_dim=16, hidden_size=size.hidden_size, mlp_ratio=2)
        else:
            vision.update(hidden_size=16, out_hidden_size=size.hidden_size, intermediate_size=32)
        if version == "Qwen2_5_VL":
            vision.update(window_size=4 * patch, fullatt_block_indexes=[1])
        if version.endswith("Moe"):
            text.update(moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2)
        if version.startswith("Qwen3_5"):
            vision.update(num_position_embeddings=64)
        if version == "Qwen3_5Moe":
            text.update(shared_expert_intermediate_size=16)
        if version.startswith("Qwen3VL"):
            text["head_dim"] = size.hidden_size // size.num_heads
            vision.update(num_position_embeddings=64, deepstack_visual_indexes=[0, 1])
        config = getattr(transformers, f"{version}Config")(text_config=text, vision_config=vision, **ids)
        processor = Qwen2VLImageProcessorPil(patch_size=patch, min_pixels=(2 * patch) ** 2 * 4)
        return Parts(config, tokenizer, processor)

    return build


def _glm46v(size: Size) -> Parts:
    from transformers import Glm46VConfig
    from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil

    marks = ("<|image|>", "<|begin_of_image|>", "<|end_of_image|>", "<|video|>", "<|begin_of_video|>",
             "<|end_of_video|>")  # fmt: skip
    tokenizer = _byte_level(("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", *marks))
    number, patch = tokenizer.convert_tokens_to_ids, 4
    half = size.hidden_size // size.num_heads // 2
    rope = {
        "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0,
        "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
    }  # fmt: skip
    vision = {
        "depth": 2, "num_heads": 2, "patch_size": patch, "hidden_size": 16, "intermediate_size": 32,
        "out_hidden_size": size.hidden_size, "image_size": 32,
    }  # fmt: skip
    names = ("image", "video")
    ids = {f"{name}_token_id": number(f"<|{name}|>") for name in names}
    ids |= {f"{name}_start_token_id": number(f"<|begin_of_{name}|>") for name in names}
    ids |= {f"{name}_end_token_id": number(f"<|end_of_{name}|>") for name in names}
    text = size.text(len(tokenizer), model_type="glm4v_text", rope_parameters=rope)
    config = Glm46VConfig(text_config=text, vision_config=vision, **ids)
    least = (2 * patch) ** 2 * 4
    processor = Glm46VImageProcessorPil(patch_size=patch, size={"shortest_edge": least, "longest_edge": 10**6})
    return Parts(config, tokenizer, processor)


def _llava(size: Size) -> Parts:
    from transformers import LlamaTokenizer, LlavaConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = LlamaTokenizer(vocab=_pieces(("<unk>", "<s>", "</s>")), merges=[])
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    side, patch = 24, 4
    config = LlavaConfig(
        vision_config=_vision(model_type="clip_vision_model", image_size=side, patch_size=patch, projection_dim=16),
        text_config=size.text(len(tokenizer), model_type="llama"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=(side // patch) ** 2,
    )  # fmt: skip
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return Parts(config, tokenizer, processor)


def _llava_onevision(size: Size) -> Parts:
    from transformers import LlavaOnevisionConfig
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    tokenizer = _byte_level((*_CHATML_TOKENS, "<image>", "<video>"))
    side, patch = 16, 4
    pinpoints = [[side * rows, side * columns] for rows in range(1, 4) for columns in range(1, 4)]
    config = LlavaOnevisionConfig(
        vision_config=_vision(
            model_type="siglip_vision_model", image_size=side, patch_size=patch, vision_use_head=False
        ),
        text_config=size.text(len(tokenizer), model_type="qwen2"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints, vision_aspect_ratio="anyres_max_4",
    )  # fmt: skip
    processor = LlavaOnevisionImageProcessorPil(size={"height": side, "width": side}, image_grid_pinpoints=pinpoints)
    return Parts(config, tokenizer, processor)


def _internvl(size: Size) -> Parts:
    from transformers import InternVLConfig
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
             "video_token": "<video>"}  # fmt: skip
    tokenizer = _byte_level(_CHATML_TOKENS, extra_special_tokens=named)
    side, patch = 16, 4
    config = InternVLConfig(
        vision_config=_vision(image_size=[side, side], patch_size=[patch, patch], hidden_act="gelu"),
        text_config=size.text(len(tokenizer), model_type="qwen2"),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"), image_seq_length=(side // patch // 2) ** 2,
    )  # fmt: skip
    processor = GotOcr2ImageProcessorPil(size={"height": side, "width": side}, max_patches=6)
    return Parts(config, tokenizer, processor)


def _idefics(version: str) -> Callable[[Size], Parts]:
    def build(size: Size) -> Parts:
        import transformers
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

        tokenizer = _byte_level(_IDEFICS_TOKENS)
        side, patch = 16, 4
        config = getattr(transformers, f"{version}Config")(
            vision_config=_vision(image_size=side, patch_size=patch),
            text_config=size.text(len(tokenizer), model_type="llama"),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2,
        )  # fmt: skip
        kind = Idefics3ImageProcessorPil if version == "Idefics3" else SmolVLMImageProcessorPil
        processor = kind(size={"longest_edge": 3 * side}, max_image_size={"longest_edge": side})
        return Parts(config, tokenizer, processor)

    return build


def _gemma3(size: Size) -> Parts:
    from transformers import Gemma3Config, GemmaTokenizer
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    first = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    more = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = GemmaTokenizer(vocab=_pieces(first), merges=[], extra_special_tokens=more)
    tokenizer.add_tokens(["<start_of_turn>", "<end_of_turn>"], special_tokens=True)
    number, side, patch = tokenizer.convert_tokens_to_ids, 32, 4
    text = size.text(
        len(tokenizer), head_dim=size.hidden_size // size.num_heads, sliding_window=24,
        query_pre_attn_scalar=size.hidden_size // size.num_heads,
        layer_types=["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(size.num_layers)],
    )  # fmt: skip
    config = Gemma3Config(
        vision_config=_vision(image_size=side, patch_size=patch, vision_use_head=False), text_config=text,
        mm_tokens_per_image=16, image_token_id=number("<image_soft_token>"),
        boi_token_id=number("<start_of_image>"), eoi_token_id=number("<end_of_image>"),
    )  # fmt: skip
    processor = Gemma3ImageProcessorPil(size={"height": side, "width": side})
    return Parts(config, tokenizer, processor)


def _gemma4(size: Size) -> Parts:
    from transformers import Gemma4Config, GemmaTokenizer
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    first = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    more = {"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>"}
    tokenizer = GemmaTokenizer(vocab=_pieces(first), merges=[], extra_special_tokens=more)
    tokenizer.add_tokens(["<|turn>", "<turn|>", "<|video|>", "<|audio|>"], special_tokens=True)
    number, width = tokenizer.convert_tokens_to_ids, size.hidden_size // size.num_heads
    text = size.text(
        len(tokenizer), head_dim=width, sliding_window=24, hidden_size_per_layer_input=0,
        final_logit_softcapping=30.0, use_bidirectional_attention="vision", vocab_size_per_layer_input=len(tokenizer),
        layer_types=["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(size.num_layers)],
    )  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "patch_size": 4, "pooling_kernel_size": 2,
    }  # fmt: skip
    config = Gemma4Config(
        vision_config=vision, text_config=text, audio_config=None, image_token_id=number("<|image|>"),
        video_token_id=number("<|video|>"), audio_token_id=number("<|audio|>"), boi_token_id=number("<|image>"),
        eoi_token_id=number("<image|>"),
    )  # fmt: skip
    processor = Gemma4ImageProcessorPil(patch_size=4, pooling_kernel_size=2, max_soft_tokens=140)
    return Parts(config, tokenizer, processor)


def _mistral3(size: Size) -> Parts:
    from transformers import Mistral3Config
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    marks = ("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
    ends = {"bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = _byte_level((*marks, *ends.values()), **ends)
    config = Mistral3Config(
        vision_config=_vision(model_type="pixtral", image_size=64, patch_size=4, head_dim=8),
        text_config=size.text(len(tokenizer), model_type="mistral", head_dim=size.hidden_size // size.num_heads),
        image_token_id=tokenizer.convert_tokens_to_ids("[IMG]"), spatial_merge_size=2,
    )  # fmt: skip
    processor = PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 4, "width": 4})
    return Parts(config, tokenizer, processor)


def _lfm2_vl(size: Size) -> Parts:
    from transformers import Lfm2VlConfig

    from reason_iad.models.pillow_processors import Lfm2VlImageProcessorPil

    marks = ("<|startoftext|>", "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>")
    tags = (f"<|img_row_{row}_col_{column}|>" for row in range(1, 7) for column in range(1, 7))
    tokenizer = _byte_level((*_CHATML_TOKENS, *marks, *tags), bos_token="<|startoftext|>")
    layers, patch = max(4, size.num_layers // 2 * 2), 4
    text = size.text(
        len(tokenizer), model_type="lfm2", num_hidden_layers=layers, block_auto_adjust_ff_dim=False,
        layer_types=["conv", "full_attention"] * (layers // 2),
    )  # fmt: skip
    config = Lfm2VlConfig(
        vision_config=_vision(
            model_type="siglip2_vision_model", patch_size=patch, num_patches=16, vision_use_head=False
        ),
        text_config=text, image_token_id=tokenizer.convert_tokens_to_ids("<image>"), projector_hidden_size=32,
    )  # fmt: skip
    processor = Lfm2VlImageProcessorPil(
        encoder_patch_size=patch, tile_size=16, min_image_tokens=4, max_image_tokens=16, max_tiles=6
    )
    return Parts(config, tokenizer, processor)


def _minicpm(size: Size) -> Parts:
    from transformers import MiniCPMV4_6Config
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil

    named = {
        "image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "image_start_token": "<image>",
        "image_end_token": "</image>", "slice_start_token": "<slice>", "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>",
    }  # fmt: skip
    tokenizer = _byte_level(_CHATML_TOKENS, extra_special_tokens=named)
    layers, patch, width = max(4, size.num_layers // 2 * 2), 4, size.hidden_size // size.num_heads
    text = size.text(
        len(tokenizer), model_type="qwen3_5_text", num_hidden_layers=layers, head_dim=width,
        layer_types=["linear_attention", "full_attention"] * (layers // 2), linear_key_head_dim=8,
        linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0,
                         "mrope_section": [2, 1, 1], "mrope_interleaved": True},
    )  # fmt: skip
    config = MiniCPMV4_6Config(
        vision_config=_vision(model_type="minicpmv4_6_vision", image_size=64, patch_size=patch),
        text_config=text, image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"), insert_layer_id=0, image_size=64,
    )  # fmt: skip
    processor = MiniCPMV4_6ImageProcessorPil(scale_resolution=32, patch_size=patch, max_slice_nums=6)
    return Parts(config, tokenizer, processor)


def _granite4_vision(size: Size) -> Parts:
    from transformers import Granite4VisionConfig
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    roles = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<image>")
    tokenizer = _byte_level(roles)
    side, patch = 32, 4
    pinpoints = [[side * rows, side * columns] for rows in range(1, 4) for columns in range(1, 4)]
    config = Granite4VisionConfig(
        vision_config={
            **_vision(model_type="siglip_vision_model", image_size=side, patch_size=patch, vision_use_head=False),
            "hidden_size": 64,  # its projectors take heads of 64
        },
        text_config=size.text(
            len(tokenizer), embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5,
            attention_multiplier=0.25,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_grid_pinpoints=pinpoints,
        vision_feature_select_strategy="full", downsample_rate="1/2", deepstack_layer_map=[[-2, 1], [-1, 0]],
        spatial_target_layers=[1, 2, 1, 2], projector_dropout=0.0,
    )  # fmt: skip
    config.qformer_config.intermediate_size = 64
    processor = LlavaNextImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=pinpoints,
        do_center_crop=False,
    )  # fmt: skip
    return Parts(config, tokenizer, processor)


_BUILDERS: Mapping[str, Callable[[Size], Parts]] = {
    "qwen2_vl": _qwen("Qwen2VL"),
    "qwen2_5_vl": _qwen("Qwen2_5_VL"),
    "qwen3_vl": _qwen("Qwen3VL"),
    "qwen3_vl_moe": _qwen("Qwen3VLMoe"),
    "qwen3_5": _qwen("Qwen3_5"),
    "qwen3_5_moe": _qwen("Qwen3_5Moe"),
    "glm46v": _glm46v,
    "internvl": _internvl,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
    "idefics3": _idefics("Idefics3"),
    "smolvlm": _idefics("SmolVLM"),
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "mistral3": _mistral3,
    "lfm2_vl": _lfm2_vl,
    "minicpmv4_6": _minicpm,
    "granite4_vision": _granite4_vision,
}
