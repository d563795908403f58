"""The controls that reasoning has to beat: each does what its name says, and no reward helps it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, step_generator
from reason_iad.reasoning.optimizers import (
    BestOfMany,
    Policy,
    RandomWalk,
    Reinforce,
    Still,
    reinforce_direction,
    standardize,
)
from reason_iad.reasoning.rewards import EntropyReward
from reason_iad.reasoning.scoring import SuffixScorer

EAGER = LatentOptions(sure_entropy=0.0, patience=99, num_steps=3, margin=0.0)


@pytest.fixture(scope="module")
def reader(tiny_nano):
    return ContentReader(tiny_nano, ("Yes.", "No, it is fine."))


def scored(model, prefix, reader, optimizer, seed=0):
    scorer = SuffixScorer(model, prefix, reader, EntropyReward())
    policy = Policy(model.initial_latents(4), 0.1)
    candidates = optimizer.candidates(policy, step_generator(seed, 0))
    with torch.no_grad():
        return scorer, policy, candidates, scorer.score(torch.cat([candidates, policy.mean[None]]))


def test_a_random_step_is_as_long_as_reinforces_and_asks_no_reward_for_its_direction(tiny_nano, prefix, reader):
    scorer, policy, candidates, found = scored(tiny_nano, prefix, reader, RandomWalk(4))
    moved = RandomWalk(4).update(policy, candidates, found, scorer, ())
    led = Reinforce(4).update(policy, candidates, found, scorer, ())
    assert float((moved.mean - policy.mean).norm()) == pytest.approx(float((led.mean - policy.mean).norm()), rel=1e-4)
    turned = dataclasses.replace(found, rewards=-found.rewards)  # the worst are now the best
    again = RandomWalk(4).update(policy, candidates, turned, scorer, ())
    torch.testing.assert_close(again.mean, moved.mean)
    noise = (candidates - policy.mean) / policy.sigma
    assert reinforce_direction(noise, standardize(turned.rewards[:4])).norm() > 0


def test_a_walk_ends_where_it_has_come_to_even_where_the_reward_is_lower(tiny_nano, prefix, reader):
    traces = [
        LatentReasoner(tiny_nano, dataclasses.replace(EAGER, mode="walk", sigma=1.0, seed=seed))
        .run(prefix, reader)
        .trace
        for seed in range(6)
    ]
    for trace in traces:
        assert trace.best_reward == pytest.approx(trace.steps[-1].mean_reward)
        assert trace.answer == pytest.approx(trace.steps[-1].answer)
        assert not trace.unstable
    assert min(t.best_reward - t.start_reward for t in traces) < 0  # kept nonetheless


def test_the_best_of_many_never_moves_and_draws_anew_in_every_step(tiny_nano, prefix, reader):
    scorer, policy, candidates, found = scored(tiny_nano, prefix, reader, BestOfMany(4))
    assert BestOfMany(4).update(policy, candidates, found, scorer, ()) is policy
    trace = LatentReasoner(tiny_nano, dataclasses.replace(EAGER, mode="sample")).run(prefix, reader).trace
    drawn = [step.rewards for step in trace.steps]
    assert len(set(drawn)) == len(drawn) == 3
    assert trace.best_reward >= max(max(one) for one in drawn) - 1e-6
    assert len({round(step.latent_entropy, 5) for step in trace.steps}) == 1  # the start, scored again


def test_without_latents_and_details_there_is_nothing_to_search(tiny_nano, prefix, reader):
    options = dataclasses.replace(LatentOptions.details_alone(), sure_entropy=0.0)
    result = LatentReasoner(tiny_nano, options).run(prefix, reader)
    assert result.trace.steps == ()
    assert result.trace.answer == pytest.approx(result.trace.base_answer, abs=1e-5)
    assert Still().candidates(Policy(torch.zeros(0, 5), 1.0), step_generator(0, 0)).shape == (0, 0, 5)
