"""Scoring candidate thoughts: one pass over M suffixes after the shared prefix.

A suffix is latents, injected patches, ending. Axes: M candidates, L latents, T tokens of the ending, P patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.models.attention import AttentionCapture
from reason_iad.models.base import OpenModel, Prefix
from reason_iad.reasoning.answers import AnswerReader
from reason_iad.reasoning.rewards import Reward, answer_entropy, truncated_entropy


@dataclass(frozen=True, eq=False)
class Scored:
    """What one pass says about M candidates."""

    log_probs: Tensor  # (M, C)
    latent_entropy: Tensor  # (M,)
    answer_entropy: Tensor  # (M,)
    rewards: Tensor  # (M,)
    attention: Tensor | None = None  # (M, L, P) of the latent rows to the inspected image


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

    def __init__(self, model: OpenModel, prefix: Prefix, reader: AnswerReader, reward: Reward) -> None:
        self._model, self._prefix, self._reader, self._reward = model, prefix, reader, reward
        self._ending = model.embed(reader.ending.token_ids)  # (T, D)

    @property
    def num_patches(self) -> int:
        """Patches P of the inspected image; 0 where the prompt has none."""
        return self.visual_embeds.shape[0] if self._prefix.images else 0

    @property
    def visual_embeds(self) -> Tensor:
        """The inspected image's embeddings as the language model reads them: (P, D)."""
        return self._prefix.query_image.tokens.embeds

    def box_xyxy(self, index: int) -> tuple[int, int, int, int]:
        """Pixels of the inspected image that patch `index` covers."""
        return self._prefix.query_image.tokens.box_xyxy(index)

    def base_answer(self) -> Tensor:
        """Log-probabilities of the plain model, without latents or patches: (C,)."""
        with torch.no_grad():
            return self._run(self._ending[None], 0, None)[0][0]

    def suffix(self, latents: Tensor, patches: Sequence[int], with_ending: bool = True) -> Tensor:
        """Embeddings of latents (M, L, D), patches and the ending: (M, S, D)."""
        parts = [latents]
        if patches:
            visual = self.visual_embeds[list(patches)].to(latents.dtype)
            parts.append(visual[None].expand(latents.shape[0], -1, -1))
        if with_ending:
            parts.append(self._ending[None].expand(latents.shape[0], -1, -1))
        return torch.cat(parts, dim=1)

    def score(self, latents: Tensor, patches: Sequence[int] = (), attend: bool = False) -> Scored:
        """Score M candidates (M, L, D) that share the injected patches; differentiable in the latents.

        Raises:
            ModelError: the model returns numbers that are not finite, or all that would not fit its context.
        """
        capture = None
        if attend:
            image = self._prefix.query_image
            info = self._model.info
            capture = AttentionCapture(
                middle_layers(info.num_layers, info.attention_layers),
                latents.shape[1],
                image.start,
                image.stop,
                image.patches,
            )
        log_probs, latent_logits = self._run(self.suffix(latents, patches), latents.shape[1], capture)
        thoughts = truncated_entropy(latent_logits, self._reward.entropy_tokens).mean(-1)
        _check_finite(self._model, thoughts)
        return Scored(
            log_probs,
            thoughts,
            answer_entropy(log_probs),
            self._reward(thoughts, log_probs),
            capture.mean() if capture is not None else None,
        )

    def _run(self, embeds: Tensor, num_latents: int, capture: AttentionCapture | None) -> tuple[Tensor, Tensor]:
        """One pass: log-probabilities (M, C) and logits of the latent rows (M, L, V)."""
        ending, info = self._reader.ending, self._model.info
        ahead = embeds.shape[1] - len(ending.token_ids)
        if (length := self._prefix.length + embeds.shape[1]) > info.context_length:
            raise ModelError(
                f"prompt, latents and patches have {length} tokens; {info.name} holds {info.context_length}: "
                "use fewer references, less knowledge (--knowledge none) or no latents (--latents off)"
            )
        offsets = self._offsets(ahead).to(embeds.device)
        mask = torch.ones(embeds.shape[1], embeds.shape[1], dtype=torch.bool).tril()
        mask[ahead:, ahead:] = ending.visible
        hidden = self._model.run_suffix(self._prefix, embeds, offsets, mask.to(embeds.device), capture).hidden
        rows = torch.cat([torch.arange(num_latents), ending.rows.cpu() + ahead]).to(embeds.device)
        logits = self._model.logits(hidden[:, rows])
        log_probs = self._reader.read(logits[:, num_latents:])
        _check_finite(self._model, log_probs)
        return log_probs, logits[:, :num_latents]

    def _offsets(self, ahead: int) -> Tensor:
        """Positions (S,) of latents, patches and ending from the prefix's next one: they count on."""
        return torch.cat([torch.arange(ahead), self._reader.ending.offsets + ahead])


def middle_layers(num_layers: int, attending: Sequence[int] | None = None) -> frozenset[int]:
    """The middle third of the layers, where attention to the image carries meaning; of those that attend at all.

    >>> sorted(middle_layers(6)), sorted(middle_layers(8, [1, 3, 5, 7]))
    ([2, 3], [3])
    """
    layers = range(num_layers) if attending is None else attending
    third = max(1, len(layers) // 3)
    start = (len(layers) - third) // 2
    return frozenset(layers[start : start + third])
