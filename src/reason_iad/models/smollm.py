"""The bundled language model's weights, with the adapter's low-rank updates merged, as each arithmetic needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reason_iad import weights
from reason_iad.errors import ModelError
from reason_iad.files import sha256_of_file
from reason_iad.models import llama_graph
from reason_iad.models.decoder import DecoderLayers, Tokenizer
from reason_iad.models.graph_cache import GraphSource, NoRoomError, open_graph, stored, tell, weights_digest
from reason_iad.models.int8 import quantize_linears
from reason_iad.models.llama import Llama
from reason_iad.models.llama_graph import LlamaShape, write_llama
from reason_iad.models.onnx_layers import OnnxLayers
from reason_iad.models.torch_layers import TorchLayers
from reason_iad.processor import Arithmetic

GRAPH = "language-model"  # name of its graph
CONTEXT = 2048  # tokens; the adapter saw no longer prompts
_PART, _WEIGHTS, _TABLE = "smollm2-135m", "model.safetensors", "model.embed_tokens.weight"


class SmolLM:
    """SmolLM2-135M with low-rank updates W + scale * B A, read when something is asked for.

    Args:
        adapter: folder of the updates.
        updates: the updates, `<matrix>.lora_a` and `<matrix>.lora_b`; other tensors are left alone.
        scale: of the updates.

    Raises:
        WeightsError: the weights cannot be fetched.
        ModelError: an update names a matrix that the language model lacks.
    """

    def __init__(self, adapter: Path, updates: Mapping[str, Tensor], scale: float) -> None:
        self._adapter, self._updates, self._scale = adapter, updates, scale
        self._folder = weights.resolve(_PART)
        config = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))
        self.shape = LlamaShape.from_config(config, min(int(config["max_position_embeddings"]), CONTEXT))
        self._stored = stored(self._folder / _WEIGHTS)
        check_updates(updates, self.shape)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, read without transformers."""
        return FileTokenizer(self._folder / "tokenizer.json")

    def layers(self, arithmetic: Arithmetic, device: str = "cpu") -> DecoderLayers:
        """The decoder in an arithmetic on a device; in torch, with a message, where the graph cannot be kept."""
        if arithmetic.weights == "onnxruntime":
            try:
                return self._in_onnxruntime()
            except NoRoomError as error:
                tell(f"{error}. Until then the language model runs in torch, slower")
        return self.in_torch(arithmetic, device)

    def source(self) -> GraphSource:
        """What the graph is made from."""
        adapter = sha256_of_file(self._adapter / "adapter.safetensors")
        return GraphSource(
            GRAPH, llama_graph.VERSION, (weights_digest(self._folder), adapter, f"{self._scale}", f"{self.shape}")
        )

    def _in_onnxruntime(self) -> OnnxLayers:
        session = open_graph(
            self.source(), lambda folder: write_llama(folder, GRAPH, self.shape, self.matrix), torch.get_num_threads()
        )
        table = torch.from_numpy(self._stored(_TABLE))
        return OnnxLayers(session, table, self.shape.num_layers, lambda: self.in_torch(Arithmetic("float32")))

    def in_torch(self, arithmetic: Arithmetic, device: str = "cpu") -> TorchLayers:
        """The decoder in torch: in float32, or with 8-bit products where the arithmetic asks for them."""
        with torch.device("meta"):
            names = Llama(self.shape).state_dict().keys()
        decoder = Llama.of(self.shape, {f"model.{n}": torch.from_numpy(self.matrix(f"model.{n}")) for n in names})
        head = nn.Linear(self.shape.hidden_size, self.shape.vocab_size, bias=False, device="meta")
        head.weight = decoder.embed_tokens.weight
        kept = torch.bfloat16 if arithmetic.keys == "bfloat16" else None
        if arithmetic.weights != "int8":
            return TorchLayers(decoder.to(device), head.to(device), kept)
        return TorchLayers(quantize_linears(decoder), quantize_linears(head), kept)

    def matrix(self, name: str) -> npt.NDArray[np.float32]:
        """A weight by name in float32, updated."""
        found = self._stored(name)
        target = name.removesuffix(".weight")
        down, up = self._updates.get(f"{target}.lora_a"), self._updates.get(f"{target}.lora_b")
        if down is None or up is None:
            return found
        return merge_low_rank(torch.from_numpy(found), down, up, self._scale).numpy()


def merge_low_rank(matrix: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W + scale * B A, from W (out, in), A (r, in) and B (out, r)."""
    return matrix.add(up.float() @ down.float(), alpha=scale)


def check_updates(updates: Mapping[str, Tensor], shape: LlamaShape) -> None:
    """Refuse updates of another model.

    Raises:
        ModelError: an update names a matrix that the language model lacks.
    """
    with torch.device("meta"):
        known = {f"model.{name}" for name, _ in Llama(shape).named_modules()}
    for name in updates:
        target = name.removesuffix(".lora_a")
        if name.endswith(".lora_a") and target not in known:
            raise ModelError(f"the adapter updates {target}, which the language model lacks; reinstall the package")


class FileTokenizer:
    """A `tokenizer.json`; implements `Tokenizer`."""

    def __init__(self, path: Path) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids of a text."""
        token_ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return token_ids

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of token ids."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens))
