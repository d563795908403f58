"""Rewards of candidate thoughts as pure functions: confident and stable answers are good.

Axes: M candidates, L latents, V vocabulary, C options, K top-k tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class RewardWeights:
    """How the terms are weighed; `paper` is the published form."""

    answer: float = 0.1  # w: share of the answer's entropy beside the latents'; 0.5 makes the model too sure of itself
    stability: float = 0.1  # lambda: price of disagreeing with the other candidates
    entropy_tokens: int = 10  # K of the truncated entropy

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

    def __call__(self, latent_entropy: Tensor, log_probs: Tensor) -> Tensor:
        """Rewards of M candidates from their latents' entropy (M,) and answers (M, C): (M,), differentiable."""
        ...


@dataclass(frozen=True)
class EntropyReward:
    """Confident and stable answers are good; see `reward`."""

    weights: RewardWeights = field(default_factory=RewardWeights)

    @property
    def entropy_tokens(self) -> int:
        """How many of the likeliest tokens the entropy of a latent row is taken over."""
        return self.weights.entropy_tokens

    def __call__(self, latent_entropy: Tensor, log_probs: Tensor) -> Tensor:
        """Rewards of M candidates that were scored together: (M,)."""
        return reward(latent_entropy, log_probs, self.weights)


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


def reward(latent_entropy: Tensor, log_probs: Tensor, weights: RewardWeights) -> Tensor:
    """Confidence minus disagreement of M candidates scored together (method, section 3).

    Args:
        latent_entropy: (M,) mean truncated entropy of the latent rows.
        log_probs: (M, C) answer distributions.
        weights: how the terms are weighed.

    Returns:
        (M,), at most 1; differentiable.
    """
    entropy = (1 - weights.answer) * latent_entropy + weights.answer * answer_entropy(log_probs)
    confidence = 1 - entropy
    if weights.stability == 0:
        return confidence
    return confidence - weights.stability * disagreement(log_probs)
