"""Entropy-driven latent reasoning at test time: the loop that optimizes a few thought tokens for one question.

The prefix stands; a step runs only latents, patches and the answer's ending, for all candidates and the mean at once.
A detail that a step tries is read behind the question first. The best state ever scored is kept and decodes, so the
reward never ends below its start, and zero steps is the plain model.
Axes: M candidates, L latents, C options, P patches.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reason_iad.errors import InputError, ModelError
from reason_iad.evidence.looks import Look
from reason_iad.models.base import Nudge, OpenModel, Prefix
from reason_iad.reasoning.anchors import facts_of
from reason_iad.reasoning.answers import AnswerReader
from reason_iad.reasoning.details import Detail, DetailFinder, NoDetails, Views, make_detail, tried_detail
from reason_iad.reasoning.injection import Injector, NoInjection
from reason_iad.reasoning.latent_options import OPTIMIZERS, LatentOptions
from reason_iad.reasoning.optimizers import Optimizer, Policy
from reason_iad.reasoning.rewards import EntropyReward, Reward, answer_entropy
from reason_iad.reasoning.scoring import Scored, SuffixScorer
from reason_iad.reasoning.thought import Saliency, Scorers, ThoughtState, better
from reason_iad.types import InjectedPatch, LatentStep, LatentTrace


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known of the image besides the prompt.

    Attributes:
        neutral: gives the (L, P) attention of the latents under a neutral question, for what looks at the image;
            called only where the plain answer is not sure already. See `LatentReasoner.neutral_attention`.
        evidence: (P,) calibrated evidence of each patch, in [0, 1].
        views: what details are cut from; none are without.
        look: of the oddest place, as it was measured; an anchored reward asks for it.
    """

    neutral: Callable[[], Tensor] | None = None
    evidence: Tensor | None = None
    views: Views | None = None
    look: Look | None = None


@dataclass(frozen=True, eq=False)
class LatentResult:
    """The answer that counts, what decodes it, and how it came about."""

    probabilities: tuple[float, ...]  # (C,)
    prefix: Prefix  # with the details that were kept
    suffix: Tensor | None  # (S, D) latents and patches for free-form decoding; None where there are neither
    trace: LatentTrace
    nudge: Nudge | None = None  # what the latents are, where they act behind a layer


class LatentReasoner:
    """Optimizes latents for one prefix and reader: options in, result and trace out."""

    def __init__(
        self,
        model: OpenModel,
        options: LatentOptions,
        reward: Reward | None = None,
        optimizer: Optimizer | None = None,
        injector: Injector | None = None,
        details: DetailFinder | None = None,
    ) -> None:
        """Compose the roles.

        Args:
            model: what answers.
            options: how long and how widely to search.
            reward: says which thoughts are good; `EntropyReward` with the options' weights where None.
            optimizer: moves the latents; the one that the options' mode names where None.
            injector: proposes patches; none where None.
            details: proposes regions to read again; none where None.
        """
        self._model, self._options = model, options
        self._reward = reward or EntropyReward(options.weights)
        self._optimizer = optimizer or OPTIMIZERS[options.mode](options)
        self._injector, self._details = injector or NoInjection(), details or NoDetails()
        self._layer = options.layer(model.info.num_layers)

    def run(
        self, prefix: Prefix, reader: AnswerReader, known: Surroundings | None = None, base: Tensor | None = None
    ) -> LatentResult:
        """Think about one question.

        Args:
            prefix: everything up to the answer's place.
            reader: how the answer is read.
            known: of the image besides; nothing where None.
            base: the plain answer's log-probabilities (C,), where they are known already.
        """
        started, options, known = time.monotonic(), self._options, known or Surroundings()
        shows_good = known.views is not None and known.views.has_good and not isinstance(self._details, NoDetails)
        facts = facts_of(known.look)
        scorers = Scorers(self._model, prefix, reader, self._reward, self._layer, facts, shows_good)
        base = scorers.over(()).base_answer() if base is None else base
        sure = float(answer_entropy(base)) < options.sure_entropy
        if sure or options.num_steps == 0:
            return _plain(options, prefix, base, "sure" if sure else "off", started)
        attends = self._injector.needs_attention or self._details.needs_attention
        if attends and (known.neutral is None or not prefix.images):
            raise InputError("injection by attention needs an image and its attention under a neutral question")
        attention = known.neutral() if known.neutral is not None and attends else None
        saliency = Saliency(attention, known.evidence, options.evidence_beta)
        with torch.no_grad():
            loop = _Loop(options, self._optimizer, self._injector, self._details, scorers, saliency, known.views)
            return loop.run(base, started, attends)

    def neutral_attention(self, prefix: Prefix, reader: AnswerReader) -> Tensor:
        """Attention (L, P) of the initial latents under the question that `prefix` asks: the neutral one."""
        with torch.no_grad():
            scorer = SuffixScorer(self._model, prefix, reader, self._reward, layer=self._layer)
            scored = scorer.score(scorer.start(self._options.num_latents)[None], attend=True)
        assert scored.attention is not None
        return scored.attention[0]


class _Loop:
    """One run over one question, and its books."""

    def __init__(
        self,
        options: LatentOptions,
        optimizer: Optimizer,
        injector: Injector,
        details: DetailFinder,
        scorers: Scorers,
        saliency: Saliency,
        views: Views | None,
    ) -> None:
        self._options, self._optimizer, self._injector, self._details = options, optimizer, injector, details
        self._scorers, self._saliency, self._views = scorers, saliency, views
        self._steps: list[LatentStep] = []
        self._injected: dict[int, InjectedPatch] = {}
        self._tried: list[tuple[int, Detail]] = []  # with the step
        self._notes: list[str] = []

    def run(self, base: Tensor, started: float, attends: bool) -> LatentResult:
        """Search until nothing is gained, time is up or the steps are done."""
        options, optimizer = self._options, self._optimizer
        scorer = self._scorers.over(())
        policy = Policy(scorer.start(options.num_latents), options.sigma * scorer.unit)
        # The start is scored beside the first candidates, so that it pays for an unstable answer as they do.
        rows = torch.cat([optimizer.candidates(policy, step_generator(options.seed, 0)), policy.mean[None]])
        first = scorer.score(rows, attend=attends)
        last = best = start = ThoughtState(policy.mean, (), (), float(first.rewards[-1]), first.log_probs[-1])
        self._saliency.read(first)
        stale, stopped = 0, "steps"
        for number in range(options.num_steps):
            if options.time_budget is not None and time.monotonic() - started > options.time_budget:
                stopped = "time"
                break
            began, generator = time.monotonic(), step_generator(options.seed, number)
            candidates = optimizer.candidates(policy, generator)
            proposed = self._injector.propose(best.patches, self._saliency.values, scorer.num_patches, generator)
            detail = self._propose_detail(best, number)
            if not (len(candidates) or proposed or detail):
                break
            patches = (*best.patches, *proposed)
            details = best.details if detail is None else (*best.details, detail)
            scorer, rows = self._scorers.over(details), torch.cat([candidates, policy.mean[None]])
            known = number == 0 and not patches and not details  # the first pass scored just these
            scored = first if known else scorer.score(rows, patches, attends)
            before, best = best, better(best, rows, patches, details, scored)
            last = ThoughtState(rows[-1], patches, details, float(scored.rewards[-1]), scored.log_probs[-1])
            self._note_patches(best, number, scorer)
            policy = optimizer.update(policy, candidates, scored, scorer, patches)
            if best is not before:
                self._saliency.read(scored)
            stale = stale + 1 if best.reward - before.reward < options.min_gain else 0
            shown = None if detail is None else len(self._tried) - 1
            self._steps.append(_step(number, scored, best, proposed, shown, began))
            if stale >= options.patience:
                stopped = "patience"
                break
        walked = optimizer.keeps == "last"
        return self._finish(base, start, last if walked else best, walked, stopped, started)

    def _propose_detail(self, best: ThoughtState, number: int) -> Detail | None:
        """The next detail, read behind those that are kept; None where none is left or it does not fit."""
        if self._views is None or self._notes:
            return None
        boxes = [detail.box_xyxy for _, detail in self._tried]
        grid = self._saliency.grid(self._scorers.over(()).grid_hw)
        draw = np.random.default_rng([self._options.seed, number])
        found = self._details.propose(boxes, grid, self._views.image_hw, draw)
        if found is None:
            return None
        detail = make_detail(self._views, *found)
        try:
            self._scorers.over((*best.details, detail))
        except ModelError as error:
            self._notes.append(f"A detail was left out: {error}.")
            return None
        self._tried.append((number, detail))
        return detail

    def _note_patches(self, best: ThoughtState, step: int, scorer: SuffixScorer) -> None:
        for index in best.patches:
            if index not in self._injected:
                box = scorer.box_xyxy(index)
                self._injected[index] = InjectedPatch(index, box, step, self._saliency.at(index))

    def _finish(
        self, base: Tensor, start: ThoughtState, end: ThoughtState, walked: bool, stopped: str, started: float
    ) -> LatentResult:
        changed = int(end.log_probs.argmax()) != int(base.argmax())
        unstable = not walked and changed and end.reward - start.reward < self._options.margin
        kept = () if unstable else end.details
        answer = _distribution(base if unstable else end.log_probs)
        trace = LatentTrace(
            mode=self._options.mode,
            steps=tuple(self._steps),
            start_reward=start.reward,
            best_reward=end.reward,
            base_answer=_distribution(base),
            answer=answer,
            stopped=stopped,
            unstable=unstable,
            patches=() if unstable else tuple(self._injected[i] for i in end.patches if i in self._injected),
            milliseconds=_since(started),
            details=tuple(tried_detail(detail, step, detail in kept) for step, detail in self._tried),
            notes=tuple(self._notes),
        )
        scorer = self._scorers.over(kept)
        if unstable:
            return LatentResult(answer, scorer.prefix, None, trace)
        suffix = scorer.suffix(end.latents[None], end.patches, with_ending=False)[0]
        return LatentResult(answer, scorer.prefix, suffix, trace, scorer.nudge(end.latents[None]))


def _plain(options: LatentOptions, prefix: Prefix, base: Tensor, stopped: str, started: float) -> LatentResult:
    answer = _distribution(base)
    trace = LatentTrace(
        mode=options.mode, steps=(), start_reward=None, best_reward=None, base_answer=answer, answer=answer,
        stopped=stopped, unstable=False, milliseconds=_since(started),
    )  # fmt: skip
    return LatentResult(answer, prefix, None, trace)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Noise of one step: the same whatever ran before or beside it."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _step(
    number: int, scored: Scored, best: ThoughtState, proposed: tuple[int, ...], detail: int | None, began: float
) -> LatentStep:
    top = int(scored.rewards.argmax())
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
        detail=detail,
        agreement=None if scored.agreement is None else float(scored.agreement[top]),
    )


def _distribution(log_probs: Tensor) -> tuple[float, ...]:
    return tuple(float(p) for p in log_probs.exp())


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
