"""The bundled language model's weights, with the adapter's low-rank updates merged, as each arithmetic needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from torch import Tensor

from reason_iad import weights
from reason_iad.errors import ModelError
from reason_iad.models.decoder import DecoderLayers, Tokenizer
from reason_iad.models.graph_cache import NoRoomError, open_graph, stored, tell
from reason_iad.models.llama import Llama, TiedHead
from reason_iad.models.llama_graph import write_llama
from reason_iad.models.onnx_layers import OnnxLayers
from reason_iad.models.sources import DECODER, PARTS, decoder_source, read_shape
from reason_iad.models.torch_layers import TorchLayers
from reason_iad.processor import Arithmetic

_WEIGHTS, _TABLE = "model.safetensors", "model.embed_tokens.weight"


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
        self._folder = weights.resolve(PARTS[DECODER])
        self.shape = read_shape(self._folder)
        self._stored = stored(self._folder / _WEIGHTS)
        with safe_open(self._folder / _WEIGHTS, framework="np") as opened:
            self._names = frozenset(opened.keys())
        check_updates(updates, self._names)

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

    def _in_onnxruntime(self) -> OnnxLayers:
        source = decoder_source(self._folder, self._adapter)
        session = open_graph(source, lambda folder: write_llama(folder, DECODER, self.shape, self.matrix))
        with safe_open(self._folder / _WEIGHTS, framework="pt") as opened:
            table = opened.get_tensor(_TABLE).float()
        return OnnxLayers(session, table, self.shape.num_layers, lambda: self.in_torch(Arithmetic("float32")))

    def in_torch(self, arithmetic: Arithmetic, device: str = "cpu") -> TorchLayers:
        """The decoder in torch: in float32, or with its matrices in bfloat16 where the arithmetic asks for them."""
        dtype = torch.bfloat16 if arithmetic.weights == "bfloat16" else torch.float32
        decoder = Llama.of(self.shape, lambda name: torch.from_numpy(self.matrix(name)), dtype).to(device)
        return TorchLayers(decoder, TiedHead(decoder.embed_tokens.weight))

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


def check_updates(updates: Iterable[str], names: Collection[str]) -> None:
    """Refuse updates of another model.

    Raises:
        ModelError: an update names a matrix that is not among the `names` of the language model's.
    """
    for name in updates:
        target = name.removesuffix(".lora_a")
        if name.endswith(".lora_a") and f"{target}.weight" not in names:
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
