"""Published sizes of the families in the table: what each would need, without a network.

The configurations are those of the releases, cut to what decides size. `num_parameters` is counted on the model that
transformers builds from them without memory (the meta device); a test builds them all again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reason_iad.models.families import FAMILIES


@dataclass(frozen=True)
class PublishedModel:
    """One release."""

    hub_id: str
    family: str
    num_parameters: int
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    tied: bool = False  # whether the head shares the embedding table
    more: Mapping[str, Any] = field(default_factory=dict)  # of the whole model

    def config(self) -> Any:
        """Transformers' configuration with these dimensions; all else is the class's default."""
        import transformers

        kind = getattr(transformers, FAMILIES[self.family].architecture).config_class
        text = {**self.text, "tie_word_embeddings": self.tied}
        return kind(text_config=text, vision_config=dict(self.vision), tie_word_embeddings=self.tied, **self.more)


def _text(width: int, inner: int, layers: int, heads: int, groups: int, vocabulary: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": groups, "vocab_size": vocabulary, **more,
    }  # fmt: skip


def _vit(width: int, inner: int, layers: int, heads: int, side: int, patch: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "image_size": side, "patch_size": patch, **more,
    }  # fmt: skip


def _qwen2(size: str, vocabulary: int, **more: Any) -> dict[str, Any]:
    """The decoders of Qwen2 and Qwen2.5, which several families are built on."""
    width, inner, layers, heads, groups = {
        "0.5B": (896, 4864, 24, 14, 2), "1.5B": (1536, 8960, 28, 12, 2), "3B": (2048, 11008, 36, 16, 2),
        "7B": (3584, 18944, 28, 28, 4), "14B": (5120, 13824, 48, 40, 8), "32B": (5120, 27648, 64, 40, 8),
        "72B": (8192, 29568, 80, 64, 8),
    }[size]  # fmt: skip
    return _text(width, inner, layers, heads, groups, vocabulary, **more)


def _qwen2_vision(width: int) -> dict[str, Any]:
    return {"embed_dim": 1280, "depth": 32, "hidden_size": width}


def _qwen2_5_vision(width: int, inner: int) -> dict[str, Any]:
    return {"depth": 32, "hidden_size": 1280, "intermediate_size": inner, "out_hidden_size": width}


def _qwen3_vision(width: int, large: bool) -> dict[str, Any]:
    size = (27, 1152, 4304, [8, 16, 24]) if large else (24, 1024, 4096, [5, 11, 17])
    names = ("depth", "hidden_size", "intermediate_size", "deepstack_visual_indexes")
    fixed = {"num_heads": 16, "patch_size": 16, "num_position_embeddings": 2304}
    return {**dict(zip(names, size, strict=True)), **fixed, "out_hidden_size": width}


def _qwen3_5_vision(width: int) -> dict[str, Any]:
    fixed = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16}
    return {**fixed, "out_hidden_size": width}


_HEAD = {"head_dim": 128}
_ON_QWEN3 = {"model_type": "qwen3", **_HEAD}
_ON_QWEN, _ON_LLAMA = {"model_type": "qwen2"}, {"model_type": "llama"}
_CLIP = _vit(1024, 4096, 24, 16, 336, 14, model_type="clip_vision_model", projection_dim=768)
_SIGLIP = _vit(1152, 4304, 26, 16, 384, 14, model_type="siglip_vision_model", vision_use_head=False)
_SIGLIP_GEMMA = _vit(1152, 4304, 27, 16, 896, 14, vision_use_head=False)
_SIGLIP_SMALL = _vit(768, 3072, 12, 12, 512, 16)
_INTERN_300M = _vit(1024, 4096, 24, 16, 448, 14, attention_bias=True, use_qk_norm=False)
_INTERN_6B = _vit(3200, 12800, 45, 25, 448, 14, attention_bias=False, use_qk_norm=True, norm_type="rms_norm")
_GLM_VIT = {"depth": 24, "hidden_size": 1536, "out_hidden_size": 4096, "intermediate_size": 13696}
_GEMMA4_VIT = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
    "num_key_value_heads": 16, "head_dim": 72, "patch_size": 16, "pooling_kernel_size": 3,
}  # fmt: skip
_LFM2 = {
    "vocab_size": 65536,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14],
}
_LFM2_VL = {"projector_hidden_size": 2048, "projector_use_layernorm": False}


def _naflex(width: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    size = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {"model_type": "siglip2_vision_model", **size, "patch_size": 16, "vision_use_head": False}


_PIXTRAL = _vit(1024, 4096, 24, 16, 1540, 14, model_type="pixtral", head_dim=64)

_M = PublishedModel
PUBLISHED: tuple[PublishedModel, ...] = (
    _M("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl", 2_208_985_600, _qwen2("1.5B", 151936), _qwen2_vision(1536), True),
    _M("Qwen/Qwen2-VL-7B-Instruct", "qwen2_vl", 8_291_375_616, _qwen2("7B", 152064), _qwen2_vision(3584)),
    _M("Qwen/Qwen2-VL-72B-Instruct", "qwen2_vl", 73_405_560_320, _qwen2("72B", 152064), _qwen2_vision(8192)),
    _M("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl", 3_754_622_976, _qwen2("3B", 151936),
       _qwen2_5_vision(2048, 3420), True),
    _M("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl", 8_292_166_656, _qwen2("7B", 152064), _qwen2_5_vision(3584, 3420)),
    _M("Qwen/Qwen2.5-VL-32B-Instruct", "qwen2_5_vl", 33_452_718_336, _qwen2("32B", 152064),
       _qwen2_5_vision(5120, 3456)),
    _M("Qwen/Qwen2.5-VL-72B-Instruct", "qwen2_5_vl", 73_410_777_344, _qwen2("72B", 152064),
       _qwen2_5_vision(8192, 3456)),
    _M("Qwen/Qwen3-VL-2B-Instruct", "qwen3_vl", 2_127_532_032, _text(2048, 6144, 28, 16, 8, 151936, **_HEAD),
       _qwen3_vision(2048, False), True),
    _M("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", 4_437_815_808, _text(2560, 9728, 36, 32, 8, 151936, **_HEAD),
       _qwen3_vision(2560, False), True),
    _M("Qwen/Qwen3-VL-8B-Instruct", "qwen3_vl", 8_767_123_696, _text(4096, 12288, 36, 32, 8, 151936, **_HEAD),
       _qwen3_vision(4096, True)),
    _M("Qwen/Qwen3-VL-32B-Instruct", "qwen3_vl", 33_357_390_064, _text(5120, 25600, 64, 64, 8, 151936, **_HEAD),
       _qwen3_vision(5120, True)),
    _M("Qwen/Qwen3-VL-30B-A3B-Instruct", "qwen3_vl_moe", 31_070_754_032,
       _text(2048, 6144, 48, 32, 4, 151936, moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8, **_HEAD),
       _qwen3_vision(2048, True)),
    _M("Qwen/Qwen3.5-9B", "qwen3_5", 9_409_813_744,
       _text(4096, 12288, 32, 16, 4, 248320, head_dim=256, linear_num_value_heads=32), _qwen3_5_vision(4096)),
    _M("Qwen/Qwen3.5-27B", "qwen3_5", 27_356_728_560,
       _text(5120, 17408, 64, 24, 4, 248320, head_dim=256, linear_num_value_heads=48), _qwen3_5_vision(5120)),
    _M("Qwen/Qwen3.5-35B-A3B", "qwen3_5_moe", 35_107_181_936,
       {"hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16, "num_key_value_heads": 2,
        "vocab_size": 248320, "head_dim": 256, "moe_intermediate_size": 512, "num_experts": 256,
        "num_experts_per_tok": 8}, _qwen3_5_vision(2048)),
    _M("zai-org/GLM-4.6V-Flash", "glm46v", 10_292_777_472,
       _text(4096, 13696, 40, 32, 2, 151552, model_type="glm4v_text"), _GLM_VIT),
    _M("OpenGVLab/InternVL3-1B-hf", "internvl", 938_193_024, _qwen2("0.5B", 151674, **_ON_QWEN), _INTERN_300M),
    _M("OpenGVLab/InternVL3-2B-hf", "internvl", 2_088_957_440, _qwen2("1.5B", 151674, **_ON_QWEN), _INTERN_300M),
    _M("OpenGVLab/InternVL3-8B-hf", "internvl", 7_944_373_760, _qwen2("7B", 151674, **_ON_QWEN), _INTERN_300M),
    _M("OpenGVLab/InternVL3-14B-hf", "internvl", 15_117_256_704, _qwen2("14B", 151674, **_ON_QWEN), _INTERN_300M),
    _M("OpenGVLab/InternVL3-38B-hf", "internvl", 38_388_164_992, _qwen2("32B", 151674, **_ON_QWEN), _INTERN_6B),
    _M("OpenGVLab/InternVL3_5-1B-HF", "internvl", 1_060_897_792, _text(1024, 3072, 28, 16, 8, 151936, **_ON_QWEN3),
       _INTERN_300M),
    _M("OpenGVLab/InternVL3_5-2B-HF", "internvl", 2_348_347_392, _text(2048, 6144, 28, 16, 8, 151936, **_ON_QWEN3),
       _INTERN_300M),
    _M("OpenGVLab/InternVL3_5-4B-HF", "internvl", 4_732_489_216, _text(2560, 9728, 36, 32, 8, 151936, **_ON_QWEN3),
       _INTERN_300M),
    _M("OpenGVLab/InternVL3_5-8B-HF", "internvl", 8_528_318_464, _text(4096, 12288, 36, 32, 8, 151936, **_ON_QWEN3),
       _INTERN_300M),
    _M("OpenGVLab/InternVL3_5-14B-HF", "internvl", 15_119_523_840, _text(5120, 17408, 40, 40, 8, 151936, **_ON_QWEN3),
       _INTERN_300M),
    _M("OpenGVLab/InternVL3_5-38B-HF", "internvl", 38_390_405_504, _text(5120, 25600, 64, 64, 8, 151936, **_ON_QWEN3),
       _INTERN_6B),
    _M("llava-hf/llava-1.5-7b-hf", "llava", 7_063_427_072, _text(4096, 11008, 32, 32, 32, 32064, **_ON_LLAMA), _CLIP),
    _M("llava-hf/llava-1.5-13b-hf", "llava", 13_351_494_656, _text(5120, 13824, 40, 40, 40, 32064, **_ON_LLAMA), _CLIP),
    _M("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "llava_onevision", 893_675_552,
       _qwen2("0.5B", 152000, **_ON_QWEN), _SIGLIP, True),
    _M("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision", 8_030_807_584,
       _qwen2("7B", 152128, **_ON_QWEN), _SIGLIP),
    _M("HuggingFaceM4/Idefics3-8B-Llama3", "idefics3", 8_462_086_384,
       _text(4096, 14336, 32, 32, 8, 128259, **_ON_LLAMA), _vit(1152, 4304, 27, 16, 364, 14), more={"scale_factor": 2}),
    _M("HuggingFaceTB/SmolVLM-256M-Instruct", "idefics3", 256_484_928, _text(576, 1536, 30, 9, 3, 49280, **_ON_LLAMA),
       _SIGLIP_SMALL, more={"scale_factor": 4}),
    _M("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "smolvlm", 507_482_304,
       _text(960, 2560, 32, 15, 5, 49280, **_ON_LLAMA), _SIGLIP_SMALL, more={"scale_factor": 4}),
    _M("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm", 2_246_784_880,
       _text(2048, 8192, 24, 32, 32, 49280, **_ON_LLAMA), _vit(1152, 4304, 27, 16, 384, 14), more={"scale_factor": 3}),
    _M("google/gemma-3-4b-it", "gemma3", 4_300_079_472, _text(2560, 10240, 34, 8, 4, 262208, head_dim=256),
       _SIGLIP_GEMMA, True),
    _M("google/gemma-3-12b-it", "gemma3", 12_187_325_040, _text(3840, 15360, 48, 16, 8, 262208, head_dim=256),
       _SIGLIP_GEMMA, True),
    _M("google/gemma-3-27b-it", "gemma3", 27_432_406_640, _text(5376, 21504, 62, 32, 16, 262208, **_HEAD),
       _SIGLIP_GEMMA, True),
    _M("google/gemma-4-31B-it", "gemma4", 31_273_086_512,
       _text(5376, 21504, 60, 32, 16, 262144, head_dim=256, global_head_dim=512, num_global_key_value_heads=4,
             attention_k_eq_v=True, hidden_size_per_layer_input=0), _GEMMA4_VIT, True, {"audio_config": None}),
    _M("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral3", 24_011_361_280,
       _text(5120, 32768, 40, 32, 8, 131072, model_type="mistral", **_HEAD), _PIXTRAL, more={"spatial_merge_size": 2}),
    _M("LiquidAI/LFM2.5-VL-450M", "lfm2_vl", 448_718_848,
       {**_LFM2, "hidden_size": 1024, "intermediate_size": 6656, "num_attention_heads": 16},
       _naflex(768, 3072, 12, 12), True, _LFM2_VL),
    _M("LiquidAI/LFM2.5-VL-1.6B", "lfm2_vl", 1_596_625_904,
       {**_LFM2, "hidden_size": 2048, "intermediate_size": 12288, "num_attention_heads": 32},
       _naflex(1152, 4304, 27, 16), True, _LFM2_VL),
    _M("openbmb/MiniCPM-V-4_6", "minicpmv4_6", 1_300_428_016,
       _text(1024, 3584, 24, 8, 2, 248094, head_dim=256, linear_num_value_heads=16),
       _vit(1152, 4304, 27, 16, 980, 14), True),
    _M("ibm-granite/granite-vision-4.1-4b", "granite4_vision", 3_997_206_464, _text(2560, 8192, 40, 40, 8, 100353),
       _vit(1152, 4304, 27, 16, 384, 16, model_type="siglip_vision_model"), True,
       {"deepstack_layer_map": [[-19, 9], [-13, 6], [-7, 3], [-1, 0]], "downsample_rate": "4/8",
        "spatial_target_layers": [12, 15, 18, 21], "vision_feature_select_strategy": "full"}),
)  # fmt: skip
