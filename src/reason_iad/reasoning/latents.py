"""Entropy-driven latent reasoning at test time: the loop that optimizes a few thought tokens for one question.

The prefix stands; a step runs only latents, patches and the answer's ending, for all candidates and the mean at once.
The best state ever scored is kept and decodes, so the reward never ends below its start, and zero steps is the plain
model. Axes: M candidates, L latents, C options, P patches.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from reason_iad.errors import InputError
from reason_iad.models.base import OpenModel, Prefix
from reason_iad.reasoning.answers import AnswerReader
from reason_iad.reasoning.injection import Injector, NoInjection, relative_saliency
from reason_iad.reasoning.optimizers import ExactGradient, Optimizer, Policy, Reinforce, SingleSample
from reason_iad.reasoning.rewards import EntropyReward, Reward, RewardWeights, answer_entropy
from reason_iad.reasoning.scoring import Scored, SuffixScorer
from reason_iad.types import InjectedPatch, LatentStep, LatentTrace

Mode = Literal["reinforce", "gradient", "paper"]


@dataclass(frozen=True)
class LatentOptions:
    """Settings of the loop; see docs/reasoning.md for what each default rests on."""

    mode: Mode = "reinforce"
    num_latents: int = 4
    num_steps: int = 10
    num_candidates: int = 4
    sigma: float = 0.1  # relative to the root mean square of the token embeddings
    learning_rate: float = 1.0
    decay: float = 0.95
    weights: RewardWeights = field(default_factory=RewardWeights)
    sure_entropy: float = 0.35  # a plain answer below this needs no thought
    patience: int = 1  # steps in which the best reward grew by less than `min_gain`
    min_gain: float = 0.005
    margin: float = 0.01  # an answer may only change for at least this much reward
    time_budget: float | None = None  # seconds
    evidence_beta: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        for name, low in (("num_latents", 1), ("num_steps", 0), ("num_candidates", 1), ("patience", 1)):
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {low}")
        if self.sigma <= 0:
            raise InputError(f"sigma is {self.sigma}; expected a positive share of the embeddings' size")

    @classmethod
    def paper(cls, num_steps: int = 10, seed: int = 0, time_budget: float | None = None) -> LatentOptions:
        """The published settings: one candidate, no baseline, latent entropy alone, no early stop."""
        return cls(
            mode="paper", num_steps=num_steps, num_candidates=1, weights=RewardWeights.paper(),
            sure_entropy=0.0, patience=10_000, margin=0.0, seed=seed, time_budget=time_budget,
        )  # fmt: skip


OPTIMIZERS: Mapping[str, Callable[[LatentOptions], Optimizer]] = {
    "reinforce": lambda o: Reinforce(o.num_candidates, o.learning_rate, o.decay),
    "paper": lambda o: SingleSample(o.learning_rate, o.decay),
    "gradient": lambda o: ExactGradient(o.learning_rate, o.decay),
}


@dataclass(frozen=True, eq=False)
class ThoughtState:
    """Latents and patches that were scored together."""

    latents: Tensor  # (L, D)
    patches: tuple[int, ...]
    reward: float
    log_probs: Tensor  # (C,)


@dataclass(frozen=True, eq=False)
class LatentResult:
    """The answer that counts, the suffix that decodes it, and how it came about."""

    probabilities: tuple[float, ...]  # (C,)
    suffix: Tensor | None  # (S, D) latents and patches for free-form decoding; None is the plain model
    trace: LatentTrace


class LatentReasoner:
    """Optimizes latents for one prefix and reader: options in, result and trace out."""

    def __init__(
        self,
        model: OpenModel,
        options: LatentOptions,
        reward: Reward | None = None,
        optimizer: Optimizer | None = None,
        injector: Injector | None = None,
    ) -> None:
        """Compose the roles.

        Args:
            model: what answers.
            options: how long and how widely to search.
            reward: says which thoughts are good; `EntropyReward` with the options' weights where None.
            optimizer: moves the latents; the one that the options' mode names where None.
            injector: proposes patches; none where None.
        """
        self._model, self._options = model, options
        self._reward = reward or EntropyReward(options.weights)
        self._optimizer = optimizer or OPTIMIZERS[options.mode](options)
        self._injector = injector or NoInjection()

    def run(
        self,
        prefix: Prefix,
        reader: AnswerReader,
        neutral: Callable[[], Tensor] | None = None,
        evidence: Tensor | None = None,
        base: Tensor | None = None,
    ) -> LatentResult:
        """Think about one question.

        Args:
            prefix: everything up to the answer's place.
            reader: how the answer is read.
            neutral: gives the (L, P) attention of the latents under a neutral question, for injection; called only
                where the plain answer is not sure already. See `neutral_attention`.
            evidence: (P,) calibrated evidence of each patch, in [0, 1].
            base: the plain answer's log-probabilities (C,), where they are known already.
        """
        started = time.monotonic()
        scorer = SuffixScorer(self._model, prefix, reader, self._reward)
        base = scorer.base_answer() if base is None else base
        sure = float(answer_entropy(base)) < self._options.sure_entropy
        if sure or self._options.num_steps == 0:
            return self._plain(base, "sure" if sure else "off", started)
        if self._injector.needs_attention and (neutral is None or not prefix.images):
            raise InputError("injection by attention needs an image and its attention under a neutral question")
        attention = neutral() if neutral is not None and self._injector.needs_attention else None
        with torch.no_grad():
            return self._optimize(scorer, base, _Saliency(attention, evidence, self._options.evidence_beta), started)

    def neutral_attention(self, prefix: Prefix, reader: AnswerReader) -> Tensor:
        """Attention (L, P) of the initial latents under the question that `prefix` asks: the neutral one."""
        with torch.no_grad():
            scorer = SuffixScorer(self._model, prefix, reader, self._reward)
            scored = scorer.score(self._model.initial_latents(self._options.num_latents)[None], attend=True)
        assert scored.attention is not None
        return scored.attention[0]

    def _plain(self, base: Tensor, stopped: str, started: float) -> LatentResult:
        answer = _distribution(base)
        trace = LatentTrace(
            mode=self._options.mode, steps=(), start_reward=None, best_reward=None, base_answer=answer, answer=answer,
            stopped=stopped, unstable=False, milliseconds=_since(started),
        )  # fmt: skip
        return LatentResult(answer, None, trace)

    def _optimize(self, scorer: SuffixScorer, base: Tensor, saliency: _Saliency, started: float) -> LatentResult:
        options, optimizer = self._options, self._optimizer
        policy = Policy(self._model.initial_latents(options.num_latents), options.sigma * self._model.embedding_rms)
        attend = self._injector.needs_attention
        # The start is scored beside the first candidates, so that it pays for an unstable answer as they do.
        rows = torch.cat([optimizer.candidates(policy, step_generator(options.seed, 0)), policy.mean[None]])
        first = scorer.score(rows, attend=attend)
        best = start = ThoughtState(policy.mean, (), float(first.rewards[-1]), first.log_probs[-1])
        saliency.read(first)
        steps: list[LatentStep] = []
        injected: dict[int, InjectedPatch] = {}
        stale, stopped = 0, "steps"
        for number in range(options.num_steps):
            if options.time_budget is not None and time.monotonic() - started > options.time_budget:
                stopped = "time"
                break
            began = time.monotonic()
            generator = step_generator(options.seed, number)
            candidates = optimizer.candidates(policy, generator)
            proposed = self._injector.propose(best.patches, saliency.values, scorer.num_patches, generator)
            patches = (*best.patches, *proposed)
            rows = torch.cat([candidates, policy.mean[None]])
            known = number == 0 and not patches  # the first pass scored just these
            scored = first if known else scorer.score(rows, patches, attend)
            before = best
            best = _better(best, rows, patches, scored)
            self._note_patches(injected, best, number, scorer, saliency)
            policy = optimizer.update(policy, candidates, scored, scorer, patches)
            if best is not before:
                saliency.read(scored)
            stale = stale + 1 if best.reward - before.reward < options.min_gain else 0
            steps.append(_step(number, scored, best, proposed, began))
            if stale >= options.patience:
                stopped = "patience"
                break
        return self._finish(scorer, base, start, best, steps, stopped, injected, started)

    def _note_patches(
        self,
        injected: dict[int, InjectedPatch],
        best: ThoughtState,
        step: int,
        scorer: SuffixScorer,
        saliency: _Saliency,
    ) -> None:
        for index in best.patches:
            if index not in injected:
                injected[index] = InjectedPatch(index, scorer.box_xyxy(index), step, saliency.at(index))

    def _finish(
        self,
        scorer: SuffixScorer,
        base: Tensor,
        start: ThoughtState,
        best: ThoughtState,
        steps: list[LatentStep],
        stopped: str,
        injected: dict[int, InjectedPatch],
        started: float,
    ) -> LatentResult:
        changed = int(best.log_probs.argmax()) != int(base.argmax())
        unstable = changed and best.reward - start.reward < self._options.margin
        answer = _distribution(base if unstable else best.log_probs)
        patches = () if unstable else tuple(injected[i] for i in best.patches)
        trace = LatentTrace(
            mode=self._options.mode,
            steps=tuple(steps),
            start_reward=start.reward,
            best_reward=best.reward,
            base_answer=_distribution(base),
            answer=answer,
            stopped=stopped,
            unstable=unstable,
            patches=patches,
            milliseconds=_since(started),
        )
        suffix = None if unstable else scorer.suffix(best.latents[None], best.patches, with_ending=False)[0]
        return LatentResult(answer, suffix, trace)


class _Saliency:
    """What the latents look at, relative to a neutral question."""

    def __init__(self, neutral: Tensor | None, evidence: Tensor | None, beta: float) -> None:
        self._neutral, self._evidence, self._beta = neutral, evidence, beta
        self.values: Tensor | None = None

    def read(self, scored: Scored) -> None:
        """Take the attention of the last row, the mean."""
        if scored.attention is not None and self._neutral is not None:
            self.values = relative_saliency(scored.attention[-1], self._neutral, self._evidence, self._beta)

    def at(self, index: int) -> float:
        """Saliency of a patch; 1 where none was read."""
        return 1.0 if self.values is None else float(self.values[index])


def step_generator(seed: int, step: int) -> torch.Generator:
    """Noise of one step: the same whatever ran before or beside it."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _better(best: ThoughtState, rows: Tensor, patches: tuple[int, ...], scored: Scored) -> ThoughtState:
    index = int(scored.rewards.argmax())
    value = float(scored.rewards[index])
    if value <= best.reward:
        return best
    return ThoughtState(rows[index], patches, value, scored.log_probs[index])


def _step(number: int, scored: Scored, best: ThoughtState, proposed: tuple[int, ...], began: float) -> LatentStep:
    return LatentStep(
        step=number,
        rewards=tuple(round(float(r), 6) for r in scored.rewards[:-1]),
        mean_reward=float(scored.rewards[-1]),
        best_reward=best.reward,
        answer=_distribution(scored.log_probs[-1]),
        answer_entropy=float(scored.answer_entropy[-1]),
        latent_entropy=float(scored.latent_entropy[-1]),
        proposed=proposed,
        kept=best.patches,
        milliseconds=_since(began),
    )


def _distribution(log_probs: Tensor) -> tuple[float, ...]:
    return tuple(float(p) for p in log_probs.exp())


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
