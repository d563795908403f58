"""How latents move: REINFORCE with antithetic pairs, the published single-sample form, or the exact gradient.

One interface: `candidates` draws what a step scores beside the mean, `update` moves the mean from the rewards. Beside
those that reason stand the controls that they have to beat: a random walk, the best of many random draws, and nothing.
Axes: M candidates, L latents, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from reason_iad.reasoning.scoring import Scored, SuffixScorer


@dataclass(frozen=True, eq=False)
class Policy:
    """A Gaussian around the latents."""

    mean: Tensor  # (L, D)
    sigma: float  # absolute standard deviation


Keeps = Literal["best", "last"]


class Optimizer(Protocol):
    """Moves the policy; the reasoner keeps the books."""

    @property
    def keeps(self) -> Keeps:
        """Which state counts in the end: the one of the highest reward, or wherever the mean has come to."""
        ...

    def candidates(self, policy: Policy, generator: torch.Generator) -> Tensor:
        """Latents to score beside the mean: (M, L, D), perhaps none."""
        ...

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """The next policy; `scored` holds the candidates first and the mean last."""
        ...


@dataclass(frozen=True)
class Reinforce:
    """Score-function gradient from antithetic pairs with a standardized advantage (method, section 3)."""

    num_candidates: int = 4
    learning_rate: float = 1.0
    decay: float = 0.95
    keeps: ClassVar[Keeps] = "best"

    def candidates(self, policy: Policy, generator: torch.Generator) -> Tensor:
        """Pairs mean + sigma e, mean - sigma e; where the number is odd, the last has no partner."""
        return antithetic(policy, self.num_candidates, generator)

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Step along the mean of advantage times noise."""
        rewards = scored.rewards[: candidates.shape[0]]
        noise = (candidates - policy.mean) / policy.sigma
        step = self.learning_rate * policy.sigma * reinforce_direction(noise, standardize(rewards))
        return Policy(policy.mean + step, policy.sigma * self.decay)


@dataclass(frozen=True)
class SingleSample:
    """The published form: one candidate, no baseline, the raw reward as its weight."""

    learning_rate: float = 1.0
    decay: float = 0.95
    keeps: ClassVar[Keeps] = "best"

    def candidates(self, policy: Policy, generator: torch.Generator) -> Tensor:
        """One noisy copy."""
        return policy.mean + policy.sigma * draw(policy.mean, 1, generator)

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Step along the noise, as far as the reward is high."""
        noise = (candidates - policy.mean) / policy.sigma
        step = self.learning_rate * policy.sigma * reinforce_direction(noise, scored.rewards[:1])
        return Policy(policy.mean + step, policy.sigma * self.decay)


@dataclass(frozen=True)
class ExactGradient:
    """Ascends the gradient of the mean's reward through the suffix; a step is as long as sigma."""

    learning_rate: float = 1.0
    decay: float = 0.95
    num_probes: int = 2  # neighbors whose answers the mean's is held against: an unstable answer costs here, too
    keeps: ClassVar[Keeps] = "best"

    def candidates(self, policy: Policy, generator: torch.Generator) -> Tensor:
        """A few neighbors of the mean."""
        return antithetic(policy, self.num_probes, generator)

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Step along the normalized gradient, of root mean square sigma."""
        gradient = exact_gradient(policy.mean, candidates - policy.mean, scorer, patches)
        rms = gradient.pow(2).mean().sqrt().clamp_min(1e-12)
        step = self.learning_rate * policy.sigma * gradient / rms
        return replace(policy, mean=policy.mean + step, sigma=policy.sigma * self.decay)


@dataclass(frozen=True)
class RandomWalk(Reinforce):
    """A control: steps as long as REINFORCE's would be, in a direction that no reward chose; where it ends counts."""

    keeps: ClassVar[Keeps] = "last"

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Step along the first candidate's noise; its reward has no say, only the length is REINFORCE's."""
        reasoned = super().update(policy, candidates, scored, scorer, patches)
        length, noise = (reasoned.mean - policy.mean).norm(), candidates[0] - policy.mean
        return replace(reasoned, mean=policy.mean + length * noise / noise.norm().clamp_min(1e-12))


@dataclass(frozen=True)
class BestOfMany(Reinforce):
    """A control: every step draws anew around the start, and the best of all draws counts."""

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Stay."""
        return policy


@dataclass(frozen=True)
class Still:
    """No latents, or none that move: details alone."""

    keeps: ClassVar[Keeps] = "best"

    def candidates(self, policy: Policy, generator: torch.Generator) -> Tensor:
        """None: (0, L, D)."""
        return policy.mean.new_zeros(0, *policy.mean.shape)

    def update(
        self, policy: Policy, candidates: Tensor, scored: Scored, scorer: SuffixScorer, patches: tuple[int, ...]
    ) -> Policy:
        """Stay."""
        return policy


def antithetic(policy: Policy, count: int, generator: torch.Generator) -> Tensor:
    """Candidates mean + sigma e and mean - sigma e around the mean, `count` in all: (count, L, D)."""
    noise = draw(policy.mean, -(-count // 2), generator)
    return policy.mean + policy.sigma * torch.cat([noise, -noise])[:count]


def draw(mean: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Standard normal noise (count, L, D), drawn on the CPU so that every device sees the same."""
    return torch.randn(count, *mean.shape, generator=generator).to(mean)


def standardize(rewards: Tensor, eps: float = 1e-6) -> Tensor:
    """Advantage of each candidate: (M,) with mean 0 and, unless all are equal, standard deviation 1."""
    return (rewards - rewards.mean()) / (rewards.std(unbiased=False) + eps)


def reinforce_direction(noise: Tensor, advantage: Tensor) -> Tensor:
    """Mean over candidates of advantage times noise: (M, L, D) and (M,) to (L, D)."""
    return (advantage[:, None, None] * noise).mean(0)


def exact_gradient(mean: Tensor, offsets: Tensor, scorer: SuffixScorer, patches: tuple[int, ...]) -> Tensor:
    """Gradient of the mean's reward, scored beside neighbors at `offsets` (M, L, D), through the suffix: (L, D)."""
    with torch.enable_grad():
        variable = mean.detach().clone().requires_grad_(True)
        rows = torch.cat([variable + offsets.detach(), variable[None]])
        reward = scorer.score(rows, patches).rewards[-1]
        (gradient,) = torch.autograd.grad(reward, variable)
    return gradient
