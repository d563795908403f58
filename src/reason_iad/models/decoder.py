"""A transformers decoder run from stored keys and values: the part that every open model shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture, Recorder, Segment, register_attention
from reason_iad.models.base import ImageSpan, ImageTokens, ModelInfo, Prefix, SuffixOutput


class Tokenizer(Protocol):
    """The two calls that are needed of a tokenizer."""

    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]:
        """Token ids of a text."""
        ...

    def decode(self, token_ids: list[int], skip_special_tokens: bool = ...) -> str:
        """Text of token ids."""
        ...


class CachedDecoder:
    """Embeds prompts, keeps their keys and values, and runs suffixes after them.

    Implements the language half of `MultimodalModel` for any transformers decoder with one-dimensional positions
    that dispatches its attention through transformers' interface. The weights are frozen.
    """

    def __init__(self, text_model: nn.Module, lm_head: nn.Module, tokenizer: Tokenizer, info: ModelInfo) -> None:
        text_model.config._attn_implementation = register_attention()  # type: ignore[union-attr]
        self.text_model = text_model.eval().requires_grad_(False)
        self.lm_head = lm_head.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._info = info
        self._table: nn.Embedding = text_model.get_input_embeddings()  # type: ignore[operator]
        self._rms: float | None = None

    @property
    def info(self) -> ModelInfo:
        """Facts of the model."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._table.weight.device

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries."""
        if self._rms is None:
            self._rms = float(self._table.weight.float().pow(2).mean().sqrt())
        return self._rms

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text that may hold special tokens; none are added."""
        token_ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return token_ids

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        ids = torch.tensor(list(token_ids), dtype=torch.long, device=self.device)
        return F.embedding(ids, self._table.weight).detach()

    def initial_latents(self, num_latents: int) -> Tensor:
        """Embeddings of a short thought, repeated or cut to L: (L, D)."""
        thought = self.embed(self.tokenize("Let me look closely at the image and compare."))
        repeats = -(-num_latents // thought.shape[0])
        return thought.repeat(repeats, 1)[:num_latents].clone()

    def extend(self, prefix: Prefix, parts: Sequence[str | ImageTokens]) -> Prefix:
        """Process texts and images after a prefix and keep their keys and values.

        Raises:
            ModelError: the prompt grows beyond the context length.
        """
        pieces: list[Tensor] = []
        images = list(prefix.images)
        length = prefix.length
        for part in parts:
            piece = self.embed(self.tokenize(part)) if isinstance(part, str) else part.embeds
            if not isinstance(part, str):
                images.append(ImageSpan(length, length + piece.shape[0], part))
            pieces.append(piece)
            length += piece.shape[0]
        if length > self._info.context_length:
            raise ModelError(
                f"the prompt has {length} tokens; {self._info.name} holds {self._info.context_length}: "
                "use fewer references, less knowledge (--knowledge none) or a shorter question"
            )
        with torch.no_grad():
            output = self.run_suffix(prefix, torch.cat(pieces)[None], record=True)
        assert output.segment is not None
        grown = length - prefix.length
        return Prefix((*prefix.segments, output.segment), prefix.next_position + grown, tuple(images))

    def run_suffix(
        self,
        prefix: Prefix,
        embeds: Tensor,
        offsets: Tensor | None = None,
        mask: Tensor | None = None,
        capture: AttentionCapture | None = None,
        record: bool = False,
    ) -> SuffixOutput:
        """Run M suffixes (M, S, D) after a shared prefix; see `MultimodalModel.run_suffix`."""
        if offsets is None:
            offsets = torch.arange(embeds.shape[1], device=embeds.device)
        positions = (offsets + prefix.next_position)[None].expand(embeds.shape[0], -1)
        recorder = Recorder() if record else None
        extra: dict[str, Any] = {"segments": prefix.segments, "recorder": recorder, "capture": capture}
        hidden = self.text_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=None if mask is None else mask[None, None],
            use_cache=False,
            **extra,
        ).last_hidden_state
        return SuffixOutput(hidden, recorder.segment() if recorder else None)

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of chosen hidden rows: (..., D) to (..., V)."""
        result: Tensor = self.lm_head(hidden)
        return result

    @torch.no_grad()
    def generate(
        self, prefix: Prefix, suffix: Tensor, max_new_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> str:
        """Continue greedily after a prefix and a suffix (S, D) from their stored keys and values."""
        stop = set(self.tokenize(self._info.template.end))
        tail: Segment | None = None
        token_ids: list[int] = []
        embeds = suffix[None]
        while len(token_ids) < max_new_tokens:
            segments = prefix.segments if tail is None else (*prefix.segments, tail)
            position = prefix.next_position + (0 if tail is None else tail.length)
            output = self.run_suffix(Prefix(segments, position, prefix.images), embeds, record=True)
            assert output.segment is not None
            tail = output.segment if tail is None else _join(tail, output.segment)
            token = int(self.logits(output.hidden[0, -1]).argmax())
            if token in stop:
                break
            token_ids.append(token)
            embeds = self.embed([token])[None]
            if on_text is not None:
                on_text(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return self.tokenizer.decode(token_ids, skip_special_tokens=True).strip()


def _join(first: Segment, second: Segment) -> Segment:
    """One segment of two that follow each other; only for the short generated tail, the prefix is never copied."""
    return Segment(
        tuple(torch.cat(pair, dim=2) for pair in zip(first.keys, second.keys, strict=True)),
        tuple(torch.cat(pair, dim=2) for pair in zip(first.values, second.values, strict=True)),
    )
