"""Rewards against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from reason_iad.reasoning.rewards import RewardWeights, answer_entropy, disagreement, reward, truncated_entropy


def test_truncated_entropy_is_scipys_over_the_top_tokens():
    logits = torch.randn(3, 40, dtype=torch.float64)
    found = truncated_entropy(logits, 10)
    for row, value in zip(logits.numpy(), found.tolist(), strict=True):
        top = np.sort(np.exp(row))[-10:]
        assert value == pytest.approx(entropy(top / top.sum()) / math.log(10), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12), st.integers(2, 20))
def test_truncated_entropy_lies_between_zero_and_one(values, top_k):
    found = float(truncated_entropy(torch.tensor(values)[None], top_k))
    assert -1e-6 <= found <= 1 + 1e-6


def test_answer_entropy_is_scipys_divided_by_the_log_of_the_options():
    p = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    expected = [entropy(row) / math.log(3) for row in p.numpy()]
    assert answer_entropy(p.log()).tolist() == pytest.approx(expected, abs=1e-6)


def test_disagreement_is_scipys_jensen_shannon_divergence_to_the_mean():
    p = torch.softmax(torch.randn(4, 3), -1)
    mean = p.mean(0).numpy()
    expected = [jensenshannon(row, mean, base=2) ** 2 for row in p.numpy()]
    assert disagreement(p.log()).tolist() == pytest.approx(expected, abs=1e-6)


def test_candidates_that_agree_are_not_punished():
    p = torch.tensor([0.6, 0.4]).log().expand(4, 2)
    assert float(disagreement(p).abs().max()) < 1e-6


def test_the_published_reward_is_the_latent_confidence_alone():
    latent = torch.tensor([0.2, 0.9])
    log_probs = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    torch.testing.assert_close(reward(latent, log_probs, RewardWeights.paper()), 1 - latent)


def test_a_surer_answer_earns_more():
    latent = torch.tensor([0.5, 0.5])
    log_probs = torch.tensor([[0.55, 0.45], [0.95, 0.05]]).log()
    first, second = reward(latent, log_probs, RewardWeights(answer=0.5, stability=0.0)).tolist()
    assert second > first
