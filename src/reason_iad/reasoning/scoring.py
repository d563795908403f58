"""Scoring candidate thoughts: one pass over M suffixes after the shared prefix.

A suffix is latents, injected patches, ending; the ending may have a branch that asks for measured facts. Latents act as
the embeddings of their rows, or as what is added to those rows behind a layer.
Axes: M candidates, L latents, T tokens of the ending, P patches, R rows of the ending that are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture
from reason_iad.models.base import Nudge, OpenModel, Prefix
from reason_iad.reasoning.anchors import Anchor, beside
from reason_iad.reasoning.answers import AnswerReader, Ending
from reason_iad.reasoning.rewards import Reward, answer_entropy, truncated_entropy


@dataclass(frozen=True, eq=False)
class Scored:
    """What one pass says about M candidates."""

    log_probs: Tensor  # (M, C)
    latent_entropy: Tensor  # (M,)
    answer_entropy: Tensor  # (M,)
    rewards: Tensor  # (M,)
    attention: Tensor | None = None  # (M, L, P) of the latent rows to the inspected image; without latents of the cue
    agreement: Tensor | None = None  # (M,) with the measured facts; None where none were asked


def ask(model: OpenModel, context: Prefix, question: str, reader: AnswerReader) -> tuple[Prefix, Tensor]:
    """Process a question and read the plain answer in the same pass over the weights; see `ask_all`.

    Returns:
        the prefix that ends with the question, and log-probabilities of the plain model's options (C,).
    """
    return ask_all(model, context, [(question, reader)])[0]


def ask_all(
    model: OpenModel, context: Prefix, questions: Sequence[tuple[str, AnswerReader]]
) -> list[tuple[Prefix, Tensor]]:
    """Process questions about one context and read their plain answers in one pass over the weights.

    A short pass costs what it costs to read the weights once, so many in one take a part of the time of one after the
    other. They stand side by side in one row: each sees the context and itself, and none another.

    Args:
        model: what answers.
        context: what all questions are about.
        questions: text and reader of each.

    Returns:
        of each question the prefix that ends with it, and log-probabilities of the plain model's options (C,).

    Raises:
        ModelError: the prompt grows beyond the context length, or the model returns numbers that are not finite.
    """
    tokens: list[int] = []
    offsets, rows, spans = [], [], []
    for text, reader in questions:
        asked, ending = model.tokenize(text), reader.ending
        check_length(model, context, len(asked) + len(ending.token_ids))
        start, count = len(tokens), len(asked)
        spans.append((start, start + count, start + count + len(ending.token_ids)))
        tokens += [*asked, *ending.token_ids]
        offsets += [torch.arange(count), ending.offsets + count]
        rows.append(ending.rows + start + count)
    mask = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for (start, middle, stop), (_, reader) in zip(spans, questions, strict=True):
        mask[start:stop, start:stop] = torch.ones(stop - start, stop - start, dtype=torch.bool).tril()
        mask[middle:stop, middle:stop] = reader.ending.visible
    found = []
    with torch.no_grad():
        embeds = model.embed(tokens)[None]
        device = embeds.device
        output = model.run_suffix(context, embeds, torch.cat(offsets).to(device), mask.to(device), record=True)
        wanted = torch.unique(torch.cat([reader.tokens for _, reader in questions])).to(device)
        logits = model.logits(output.hidden[:, torch.cat(rows).to(device)], wanted)
        for part, (_, reader) in zip(torch.split(logits, [len(r) for r in rows], dim=1), questions, strict=True):
            found.append(reader.read(part)[0])
            _check_finite(model, found[-1])
    assert output.segment is not None
    kept = [output.segment.part(start, middle) for start, middle, _ in spans]
    return [
        (replace(context, segments=(*context.segments, one), next_position=context.next_position + one.length), said)
        for one, said in zip(kept, found, strict=True)
    ]


def check_length(model: OpenModel, context: Prefix, more: int) -> None:
    """Refuse a question of `more` tokens that does not fit behind its context.

    Raises:
        ModelError: it does not.
    """
    length = context.length + more
    if length > model.info.context_length:
        raise ModelError(
            f"the prompt has {length} tokens; {model.info.name} holds {model.info.context_length}: "
            "use fewer references, less knowledge (--knowledge none) or a shorter question"
        )


def _check_finite(model: OpenModel, *read: Tensor) -> None:
    """Look at what was read, not at all logits: a number that is not finite makes all that is read from it NaN."""
    if any(bool(values.isnan().any()) for values in read):
        raise ModelError(
            f"{model.info.name} returned numbers that are not finite; expected logits: "
            "load it in float32 or bfloat16, or fetch its weights again"
        )


class SuffixScorer:
    """Runs candidates after one prefix and reads their answers."""

    def __init__(
        self,
        model: OpenModel,
        prefix: Prefix,
        reader: AnswerReader,
        reward: Reward,
        anchor: Anchor | None = None,
        layer: int = 0,
    ) -> None:
        """Hold what all candidates share.

        Args:
            model: what answers.
            prefix: everything up to the thoughts.
            reader: how the answer is read.
            reward: says which thoughts are good.
            anchor: facts that are asked beside the answer; none where None.
            layer: behind how many layers latents are added to their rows; 0 gives the rows' embeddings.
        """
        self._model, self.prefix, self._reader, self._reward = model, prefix, reader, reward
        self._anchor, self._layer = anchor, layer
        self._plain = reader.ending
        cue = len(model.tokenize(model.info.template.cue))
        self._ending = self._plain if anchor is None else beside(self._plain, cue, anchor)
        self._tokens = model.embed(self._ending.token_ids)  # (T, D)
        self._wanted = reader.tokens if anchor is None else torch.unique(torch.cat([reader.tokens, anchor.tokens]))

    @property
    def num_patches(self) -> int:
        """Patches P of the inspected image; 0 where the prompt has none."""
        return self.visual_embeds.shape[0] if self.prefix.images else 0

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of patches of the inspected image."""
        return self.prefix.query_image.tokens.grid_hw

    @property
    def visual_embeds(self) -> Tensor:
        """The inspected image's embeddings as the language model reads them: (P, D)."""
        return self.prefix.query_image.tokens.embeds

    def box_xyxy(self, index: int) -> tuple[int, int, int, int]:
        """Pixels of the inspected image that patch `index` covers."""
        return self.prefix.query_image.tokens.box_xyxy(index)

    def base_answer(self) -> Tensor:
        """Log-probabilities of the plain model, without latents or patches: (C,)."""
        with torch.no_grad():
            embeds = self._model.embed(self._plain.token_ids)[None]
            hidden = self._run(embeds, 0, self._plain, None, None)
            log_probs = self._reader.read(self._model.logits(hidden, self._reader.tokens.to(hidden.device)))
            _check_finite(self._model, log_probs)
            return log_probs[0]

    def start(self, num_latents: int) -> Tensor:
        """Where the latents begin: the model's own, or, behind a layer, nothing added to them; (L, D)."""
        own = self._model.initial_latents(num_latents)
        return torch.zeros_like(own) if self._layer else own

    @property
    def unit(self) -> float:
        """What sigma is a share of: the size of the embeddings, or, behind a layer, of the rows themselves."""
        return 1.0 if self._layer else self._model.embedding_rms

    def nudge(self, latents: Tensor) -> Nudge | None:
        """Latents (M, L, D) as what is added behind a layer; None where they are embeddings."""
        return Nudge(self._layer, latents) if self._layer and latents.shape[1] else None

    def suffix(self, latents: Tensor, patches: Sequence[int], with_ending: bool = True) -> Tensor:
        """Embeddings of latents (M, L, D), patches and the ending: (M, S, D)."""
        count = latents.shape[0]
        rows = latents
        if self._layer:
            rows = self._model.initial_latents(latents.shape[1])[None].expand(count, -1, -1)
        parts = [rows]
        if patches:
            visual = self.visual_embeds[list(patches)].to(latents.dtype)
            parts.append(visual[None].expand(count, -1, -1))
        if with_ending:
            parts.append(self._tokens[None].expand(count, -1, -1))
        return torch.cat(parts, dim=1)

    def score(self, latents: Tensor, patches: Sequence[int] = (), attend: bool = False) -> Scored:
        """Score M candidates (M, L, D) that share the injected patches; differentiable in the latents.

        Raises:
            ModelError: the model returns numbers that are not finite, or all that would not fit its context.
        """
        count, capture = latents.shape[1], self._capture(latents.shape[1]) if attend else None
        hidden = self._run(self.suffix(latents, patches), count, self._ending, capture, self.nudge(latents))
        thoughts = self._model.logits(hidden[:, : count or 1])  # without latents, where the answer begins
        entropy = truncated_entropy(thoughts, self._reward.entropy_tokens).mean(-1)
        logits, read = self._model.logits(hidden[:, count:], self._wanted.to(hidden.device)), len(self._plain.rows)
        log_probs = self._reader.read(logits[:, :read])
        _check_finite(self._model, log_probs)
        agreement = None if self._anchor is None else self._anchor.agreement(logits[:, read:])
        _check_finite(self._model, entropy, *([] if agreement is None else [agreement]))
        return Scored(
            log_probs,
            entropy,
            answer_entropy(log_probs),
            self._reward(entropy, log_probs, agreement),
            capture.mean() if capture is not None else None,
            agreement,
        )

    def _capture(self, num_latents: int) -> AttentionCapture:
        """Reads what the latents look at; without latents, what the first token of the cue does."""
        image, info = self.prefix.query_image, self._model.info
        layers = middle_layers(info.num_layers, info.attention_layers)
        return AttentionCapture(layers, max(1, num_latents), image.start, image.stop, image.patches)

    def _run(
        self, embeds: Tensor, num_latents: int, ending: Ending, capture: AttentionCapture | None, nudge: Nudge | None
    ) -> Tensor:
        """One pass: hidden states (M, L + R, D) of the latent rows and of those of the ending that are read."""
        info = self._model.info
        ahead = embeds.shape[1] - len(ending.token_ids)
        if (length := self.prefix.length + embeds.shape[1]) > info.context_length:
            raise ModelError(
                f"prompt, latents and patches have {length} tokens; {info.name} holds {info.context_length}: "
                "use fewer references, less knowledge (--knowledge none) or no latents (--latents off)"
            )
        offsets = self._offsets(ahead, ending).to(embeds.device)
        mask = torch.ones(embeds.shape[1], embeds.shape[1], dtype=torch.bool).tril()
        mask[ahead:, ahead:] = ending.visible
        output = self._model.run_suffix(self.prefix, embeds, offsets, mask.to(embeds.device), capture, nudge=nudge)
        rows = torch.cat([torch.arange(num_latents), ending.rows.cpu() + ahead]).to(embeds.device)
        return output.hidden[:, rows]

    def _offsets(self, ahead: int, ending: Ending) -> Tensor:
        """Positions (S,) of latents, patches and ending from the prefix's next one: they count on."""
        return torch.cat([torch.arange(ahead), ending.offsets + ahead])


def middle_layers(num_layers: int, attending: Sequence[int] | None = None) -> frozenset[int]:
    """The middle third of the layers, where attention to the image carries meaning; of those that attend at all.

    >>> sorted(middle_layers(6)), sorted(middle_layers(8, [1, 3, 5, 7]))
    ([2, 3], [3])
    """
    layers = range(num_layers) if attending is None else attending
    third = max(1, len(layers) // 3)
    start = (len(layers) - third) // 2
    return frozenset(layers[start : start + third])
