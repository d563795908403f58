"""Settings of the latent loop, and the optimizers that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reason_iad.errors import InputError
from reason_iad.reasoning.optimizers import (
    BestOfMany,
    ExactGradient,
    Optimizer,
    RandomWalk,
    Reinforce,
    SingleSample,
    Still,
)
from reason_iad.reasoning.rewards import RewardWeights

Mode = Literal["reinforce", "gradient", "paper", "walk", "sample", "still"]


@dataclass(frozen=True)
class LatentOptions:
    """Settings of the loop; see docs/reasoning.md for what each default rests on."""

    mode: Mode = "reinforce"
    num_latents: int = 4
    num_steps: int = 10
    num_candidates: int = 4
    sigma: float = 0.1  # relative to the root mean square of the token embeddings, or of the rows behind a layer
    learning_rate: float = 1.0
    decay: float = 0.95
    weights: RewardWeights = field(default_factory=RewardWeights)
    depth: float = 0.0  # share of the layers behind which latents act; 0 is at the embeddings
    sure_entropy: float = 0.35  # a plain answer below this needs no thought
    patience: int = 1  # steps in which the best reward grew by less than `min_gain`
    min_gain: float = 0.005
    margin: float = 0.01  # an answer may only change for at least this much reward
    time_budget: float | None = None  # seconds
    evidence_beta: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        least = 0 if self.mode == "still" else 1
        for name, low in (("num_latents", least), ("num_steps", 0), ("num_candidates", 1), ("patience", 1)):
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {low}")
        if self.sigma <= 0:
            raise InputError(f"sigma is {self.sigma}; expected a positive share of the embeddings' size")
        if not 0 <= self.depth < 1:
            raise InputError(f"depth is {self.depth}; expected a share of the layers, from 0 to below 1")

    @classmethod
    def paper(cls, num_steps: int = 10, seed: int = 0, time_budget: float | None = None) -> LatentOptions:
        """The published settings: one candidate, no baseline, latent entropy alone, no early stop."""
        return cls(
            mode="paper", num_steps=num_steps, num_candidates=1, weights=RewardWeights.paper(),
            sure_entropy=0.0, patience=10_000, margin=0.0, seed=seed, time_budget=time_budget,
        )  # fmt: skip

    @classmethod
    def details_alone(cls, num_steps: int = 10, seed: int = 0, time_budget: float | None = None) -> LatentOptions:
        """No latents: steps try details, and how sure the answer is stands for how sure the thought is."""
        return cls(
            mode="still", num_latents=0, num_steps=num_steps, num_candidates=1, seed=seed, time_budget=time_budget
        )

    def layer(self, num_layers: int) -> int:
        """Behind how many layers latents act; 0 is at the embeddings.

        >>> LatentOptions().layer(30), LatentOptions(depth=0.25).layer(30), LatentOptions(depth=0.1).layer(3)
        (0, 8, 1)
        """
        return min(num_layers - 1, max(1, round(self.depth * num_layers))) if self.depth else 0


OPTIMIZERS: Mapping[str, Callable[[LatentOptions], Optimizer]] = {
    "reinforce": lambda o: Reinforce(o.num_candidates, o.learning_rate, o.decay),
    "paper": lambda o: SingleSample(o.learning_rate, o.decay),
    "gradient": lambda o: ExactGradient(o.learning_rate, o.decay),
    "walk": lambda o: RandomWalk(o.num_candidates, o.learning_rate, o.decay),
    "sample": lambda o: BestOfMany(o.num_candidates),
    "still": lambda o: Still(),
}
