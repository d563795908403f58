"""The anchored reward against a slow form: each fact asked alone, value by value, in a prompt of its own."""

from __future__ import annotations

import math

import pytest
import torch

from reason_iad.evidence.claims import VALUES
from reason_iad.evidence.looks import Look
from reason_iad.reasoning.anchors import GOOD_PART, facts_of, lay_out
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.rewards import REWARDS, EntropyReward, RewardWeights, answer_entropy, disagreement, reward
from reason_iad.reasoning.scoring import SuffixScorer

LOOK = Look("bottom left", "small", "elongated", "darker than", "redder")


def slow_agreement(model, prefix, latents, facts, missing=0):
    """Log-probability of every value's whole text, by whole passes without branches, normalized at each token."""
    said, total = model.tokenize(model.info.template.cue), 0.0
    for fact in facts:
        said += model.tokenize(fact.lead) if fact.lead else []
        values = [model.tokenize(value) for value in fact.values]
        mine = values[fact.measured]
        for at, token in enumerate(mine):
            rows = torch.cat([latents, model.embed(said)])[None]
            logits = model.logits(model.run_suffix(prefix, rows).hidden[0, -1])
            left = sorted({value[at] for value in values if value[:at] == mine[:at]})
            total += float(torch.log_softmax(logits[left], 0)[left.index(token)]) / math.log(len(values))
            said.append(token)
    return (total - missing) / (len(facts) + missing)


def test_facts_are_what_was_measured_and_no_hue_where_none_differs():
    assert [fact.values[fact.measured].strip() for fact in facts_of(LOOK)] == [
        "bottom left", "small", "elongated", "darker", "redder",
    ]  # fmt: skip
    calm = Look("center", "tiny", "compact", "about as bright as", "of the same hue")
    assert len(facts_of(calm)) == 4
    assert facts_of(None) == ()
    assert {len(fact.values) for fact in facts_of(LOOK)} == {len(VALUES[n]) for n in ("place", "size", "shape", "hue")}


@pytest.mark.parametrize("missing", [0, 1])
def test_the_branch_reads_the_facts_as_prompts_of_their_own_do(tiny_nano, prefix, missing):
    facts = (*facts_of(LOOK), GOOD_PART)
    anchor = lay_out(tiny_nano, facts, missing)
    reader = ContentReader(tiny_nano, ("Yes.", "No, it is fine."))
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(REWARDS["anchored"]), anchor)
    latents = torch.stack([tiny_nano.initial_latents(3) + shift for shift in (0.0, 0.3, -0.4)])
    with torch.no_grad():
        found = scorer.score(latents)
    slow = [slow_agreement(tiny_nano, prefix, one, facts, missing) for one in latents]
    assert found.agreement.tolist() == pytest.approx(slow, abs=2e-4)
    assert len(set(slow)) == 3


def test_asking_for_facts_leaves_the_answer_as_it_was(tiny_nano, prefix):
    reader = ContentReader(tiny_nano, ("Yes.", "No, it is fine.", "No, it is"))
    latents = tiny_nano.initial_latents(2)[None]
    plain = SuffixScorer(tiny_nano, prefix, reader, EntropyReward())
    asking = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(), lay_out(tiny_nano, facts_of(LOOK)))
    with torch.no_grad():
        one, other = plain.score(latents, (3, 4)), asking.score(latents, (3, 4))
    torch.testing.assert_close(other.log_probs, one.log_probs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(other.latent_entropy, one.latent_entropy, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(asking.base_answer(), plain.base_answer())


def test_the_anchored_reward_is_its_formula():
    weights = RewardWeights(answer=0.3, stability=0.2, anchor=0.7)
    latent, log_probs = torch.tensor([0.2, 0.9, 0.5]), torch.randn(3, 4).log_softmax(-1)
    known = torch.tensor([-0.1, -1.0, -0.4])
    slow = [
        1 - (0.7 * float(latent[m]) + 0.3 * float(answer_entropy(log_probs[m])))
        - 0.2 * float(disagreement(log_probs)[m]) + 0.7 * float(known[m])
        for m in range(3)
    ]  # fmt: skip
    assert reward(latent, log_probs, weights, known).tolist() == pytest.approx(slow, abs=1e-6)
    bare = RewardWeights(answer=0.3, stability=0.2)
    torch.testing.assert_close(reward(latent, log_probs, weights), reward(latent, log_probs, bare))
    torch.testing.assert_close(reward(latent, log_probs, bare, known), reward(latent, log_probs, bare))


def test_what_cannot_be_asked_counts_as_an_even_guess(tiny_nano):
    nothing = lay_out(tiny_nano, (), 1)
    assert nothing.agreement(torch.zeros(2, 0, 258)).tolist() == [-1.0, -1.0]
    assert lay_out(tiny_nano, (), 0) is None
    even = lay_out(tiny_nano, (GOOD_PART,))
    assert float(even.agreement(torch.zeros(1, len(even.rows), 258))[0]) == pytest.approx(-1.0)
