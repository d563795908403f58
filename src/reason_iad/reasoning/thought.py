"""What the loop holds: states that were scored together, what the latents look at, and scorers over details.

Axes: L latents, D width, C options, P patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reason_iad.errors import ModelError
from reason_iad.models.base import ImageTokens, OpenModel, Prefix
from reason_iad.reasoning.anchors import GOOD_PART, Fact, lay_out
from reason_iad.reasoning.answers import AnswerReader
from reason_iad.reasoning.details import MOST_TOKENS, Box, Detail, Grid, parts_of
from reason_iad.reasoning.injection import relative_saliency
from reason_iad.reasoning.rewards import Reward
from reason_iad.reasoning.scoring import Scored, SuffixScorer

SPARE = 32  # tokens that a detail leaves free for latents, patches and words


@dataclass(frozen=True, eq=False)
class ThoughtState:
    """Latents, patches and details that were scored together."""

    latents: Tensor  # (L, D)
    patches: tuple[int, ...]
    details: tuple[Detail, ...]
    reward: float
    log_probs: Tensor  # (C,)


def better(
    best: ThoughtState, rows: Tensor, patches: tuple[int, ...], details: tuple[Detail, ...], scored: Scored
) -> ThoughtState:
    """The best of a state and of those just scored; the older one where they are equal."""
    index = int(scored.rewards.argmax())
    value = float(scored.rewards[index])
    if value <= best.reward:
        return best
    return ThoughtState(rows[index], patches, details, value, scored.log_probs[index])


class Saliency:
    """What the latents look at relative to a neutral question, weighed by evidence; evidence alone without either."""

    def __init__(self, neutral: Tensor | None, evidence: Tensor | None, beta: float) -> None:
        self._neutral, self._evidence, self._beta = neutral, evidence, beta
        self.values: Tensor | None = None  # (P,)

    def read(self, scored: Scored) -> None:
        """Take the attention of the last row, the mean."""
        if scored.attention is not None and self._neutral is not None:
            self.values = relative_saliency(scored.attention[-1], self._neutral, self._evidence, self._beta)

    def at(self, index: int) -> float:
        """Saliency of a patch; 1 where none was read."""
        return 1.0 if self.values is None else float(self.values[index])

    def grid(self, grid_hw: tuple[int, int]) -> Grid | None:
        """On the grid of patches (rows, columns); None where none was read."""
        if self.values is None:
            return None
        found: Grid = self.values.float().cpu().numpy().reshape(grid_hw).astype(np.float32)
        return found


class Scorers:
    """Scorers over one question and any details behind it; what details were read is kept."""

    def __init__(
        self,
        model: OpenModel,
        prefix: Prefix,
        reader: AnswerReader,
        reward: Reward,
        layer: int = 0,
        facts: Sequence[Fact] = (),
        has_good: bool = False,
    ) -> None:
        """Begin without details.

        Args:
            model: what answers.
            prefix: everything up to the question's end.
            reader: how the answer is read.
            reward: says which thoughts are good.
            layer: where latents act; see `SuffixScorer`.
            facts: that were measured.
            has_good: whether details may bring good parts, of which a thought should know that they have no defect.
        """
        self._model, self._reader, self._reward, self._layer = model, reader, reward, layer
        self._facts, self._has_good = tuple(facts), has_good
        self._held: dict[tuple[Box, ...], SuffixScorer] = {(): self._scorer(prefix, False)}

    def over(self, details: tuple[Detail, ...]) -> SuffixScorer:
        """The scorer behind these details, of which all but the last were asked for before.

        Raises:
            ModelError: they do not fit the model's context.
        """
        key = tuple(detail.box_xyxy for detail in details)
        if key not in self._held:
            before = self.over(details[:-1])
            prefix = read_detail(self._model, before.prefix, details[-1])
            if prefix.length + len(self._reader.ending.token_ids) + SPARE > self._model.info.context_length:
                raise ModelError(
                    f"{len(details)} details make the prompt {prefix.length} tokens; {self._model.info.name} holds "
                    f"{self._model.info.context_length}: use fewer references or --details off"
                )
            self._held[key] = self._scorer(prefix, any(detail.good is not None for detail in details))
        return self._held[key]

    def _scorer(self, prefix: Prefix, shows_good: bool) -> SuffixScorer:
        anchor = None
        if self._reward.asks_facts:
            asked = (*self._facts, GOOD_PART) if shows_good else self._facts
            anchor = lay_out(self._model, asked, int(self._has_good and not shows_good))
        return SuffixScorer(self._model, prefix, self._reader, self._reward, anchor, self._layer)


def read_detail(model: OpenModel, prefix: Prefix, detail: Detail) -> Prefix:
    """The prompt with a detail behind it, as the model's own tower reads one; the inspected image stays the last.

    Raises:
        ModelError: it does not fit the model's context.
    """
    parts: list[str | ImageTokens] = [
        part if isinstance(part, str) else model.encode_image(part, most_tokens=MOST_TOKENS)
        for part in parts_of(detail)
    ]
    with torch.no_grad():
        return replace(model.extend(prefix, parts), images=prefix.images)
