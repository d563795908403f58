"""Sentences to vectors: bge-small-en-v1.5 (int8 ONNX, 384 wide), or any sentence-transformers model by its name.

`REASON_IAD_ENCODER` names another model than the bundled one; any object of the protocol fits as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from reason_iad.errors import WeightsError

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

Vectors = npt.NDArray[np.float32]

MAX_TOKENS = 512
WIDTH = 384
VARIABLE = "REASON_IAD_ENCODER"
QUERY_PREFIX = "Represent this sentence for searching relevant passages: "


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors whose dot product is their similarity."""

    @property
    def name(self) -> str:
        """Identity of the encoder: another name means vectors that cannot be compared with these."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n passages: (n, d) float32 of unit length."""
        ...


def encode_query(encoder: Encoder, query: str) -> Vectors:
    """Encode a question: (d,). Encoders that treat questions differently offer `encode_query(text) -> (d,)`."""
    special = getattr(encoder, "encode_query", None)
    vector = special(query) if special is not None else encoder.encode([query])[0]
    return np.asarray(vector, np.float32)


class SentenceEncoder:
    """The bundled sentence encoder in onnxruntime: first token pooled, unit length."""

    name = "bge-small-en-v1.5-int8"

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: tokenizers.Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {node.name for node in session.get_inputs()}

    @classmethod
    def load(cls, folder: Path | None = None, threads: int = 1) -> SentenceEncoder:
        """Load from `folder` (model.onnx, tokenizer.json), by default from the bundled weights.

        Raises:
            WeightsError: the weights cannot be fetched or read.
        """
        import onnxruntime
        import tokenizers

        if folder is None:
            from reason_iad import weights

            folder = weights.resolve("bge-small-en")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # one sentence is 2 ms of work: more threads only contend
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare Exception subclasses of their own
            raise WeightsError(
                f"the sentence encoder in {folder} cannot be read ({error}); expected model.onnx and tokenizer.json: "
                "remove the folder, it is fetched again"
            ) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        return cls(session, tokenizer)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n passages of up to 512 tokens, the rest cut off: (n, 384) float32 of unit length."""
        # One at a time: the int8 weights scale activations per run, so in a batch a vector would depend on its
        # neighbors (cosine down to 0.990), and padding made batches of 16 take 2.8 times as long.
        vectors = [self._run(text) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, WIDTH), np.float32)

    def encode_query(self, query: str) -> Vectors:
        """Encode a question with the instruction that this encoder was trained with: (384,)."""
        return self._run(QUERY_PREFIX + query)

    def _run(self, text: str) -> Vectors:
        encoding = self._tokenizer.encode(text)
        feeds = {
            "input_ids": np.array([encoding.ids], np.int64),
            "attention_mask": np.array([encoding.attention_mask], np.int64),
            "token_type_ids": np.array([encoding.type_ids], np.int64),
        }
        hidden = self._session.run(None, {name: value for name, value in feeds.items() if name in self._inputs})[0]
        pooled: Vectors = np.asarray(hidden, np.float32)[0, 0]  # the first token's: (384,)
        unit: Vectors = pooled / max(float(np.linalg.norm(pooled)), 1e-12)
        return unit


class TransformersEncoder:
    """A sentence-transformers model by its name on the model hub, or by its folder; questions get its own prompt."""

    def __init__(self, name: str) -> None:
        """Load the model on the CPU; only safetensors weights, and no code from the model's folder.

        Raises:
            WeightsError: sentence-transformers is not installed, or the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise WeightsError(
                f"the encoder {name!r} needs sentence-transformers, which is not installed; install it with "
                "`pip install reason-iad[encoders]`, or leave the encoder out for the bundled one"
            ) from error
        from reason_iad.models.loading import quiet

        self.name = name
        try:
            with quiet():
                self._model: Any = SentenceTransformer(
                    name, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
                )
        except Exception as error:  # the library raises whatever its own dependencies raise
            raise WeightsError(
                f"the encoder {name!r} cannot be loaded ({' '.join(str(error).split())[:300]}); expected a "
                "sentence-transformers model with safetensors weights: check the name and the network"
            ) from error

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n passages: (n, d) float32 of unit length."""
        return self._unit(texts, None)

    def encode_query(self, query: str) -> Vectors:
        """Encode a question with the model's prompt for questions, where it has one: (d,)."""
        prompt = "query" if "query" in (getattr(self._model, "prompts", None) or {}) else None
        vector: Vectors = self._unit([query], prompt)[0]
        return vector

    def _unit(self, texts: Sequence[str], prompt: str | None) -> Vectors:
        vectors = self._model.encode(
            list(texts), prompt_name=prompt, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def encoder_name() -> str:
    """The name of the configured encoder, without loading it."""
    return os.environ.get(VARIABLE, "").strip() or SentenceEncoder.name


def configured_encoder() -> Encoder:
    """The encoder that `REASON_IAD_ENCODER` names, by default the bundled one.

    Raises:
        WeightsError: it cannot be loaded.
    """
    name = encoder_name()
    return SentenceEncoder.load() if name == SentenceEncoder.name else TransformersEncoder(name)
