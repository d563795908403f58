"""A decoder run from stored keys and values: the part that every open model shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture, Segment
from reason_iad.models.base import (
    WHITE_BOX,
    Capabilities,
    ImageLayout,
    ImageSpan,
    ImageTokens,
    ModelInfo,
    Nudge,
    Prefix,
    SuffixOutput,
)
from reason_iad.models.prefix_cache import PrefixCache

PREFILL_BLOCK = 192  # prompt tokens a pass: what the layers hold in between stays in the processor's cache


class Tokenizer(Protocol):
    """The two calls that are needed of a tokenizer."""

    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]:
        """Token ids of a text."""
        ...

    def decode(self, token_ids: list[int], skip_special_tokens: bool = ...) -> str:
        """Text of token ids."""
        ...


class DecoderLayers(Protocol):
    """What runs a decoder: torch or onnxruntime."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of the embeddings."""
        ...

    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries."""
        ...

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        ...

    def run(
        self,
        segments: tuple[Segment, ...],
        embeds: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        record: bool = False,
        capture: AttentionCapture | None = None,
        nudge: Nudge | None = None,
        **extra: Any,
    ) -> tuple[Tensor, Segment | None]:
        """Run M rows of tokens after a past that they share.

        Args:
            segments: keys and values of the past.
            embeds: (M, S, D).
            positions: (1 or M, S), or (3, 1, S) where images have positions of their own.
            mask: (S, S) bool, True where row may see column; None is causal.
            record: whether keys and values are returned, too (M = 1).
            capture: reads attention on the way.
            nudge: what is added to the first rows behind a layer.
            extra: `visual` (1, S) and `deeper`, what images add to tokens as they enter a layer, where they do, and
                `order`, how many tokens stand before each.

        Returns:
            hidden states (M, S, D), final norm applied, and keys and values where they were asked for.
        """
        ...

    def logits(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Vocabulary logits in float32, which entropies need: (..., D) to (..., V); see `OpenModel.logits`."""
        ...


class CachedDecoder:
    """Embeds prompts, keeps their keys and values, and runs suffixes after them.

    Implements the language half of `OpenModel` for any decoder that `DecoderLayers` runs. Text counts on in one
    dimension; images bring positions of their own where a family has them (M-RoPE), and text counts on behind them.
    The weights are frozen.
    """

    def __init__(
        self, layers: DecoderLayers, tokenizer: Tokenizer, info: ModelInfo, fingerprint: Callable[[], str]
    ) -> None:
        """Hold the parts; `fingerprint` is asked once, when the hash of the model's content is first needed."""
        self.layers = layers
        self.tokenizer = tokenizer
        self._info = info
        self._rms: float | None = None
        self.shared = PrefixCache(self.tokenize)
        self._fingerprint, self._known = fingerprint, None  # type: tuple[Callable[[], str], str | None]

    @property
    def capabilities(self) -> Capabilities:
        """All that the method can use."""
        return WHITE_BOX

    @property
    def fingerprint(self) -> str:
        """Hash of the content that the model was made from: 16 hexadecimal digits."""
        if self._known is None:
            self._known = self._fingerprint()
        return self._known

    @property
    def info(self) -> ModelInfo:
        """Facts of the model."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.layers.device

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the token embeddings' entries."""
        if self._rms is None:
            self._rms = self.layers.embedding_rms()
        return self._rms

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text that may hold special tokens; none are added."""
        token_ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return token_ids

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Input embeddings of tokens: (T, D)."""
        return self.layers.embed(token_ids)

    def initial_latents(self, num_latents: int) -> Tensor:
        """Embeddings of a short thought, repeated or cut to L: (L, D)."""
        thought = self.embed(self.tokenize("Let me look closely at the image and compare."))
        repeats = -(-num_latents // thought.shape[0])
        return thought.repeat(repeats, 1)[:num_latents].clone()

    def recall(self, parts: Sequence[str | ImageTokens]) -> Prefix:
        """Process the beginning of a prompt, or give it as it was processed before; see `PrefixCache`.

        Raises:
            ModelError: it is longer than the context.
        """
        return self.shared.recall(parts, lambda: self.extend(Prefix(), parts))

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
            rows = slice(begin, begin + size)
            past = (*prefix.segments, *blocks)
            order = torch.arange(begin, min(begin + size, count)) + prefix.length
            with torch.no_grad():
                _, block = self.layers.run(
                    past, embeds[:, rows], positions[..., rows], mask, record=True, order=order, **deep
                )
            assert block is not None
            blocks.append(block)
        return Prefix((*prefix.segments, _join(blocks)), prompt.next_position, tuple(prompt.images))

    def run_suffix(
        self,
        prefix: Prefix,
        embeds: Tensor,
        offsets: Tensor | None = None,
        mask: Tensor | None = None,
        capture: AttentionCapture | None = None,
        record: bool = False,
        nudge: Nudge | None = None,
    ) -> SuffixOutput:
        """Run M suffixes (M, S, D) after a shared prefix; see `OpenModel.run_suffix`."""
        if offsets is None:
            offsets = torch.arange(embeds.shape[1], device=embeds.device)
        positions = (offsets + prefix.next_position)[None].expand(embeds.shape[0], -1)
        embeds = embeds.to(self.layers.dtype)  # latents are optimized in float32, whatever the model computes in
        order = offsets + prefix.length
        hidden, segment = self.layers.run(prefix.segments, embeds, positions, mask, record, capture, nudge, order=order)
        return SuffixOutput(hidden, segment)

    def logits(self, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Vocabulary logits in float32, which entropies need: (..., D) to (..., V); see `OpenModel.logits`."""
        return self.layers.logits(hidden, wanted)

    @torch.no_grad()
    def generate(
        self,
        prefix: Prefix,
        suffix: Tensor,
        max_new_tokens: int,
        on_text: Callable[[str], None] | None = None,
        nudge: Nudge | None = None,
    ) -> str:
        """Continue greedily after a prefix and a suffix (S, D) from their stored keys and values."""
        stop = set(self.tokenize(self._info.template.end))
        tail: Segment | None = None
        token_ids: list[int] = []
        embeds = suffix[None]
        while len(token_ids) < max_new_tokens:
            segments = prefix.segments if tail is None else (*prefix.segments, tail)
            position = prefix.next_position + (0 if tail is None else tail.length)
            output = self.run_suffix(Prefix(segments, position, prefix.images), embeds, record=True, nudge=nudge)
            assert output.segment is not None
            nudge = None  # the suffix alone
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
        """What images add further up: which tokens of the pass are theirs, and by layer what is added to each."""
        deep = [(row, layout) for row, layout in self._layouts if layout.deeper]
        if not deep:
            return {}
        visual = torch.zeros(1, self.length - self._start, dtype=torch.bool, device=self.pieces[0].device)
        for row, layout in deep:
            visual[0, row : row + layout.embeds.shape[0]] = True
        layers = deep[0][1].deeper
        return {
            "visual": visual,
            "deeper": {layer: torch.cat([layout.deeper[layer] for _, layout in deep]) for layer in layers},
        }


def _join(segments: Sequence[Segment]) -> Segment:
    """One segment of several that follow each other."""
    if len(segments) == 1:
        return segments[0]
    return Segment(
        tuple(torch.cat(layer, dim=2) for layer in zip(*(s.keys for s in segments), strict=True)),
        tuple(torch.cat(layer, dim=2) for layer in zip(*(s.values for s in segments), strict=True)),
        segments[-1].layers,
        segments[-1].states,
    )
