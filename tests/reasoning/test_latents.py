"""The latent loop on a miniature model: what it may never break."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import context_parts
from reason_iad.models.base import Prefix
from reason_iad.reasoning.answers import ContentReader, LetterReader, reader_for
from reason_iad.reasoning.injection import AttentionInjector, NoInjection, RandomInjector, relative_saliency
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, Surroundings, step_generator
from reason_iad.reasoning.optimizers import ExactGradient, Policy, Reinforce, exact_gradient, reinforce_direction
from reason_iad.reasoning.rewards import EntropyReward, RewardWeights
from reason_iad.reasoning.scoring import SuffixScorer

OPTIONS = ("Yes.", "No, it is fine.", "No, it is", "Maybe.")
EAGER_TO_THINK = LatentOptions(sure_entropy=0.0, patience=99, num_steps=4, margin=0.0)


@pytest.fixture(scope="module")
def reader(tiny_nano):
    return ContentReader(tiny_nano, OPTIONS)


@pytest.fixture(scope="module")
def neutral(tiny_nano, prefix, reader):
    return LatentReasoner(tiny_nano, EAGER_TO_THINK).neutral_attention(prefix, reader)


def run(model, prefix, reader, neutral, injector=None, **changes):
    options = dataclasses.replace(EAGER_TO_THINK, **changes)
    return LatentReasoner(model, options, injector=injector or AttentionInjector()).run(
        prefix, reader, Surroundings(lambda: neutral)
    )


def plain_likelihoods(model, prefix, options):
    """Probability that the model, free to write nothing but an option, writes it; each in a row of its own."""
    cue = model.tokenize(model.info.template.cue)
    tokens = [[*model.tokenize(option), *model.tokenize("<|im_end|>")] for option in options]
    found = []
    for mine in tokens:
        logits = model.logits(model.run_suffix(prefix, model.embed([*cue, *mine])[None]).hidden[0])
        product = 1.0
        for i, token in enumerate(mine):
            allowed = sorted({other[i] for other in tokens if other[:i] == mine[:i]})
            product *= float(torch.softmax(logits[len(cue) - 1 + i, allowed], -1)[allowed.index(token)])
        found.append(product**model.info.answer_scale)
    return torch.tensor(found) / sum(found)


def test_options_in_one_row_read_as_options_one_by_one(tiny_nano, prefix, reader):
    base = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights())).base_answer().exp()
    torch.testing.assert_close(base, plain_likelihoods(tiny_nano, prefix, OPTIONS), atol=1e-5, rtol=1e-4)


def test_zero_steps_is_the_plain_model(tiny_nano, prefix, reader, neutral):
    result = run(tiny_nano, prefix, reader, neutral, num_steps=0)
    expected = plain_likelihoods(tiny_nano, prefix, OPTIONS).tolist()
    assert list(result.probabilities) == pytest.approx(expected, abs=1e-5)
    assert result.suffix is None
    assert result.trace.stopped == "off"


@pytest.mark.parametrize("mode", ["reinforce", "gradient", "paper"])
def test_the_best_reward_never_falls_below_the_start(tiny_nano, prefix, reader, neutral, mode):
    for seed in range(3):
        trace = run(tiny_nano, prefix, reader, neutral, mode=mode, seed=seed).trace
        assert trace.best_reward >= trace.start_reward
        best = [s.best_reward for s in trace.steps]
        assert best == sorted(best)
        assert len(best) == 4


def test_thinking_raises_the_reward_on_average(tiny_nano, prefix, reader, neutral):
    gains = [run(tiny_nano, prefix, reader, neutral, seed=s, num_steps=8).trace for s in range(4)]
    assert sum(t.best_reward - t.start_reward for t in gains) > 0


def test_the_same_seed_gives_the_same_trace_whatever_ran_before(tiny_nano, prefix, reader, neutral):
    first = run(tiny_nano, prefix, reader, neutral, seed=5)
    torch.manual_seed(123)
    run(tiny_nano, prefix, reader, neutral, seed=6)
    again = run(tiny_nano, prefix, reader, neutral, seed=5)
    assert [s.rewards for s in first.trace.steps] == [s.rewards for s in again.trace.steps]
    assert first.probabilities == again.probabilities
    assert not torch.equal(
        torch.randn(3, generator=step_generator(5, 0)), torch.randn(3, generator=step_generator(6, 0))
    )


def test_a_sure_answer_is_left_alone(tiny_nano, prefix, reader, neutral):
    result = run(tiny_nano, prefix, reader, neutral, sure_entropy=1.01)
    assert result.trace.stopped == "sure"
    assert result.trace.steps == ()


def test_patience_and_time_end_the_loop(tiny_nano, prefix, reader, neutral):
    assert run(tiny_nano, prefix, reader, neutral, time_budget=0.0).trace.stopped == "time"
    impatient = run(tiny_nano, prefix, reader, neutral, patience=1, num_steps=50).trace
    assert impatient.stopped == "patience"
    assert len(impatient.steps) < 50


def test_a_changed_answer_without_gain_is_reverted_and_marked(tiny_nano, prefix, reader, neutral, monkeypatch):
    thought = run(tiny_nano, prefix, reader, neutral).trace.answer
    least = min(range(3), key=thought.__getitem__)
    base = torch.full((3,), 0.2).index_fill(0, torch.tensor(least), 0.6).log()
    monkeypatch.setattr(SuffixScorer, "base_answer", lambda self: base)
    cautious = run(tiny_nano, prefix, reader, neutral, margin=10.0)
    assert cautious.trace.unstable
    assert list(cautious.probabilities) == pytest.approx(base.exp().tolist())
    assert cautious.suffix is None
    assert cautious.trace.patches == ()
    bold = run(tiny_nano, prefix, reader, neutral, margin=0.0)
    assert not bold.trace.unstable
    assert bold.probabilities == pytest.approx(thought)


def test_injected_rows_are_the_models_own_visual_embeddings(tiny_nano, prefix, reader, neutral):
    for seed in range(8):
        result = run(tiny_nano, prefix, reader, neutral, seed=seed, num_steps=6)
        if result.trace.patches and result.suffix is not None:
            break
    else:
        pytest.fail("no seed kept a patch")
    visual = prefix.query_image.tokens.embeds
    kept = [p.index for p in result.trace.patches]
    torch.testing.assert_close(result.suffix[4:], visual[kept])
    assert len(set(kept)) == len(kept)


def test_the_final_answer_is_decoded_with_the_kept_patches(tiny_nano, prefix, reader, neutral):
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(EAGER_TO_THINK.weights))
    for seed in range(8):
        result = run(tiny_nano, prefix, reader, neutral, seed=seed, num_steps=6)
        if result.suffix is None or not result.trace.patches:
            continue
        kept = [p.index for p in result.trace.patches]
        again = scorer.score(result.suffix[None, :4], kept).log_probs[0].exp()
        without = scorer.score(result.suffix[None, :4], ()).log_probs[0].exp()
        assert list(result.probabilities) == pytest.approx(again.tolist(), abs=1e-5)
        assert float((again - without).abs().max()) > 1e-4
        return
    pytest.fail("no seed kept a patch")


def test_injection_stops_at_its_limit_and_never_repeats():
    generator = torch.Generator().manual_seed(0)
    injector = AttentionInjector(patches_per_step=3, max_patches=4)
    first = injector.propose((), torch.arange(6.0), 6, generator)
    assert first == (5, 4, 3)
    assert injector.propose(first, torch.arange(6.0), 6, generator) == (2,)
    assert injector.propose((5, 4, 3, 2), torch.arange(6.0), 6, generator) == ()
    assert RandomInjector(patches_per_step=9, max_patches=9).propose((1,), None, 3, generator) in ((0, 2), (2, 0))
    assert NoInjection().propose((), None, 6, generator) == ()


def test_more_patches_than_the_image_has_are_all_it_has(tiny_nano, prefix, reader, neutral):
    greedy = AttentionInjector(patches_per_step=999, max_patches=999)
    generator = torch.Generator().manual_seed(0)
    assert greedy.propose((), torch.arange(6.0), 6, generator) == (5, 4, 3, 2, 1, 0)
    trace = run(tiny_nano, prefix, reader, neutral, greedy, num_steps=2).trace
    assert sorted(trace.steps[0].proposed) == list(range(64))


def test_the_order_of_candidates_changes_neither_rewards_nor_the_next_policy(tiny_nano, prefix, reader):
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights()))
    policy, order = Policy(tiny_nano.initial_latents(4), 0.02), torch.tensor([2, 0, 3, 1])
    optimizer = Reinforce(4)
    candidates = optimizer.candidates(policy, step_generator(0, 0))
    with torch.no_grad():
        first = scorer.score(torch.cat([candidates, policy.mean[None]]), (1,))
        other = scorer.score(torch.cat([candidates[order], policy.mean[None]]), (1,))
    torch.testing.assert_close(other.rewards[:4], first.rewards[order], atol=1e-5, rtol=1e-4)
    moved = [
        optimizer.update(policy, c, s, scorer, (1,)).mean for c, s in ((candidates, first), (candidates[order], other))
    ]
    assert not torch.equal(moved[0], policy.mean)
    torch.testing.assert_close(moved[0], moved[1], atol=1e-4, rtol=1e-3)


def test_latents_that_no_longer_fit_the_context_are_refused(tiny_nano, prefix, reader, monkeypatch):
    full = dataclasses.replace(tiny_nano.info, context_length=prefix.length + len(reader.ending.token_ids) + 3)
    monkeypatch.setattr(tiny_nano, "_info", full)
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights()))
    scorer.base_answer()
    with pytest.raises(ModelError, match="latents"):
        scorer.score(tiny_nano.initial_latents(4)[None])


def test_saliency_is_relative_to_the_neutral_question_and_weighed_by_evidence():
    neutral = torch.tensor([[0.5, 0.1, 0.1]])
    saliency = relative_saliency(torch.tensor([[0.5, 0.3, 0.1]]), neutral)
    assert int(saliency.argmax()) == 1
    assert saliency[0] == pytest.approx(1.0, abs=1e-3)
    weighed = relative_saliency(torch.tensor([[0.5, 0.3, 0.1]]), neutral, torch.tensor([0.0, 0.0, 1.0]), beta=9.0)
    assert int(weighed.argmax()) == 2


def test_reinforce_converges_to_the_gradient_of_a_quadratic():
    target, point, sigma = torch.randn(4, 6), torch.randn(4, 6), 0.05
    noise = torch.randn(2048, 4, 6, generator=torch.Generator().manual_seed(1))
    noise = torch.cat([noise, -noise])
    rewards = -((point + sigma * noise - target) ** 2).sum((1, 2))
    found = reinforce_direction(noise, rewards)
    assert float(torch.cosine_similarity(found.flatten(), (target - point).flatten(), dim=0)) > 0.95


def test_reinforce_converges_to_the_exact_gradient_of_the_model(tiny_nano, prefix, reader):
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights(answer=0.5, stability=0.0)))
    mean, sigma = tiny_nano.initial_latents(2), 0.01  # 96 dimensions: 4,096 samples are enough
    noise = torch.randn(2048, *mean.shape, generator=torch.Generator().manual_seed(1))
    noise = torch.cat([noise, -noise])
    with torch.no_grad():
        rewards = torch.cat([scorer.score(mean + sigma * part).rewards for part in noise.split(256)])
    found = reinforce_direction(noise, rewards - rewards.mean())
    exact = exact_gradient(mean, mean.new_zeros(0, *mean.shape), scorer, ())
    assert float(torch.cosine_similarity(found.flatten(), exact.flatten(), dim=0)) > 0.95


@pytest.mark.parametrize(("answer", "h"), [(1.0, 1e-3), (0.5, 1e-4)])  # the top-k set makes kinks: small steps there
def test_the_exact_gradient_is_that_of_finite_differences(tiny_nano, prefix, reader, answer, h):
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights(answer=answer, stability=0.0)))
    mean = tiny_nano.initial_latents(4)
    direction = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    exact = float((exact_gradient(mean, mean.new_zeros(0, *mean.shape), scorer, (3,)) * direction).sum())
    with torch.no_grad():
        high, low = (float(scorer.score((mean + x * direction)[None], (3,)).rewards[0].double()) for x in (h, -h))
    assert exact == pytest.approx((high - low) / (2 * h), rel=0.05, abs=2e-3)


def test_letters_are_read_where_the_model_binds_them(tiny_nano, prefix):
    reader = LetterReader(tiny_nano, 3)
    base = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights())).base_answer().exp()
    cue = tiny_nano.embed(tiny_nano.tokenize(tiny_nano.info.template.cue))
    logits = tiny_nano.logits(tiny_nano.run_suffix(prefix, cue[None]).hidden[0, -1])
    expected = torch.softmax(logits[[ord("A"), ord("B"), ord("C")]], 0)
    torch.testing.assert_close(base, expected, atol=1e-5, rtol=1e-4)


def test_letters_of_several_tokens_are_compared_by_their_likelihood(tiny_nano, monkeypatch):
    model = tiny_nano
    monkeypatch.setattr(model, "_info", dataclasses.replace(model.info, answer_style="letters"))
    assert isinstance(reader_for(model, OPTIONS), LetterReader)
    monkeypatch.setattr(model, "tokenize", lambda text: [*text.encode(), 10])
    assert isinstance(reader_for(model, OPTIONS), ContentReader)


@pytest.mark.parametrize("options", [("Yes.",), ("Yes.", "Yes."), ("Yes.", " ")])
def test_options_without_an_answer_are_refused(tiny_nano, options):
    with pytest.raises(InputError, match="option"):
        reader_for(tiny_nano, options)


@pytest.mark.parametrize("change", [{"num_latents": 0}, {"num_steps": -1}, {"sigma": 0.0}, {"patience": 0}])
def test_settings_without_meaning_are_refused(change):
    with pytest.raises(InputError, match="expected"):
        LatentOptions(**change)


def test_numbers_that_are_not_finite_are_an_error(tiny_nano, prefix, reader, monkeypatch):
    monkeypatch.setattr(
        tiny_nano, "logits", lambda hidden, *wanted: torch.full((*hidden.shape[:-1], 258), float("nan"))
    )
    with pytest.raises(ModelError, match="not finite"):
        SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights())).base_answer()


def test_attention_injection_without_an_image_is_refused(tiny_nano, reader):
    prefix = tiny_nano.extend(Prefix(), ["no image here"])
    with pytest.raises(InputError, match="needs an image"):
        run(tiny_nano, prefix, reader, None)


def test_a_dialog_runs_the_neutral_question_once_and_answers_twice(tiny_nano, photo):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, tiny_nano.encode_image(photo)))
    dialog = OpenDialog(tiny_nano, context, InspectorOptions(latents="on", injection="on"))
    dialog._latents = EAGER_TO_THINK
    first = dialog.choose("Is there a defect?", OPTIONS)
    neutral = dialog._neutral
    second = dialog.choose("Is there a defect?", OPTIONS)
    assert first.answer == second.answer
    assert dialog._neutral is neutral
    assert sum(o.probability for o in first.answer.options) == pytest.approx(1, abs=1e-5)


def test_the_start_pays_for_an_unstable_answer_as_the_candidates_do(tiny_nano, prefix, reader):
    weights = RewardWeights(answer=0.5, stability=50.0)  # so dear that a start which paid nothing could not be beaten
    options = LatentOptions(sure_entropy=0.0, num_steps=1, sigma=3.0, weights=weights)
    trace = LatentReasoner(tiny_nano, options).run(prefix, reader).trace
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(weights))
    policy = Policy(tiny_nano.initial_latents(4), 3.0 * tiny_nano.embedding_rms)
    rows = torch.cat([Reinforce(4).candidates(policy, step_generator(0, 0)), policy.mean[None]])
    with torch.no_grad():
        beside, alone = scorer.score(rows).rewards[-1], scorer.score(policy.mean[None]).rewards[0]
    assert float(beside) < float(alone) - 1e-4
    assert trace.start_reward == pytest.approx(float(beside), abs=1e-5)


def test_the_exact_gradient_pays_for_an_unstable_answer(tiny_nano, prefix, reader):
    weights = RewardWeights(answer=0.5, stability=1.0)
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(weights))
    mean = tiny_nano.initial_latents(2)
    offsets = ExactGradient().candidates(Policy(mean, 0.5), step_generator(0, 0)) - mean
    direction = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    exact = float((exact_gradient(mean, offsets, scorer, ()) * direction).sum())
    values = []
    for h in (1e-4, -1e-4):  # the slow way: the mean's reward among the same neighbors, moved by a little
        moved = mean + h * direction
        with torch.no_grad():
            values.append(float(scorer.score(torch.cat([moved + offsets, moved[None]])).rewards[-1].double()))
    assert exact == pytest.approx((values[0] - values[1]) / 2e-4, rel=0.05, abs=2e-3)
    alone = exact_gradient(mean, mean.new_zeros(0, *mean.shape), scorer, ())
    assert exact != pytest.approx(float((alone * direction).sum()), rel=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_as_many_candidates_are_drawn_as_were_asked_for(tiny_nano, count):
    policy = Policy(tiny_nano.initial_latents(2), 0.1)
    drawn = Reinforce(count).candidates(policy, step_generator(0, 0))
    assert drawn.shape[0] == count
    pairs = -(-count // 2)
    for i in range(count - pairs):
        torch.testing.assert_close(drawn[i] - policy.mean, policy.mean - drawn[pairs + i])


def test_free_words_are_decoded_behind_the_latents_and_patches_that_were_kept(tiny_nano, photo, monkeypatch):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, tiny_nano.encode_image(photo)))
    dialog = OpenDialog(tiny_nano, context, InspectorOptions(latents="on", injection="on"))
    dialog._latents = EAGER_TO_THINK
    seen = []
    monkeypatch.setattr(tiny_nano, "generate", lambda prefix, suffix, *rest: seen.append(suffix) or "words")
    reply = dialog.tell("What do you see?")
    cue = tiny_nano.embed(tiny_nano.tokenize(tiny_nano.info.template.cue))
    assert reply.trace.steps
    assert seen[0].shape[0] == EAGER_TO_THINK.num_latents + len(reply.trace.patches) + cue.shape[0]
    visual = context.query_image.tokens.embeds[[patch.index for patch in reply.trace.patches]]
    torch.testing.assert_close(seen[0][EAGER_TO_THINK.num_latents : -cue.shape[0]], visual)
    plain = dialog.under(InspectorOptions(latents="off")).tell("What do you see?")
    torch.testing.assert_close(seen[1], cue)
    assert plain.trace.mode == "off"
