"""Rewards of candidate thoughts as pure functions: sure and stable answers are good, that know what was measured.

    R = C - lambda J + mu G

C is confidence, J disagreement with the other candidates, G what a thought still knows of the measured facts
(`anchors.py`). Without mu the reward is the model's own confidence alone.
Axes: M candidates, L latents, V vocabulary, C options, K top-k tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

ANCHOR = 0.2  # mu where the reward is anchored


@dataclass(frozen=True)
class RewardWeights:
    """How the terms are weighed; `paper` is the published form."""

    answer: float = 0.1  # w: share of the answer's entropy beside the latents'; 0.5 makes the model too sure of itself
    stability: float = 0.1  # lambda: price of disagreeing with the other candidates
    entropy_tokens: int = 10  # K of the truncated entropy
    anchor: float = 0.0  # mu: worth of knowing the measured facts; 0 asks for none

    @classmethod
    def anchored(cls) -> RewardWeights:
        """Confidence that also has to know what was measured."""
        return cls(anchor=ANCHOR)

    @classmethod
    def paper(cls) -> RewardWeights:
        """The published reward: entropy of the latent rows alone."""
        return cls(answer=0.0, stability=0.0)


class Reward(Protocol):
    """Says how good candidate thoughts are that were scored together."""

    @property
    def entropy_tokens(self) -> int:
        """How many of the likeliest tokens the entropy of a latent row is taken over."""
        ...

    @property
    def asks_facts(self) -> bool:
        """Whether the measured facts are to be asked under every thought."""
        ...

    def __call__(self, latent_entropy: Tensor, log_probs: Tensor, agreement: Tensor | None = None) -> Tensor:
        """Rewards of M candidates: (M,), differentiable.

        Args:
            latent_entropy: (M,) mean truncated entropy of the latent rows.
            log_probs: (M, C) answers.
            agreement: (M,) with the measured facts; None where nothing was measured.
        """
        ...


@dataclass(frozen=True)
class EntropyReward:
    """Confident and stable answers are good, and with weight `anchor` those that know the facts; see `reward`."""

    weights: RewardWeights = field(default_factory=RewardWeights)

    @property
    def entropy_tokens(self) -> int:
        """How many of the likeliest tokens the entropy of a latent row is taken over."""
        return self.weights.entropy_tokens

    @property
    def asks_facts(self) -> bool:
        """Whether the measured facts are to be asked under every thought."""
        return self.weights.anchor > 0

    def __call__(self, latent_entropy: Tensor, log_probs: Tensor, agreement: Tensor | None = None) -> Tensor:
        """Rewards of M candidates that were scored together: (M,)."""
        return reward(latent_entropy, log_probs, self.weights, agreement)


REWARDS: Mapping[str, RewardWeights] = {"entropy": RewardWeights(), "anchored": RewardWeights.anchored()}


def truncated_entropy(logits: Tensor, num_tokens: int) -> Tensor:
    """Entropy over the k most likely tokens, renormalized, divided by log k: (..., V) to (...), in [0, 1].

    >>> bool(truncated_entropy(torch.zeros(1, 8), 4) > 0.999)
    True
    """
    k = min(num_tokens, logits.shape[-1])
    if k < 2:
        raise ValueError(f"num_tokens is {num_tokens} over {logits.shape[-1]} tokens; expected at least 2")
    log_p = torch.log_softmax(logits.float().topk(k, dim=-1).values, dim=-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(k)


def answer_entropy(log_probs: Tensor) -> Tensor:
    """Entropy of option distributions divided by log(#options): (..., C) log-probabilities to (...), in [0, 1]."""
    terms = log_probs.exp() * torch.where(log_probs.isinf(), torch.zeros_like(log_probs), log_probs)
    return -terms.sum(-1) / math.log(log_probs.shape[-1])


def disagreement(log_probs: Tensor) -> Tensor:
    """Jensen-Shannon divergence of each distribution to the mean one, divided by log 2: (M, C) to (M,), in [0, 1]."""
    p = log_probs.exp()
    q = p.mean(0, keepdim=True).expand_as(p)
    middle = (p + q) / 2

    def divergence(a: Tensor) -> Tensor:
        result: Tensor = (torch.special.xlogy(a, a) - torch.special.xlogy(a, middle)).sum(-1)
        return result

    result: Tensor = ((divergence(p) + divergence(q)) / 2 / math.log(2)).clamp(0, 1)
    return result


def reward(
    latent_entropy: Tensor, log_probs: Tensor, weights: RewardWeights, agreement: Tensor | None = None
) -> Tensor:
    """Confidence minus disagreement plus agreement with the facts, of M candidates scored together (method, section 3).

    Args:
        latent_entropy: (M,) mean truncated entropy of the latent rows.
        log_probs: (M, C) answer distributions.
        weights: how the terms are weighed.
        agreement: (M,) G, at most 0; None where nothing was measured, which leaves the term out.

    Returns:
        (M,), at most 1; differentiable.
    """
    entropy = (1 - weights.answer) * latent_entropy + weights.answer * answer_entropy(log_probs)
    found = 1 - entropy
    if weights.stability:
        found = found - weights.stability * disagreement(log_probs)
    if weights.anchor and agreement is not None:
        found = found + weights.anchor * agreement
    return found
