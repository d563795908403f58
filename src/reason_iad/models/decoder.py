"""A transformers decoder run from stored keys and values: the part that every open model shares."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture, Recorder, Segment, register_attention
from reason_iad.models.base import (
    WHITE_BOX,
    Capabilities,
    ImageLayout,
    ImageSpan,
    ImageTokens,
    ModelInfo,
    Prefix,
    SuffixOutput,
)

PREFILL_BLOCK = 192  # prompt tokens a pass: what the layers hold in between stays in the processor's cache


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

    Implements the language half of `OpenModel` for any transformers decoder that dispatches its attention
    through transformers' interface. Text counts on in one dimension; images bring positions of their own where a
    family has them (M-RoPE), and text counts on behind them. The weights are frozen.
    """

    def __init__(
        self,
        text_model: nn.Module,
        lm_head: nn.Module,
        tokenizer: Tokenizer,
        info: ModelInfo,
        kept_dtype: torch.dtype | None = None,
        fingerprint: str | None = None,
    ) -> None:
        """Freeze the weights.

        Args:
            text_model: the decoder without its language head.
            lm_head: the language head.
            tokenizer: of the model.
            info: facts of the model.
            kept_dtype: type that keys and values are kept in; that of the pass where None.
            fingerprint: hash of the content of the files that the model was loaded from; of its weights where None.
        """
        text_model.config._attn_implementation = register_attention()  # type: ignore[union-attr]
        self.text_model = text_model.eval().requires_grad_(False)
        self.lm_head = lm_head.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._info = info
        self._kept_dtype = kept_dtype
        self._table: nn.Embedding = text_model.get_input_embeddings()  # type: ignore[operator]
        self._rms: float | None = None
        self._fingerprint = fingerprint

    @property
    def capabilities(self) -> Capabilities:
        """All that the method can use."""
        return WHITE_BOX

    @property
    def fingerprint(self) -> str:
        """Hash of the files that the model was loaded from, or of its weights: 16 hexadecimal digits."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for name, weight in sorted(self.text_model.state_dict().items()):
                digest.update(name.encode())
                digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

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
            scale = float(getattr(self._table, "scalar_embed_scale", 1.0))  # Gemma's table multiplies what it looks up
            weight = self._table.weight  # in parts: a copy of a large table takes gigabytes
            squares = sum(float(part.float().pow(2).sum()) for part in torch.split(weight, 8192))
            self._rms = scale * math.sqrt(squares / weight.numel())
        return self._rms

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text that may hold special tokens; none are added."""
        token_ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return token_ids

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        ids = torch.tensor(list(token_ids), dtype=torch.long, device=self.device)
        embeds: Tensor = self._table(ids)
        return embeds.detach()

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
        prompt = _Prompt(prefix)
        for part in parts:
            if isinstance(part, str):
                prompt.add_text(self.embed(self.tokenize(part)))
            else:
                prompt.add_image(part)
        if prompt.length > self._info.context_length:
            raise ModelError(
                f"the prompt has {prompt.length} tokens; {self._info.name} holds {self._info.context_length}: "
                "use fewer references, less knowledge (--knowledge none) or a shorter question"
            )
        blocks: list[Segment] = []
        embeds, positions, deep = torch.cat(prompt.pieces)[None], prompt.position_ids(), prompt.deep_inputs()
        mask, count = prompt.mask(), embeds.shape[1]
        whole = mask is not None or bool(deep) or self.device.type != "cpu"  # what crosses blocks needs one pass
        size = max(1, count) if whole else PREFILL_BLOCK
        for begin in range(0, max(1, count), size):
            rows, recorder = slice(begin, begin + size), Recorder(self._kept_dtype)
            past = replace(prefix, segments=(*prefix.segments, *blocks))
            order = torch.arange(begin, min(begin + size, count)) + prefix.length
            with torch.no_grad():
                self._forward(past, embeds[:, rows], positions[..., rows], mask, recorder, order=order, **deep)
            blocks.append(recorder.segment())
        return Prefix((*prefix.segments, _join(blocks)), prompt.next_position, tuple(prompt.images))

    def run_suffix(
        self,
        prefix: Prefix,
        embeds: Tensor,
        offsets: Tensor | None = None,
        mask: Tensor | None = None,
        capture: AttentionCapture | None = None,
        record: bool = False,
    ) -> SuffixOutput:
        """Run M suffixes (M, S, D) after a shared prefix; see `OpenModel.run_suffix`."""
        if offsets is None:
            offsets = torch.arange(embeds.shape[1], device=embeds.device)
        positions = (offsets + prefix.next_position)[None].expand(embeds.shape[0], -1)
        recorder = Recorder(self._kept_dtype) if record else None
        order = offsets + prefix.length
        embeds = embeds.to(self._table.weight.dtype)  # latents are optimized in float32, whatever the model computes in
        hidden = self._forward(prefix, embeds, positions, mask, recorder, capture=capture, order=order)
        return SuffixOutput(hidden, recorder.segment() if recorder else None)

    def _forward(
        self,
        prefix: Prefix,
        embeds: Tensor,
        position_ids: Tensor,
        mask: Tensor | None = None,
        recorder: Recorder | None = None,
        **extra: Any,
    ) -> Tensor:
        """Hidden states (M, S, D) of tokens after a prefix, final norm applied; `extra` reaches every layer."""
        extra.update(segments=prefix.segments, recorder=recorder)
        hidden: Tensor = self.text_model(
            inputs_embeds=embeds,
            position_ids=position_ids,
            attention_mask=None if mask is None else mask[None, None],
            use_cache=False,
            **extra,
        ).last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of chosen hidden rows in float32, which entropies need: (..., D) to (..., V)."""
        result: Tensor = self.lm_head(hidden).float()
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
            tail = output.segment if tail is None else _join([tail, output.segment])
            token = int(self.logits(output.hidden[0, -1]).argmax())
            if token in stop:
                break
            token_ids.append(token)
            embeds = self.embed([token])[None]
            if on_text is not None:
                on_text(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return self.tokenizer.decode(token_ids, skip_special_tokens=True).strip()


class _Prompt:
    """Texts and images laid out one after the other, with what each asks of positions, mask and layers."""

    def __init__(self, prefix: Prefix) -> None:
        self.pieces: list[Tensor] = []
        self.images = list(prefix.images)
        self.length, self.next_position = prefix.length, prefix.next_position
        self._start = prefix.length
        self._positions: list[Tensor] = []  # each (1 or 3, t)
        self._layouts: list[tuple[int, ImageLayout]] = []  # with the row of the pass where each begins

    def add_text(self, embeds: Tensor) -> None:
        """Append tokens (t, D) that count on."""
        self._append(embeds, None, embeds.shape[0])

    def add_image(self, image: ImageTokens) -> None:
        """Append an image, laid out as it asks."""
        layout, start = image.layout, self.length
        if layout is None:
            self.add_text(image.embeds)
        else:
            self._layouts.append((start - self._start, layout))
            advance = layout.embeds.shape[0] if layout.advance is None else layout.advance
            self._append(layout.embeds, layout.positions, advance)
        self.images.append(ImageSpan(start, self.length, image))

    def _append(self, embeds: Tensor, positions: Tensor | None, advance: int) -> None:
        if positions is None:
            positions = torch.arange(embeds.shape[0], device=embeds.device)[None]
        self._positions.append(positions.to(embeds.device) + self.next_position)
        self.pieces.append(embeds)
        self.length += embeds.shape[0]
        self.next_position += advance

    def position_ids(self) -> Tensor:
        """(1, S), or (3, 1, S) where an image runs in three dimensions."""
        axes = max(positions.shape[0] for positions in self._positions)
        joined = torch.cat([positions.expand(axes, -1) for positions in self._positions], dim=1)
        return joined if axes == 1 else joined[:, None]

    def mask(self) -> Tensor | None:
        """(S, S) bool where tokens of an image see each other; None is causal."""
        mutual = [(row, layout.mutual) for row, layout in self._layouts if layout.mutual is not None]
        if not mutual:
            return None
        size = self.length - self._start
        mask = torch.ones(size, size, dtype=torch.bool, device=self.pieces[0].device).tril()
        for row, tokens in mutual:
            rows = slice(row, row + tokens.shape[0])
            mask[rows, rows] |= (tokens[:, None] & tokens[None]).to(mask.device)
        return mask

    def deep_inputs(self) -> dict[str, Any]:
        """What images add behind the first layers, as transformers' decoders with deepstack take it."""
        deep = [(row, layout) for row, layout in self._layouts if layout.deep]
        if not deep:
            return {}
        seen = torch.zeros(1, self.length - self._start, dtype=torch.bool, device=self.pieces[0].device)
        for row, layout in deep:
            seen[0, row : row + layout.embeds.shape[0]] = True
        levels = zip(*(layout.deep for _, layout in deep), strict=True)
        return {"visual_pos_masks": seen, "deepstack_visual_embeds": [torch.cat(level) for level in levels]}


def _join(segments: Sequence[Segment]) -> Segment:
    """One segment of several that follow each other."""
    if len(segments) == 1:
        return segments[0]
    return Segment(
        tuple(torch.cat(layer, dim=2) for layer in zip(*(s.keys for s in segments), strict=True)),
        tuple(torch.cat(layer, dim=2) for layer in zip(*(s.values for s in segments), strict=True)),
    )
