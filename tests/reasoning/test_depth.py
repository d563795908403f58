"""Latents behind a layer against a slow form: the decoder's layers called one by one over the whole prompt."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from reason_iad.errors import InputError
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner
from reason_iad.reasoning.optimizers import exact_gradient
from reason_iad.reasoning.rewards import EntropyReward, RewardWeights
from reason_iad.reasoning.scoring import SuffixScorer

OPTIONS = ("Yes.", "No.")


@pytest.fixture(scope="module")
def parts(tiny_nano, photo):
    image = tiny_nano.encode_image(photo)
    return [*context_parts(tiny_nano.info, image), question_text(tiny_nano.info, "Is there a defect?")]


@pytest.fixture(scope="module")
def reader(tiny_nano):
    return ContentReader(tiny_nano, OPTIONS)


def slow_logits(model, parts, latents, layer):
    """The whole prompt at once, layer by layer in eager attention; latents replace embeddings, or are added behind."""
    decoder = model.layers.text_model
    pieces = [model.embed(model.tokenize(p)) if isinstance(p, str) else p.embeds for p in parts]
    ahead = sum(len(piece) for piece in pieces)
    own = model.initial_latents(len(latents)) if layer else latents
    cue = model.embed(model.tokenize(model.info.template.cue))
    hidden = torch.cat([*pieces, own, cue])[None]
    size = hidden.shape[1]
    positions = torch.arange(size)[None]
    turn = decoder.rotary_emb(hidden, positions)
    mask = torch.full((size, size), float("-inf")).triu(1)[None, None]
    kept, decoder.config._attn_implementation = decoder.config._attn_implementation, "eager"
    try:
        for number, block in enumerate(decoder.layers, start=1):
            hidden = block(hidden, attention_mask=mask, position_ids=positions, position_embeddings=turn)
            if number == layer:
                rows = hidden[:, ahead : ahead + len(latents)]
                hidden = hidden.clone()
                hidden[:, ahead : ahead + len(latents)] = rows + latents * rows.pow(2).mean(-1, keepdim=True).sqrt()
    finally:
        decoder.config._attn_implementation = kept
    return model.logits(decoder.norm(hidden)[0, ahead:])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_step_gives_what_the_layers_give_one_by_one(tiny_nano, parts, reader, layer):
    prefix = tiny_nano.extend(Prefix(), parts)
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(), layer=layer)
    latents = scorer.start(3) + 0.2 * torch.randn(3, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = scorer.score(torch.stack([latents, -latents]))
        slow = slow_logits(tiny_nano, parts, latents, layer)
    top = torch.log_softmax(slow[:3].topk(10, dim=-1).values, -1)
    entropy = -(top.exp() * top).sum(-1).mean() / torch.log(torch.tensor(10.0))
    assert float(found.latent_entropy[0]) == pytest.approx(float(entropy), abs=1e-4)
    yes_no = [tiny_nano.tokenize(option)[0] for option in OPTIONS]
    read = torch.log_softmax(tiny_nano.info.answer_scale * torch.log_softmax(slow[-1, yes_no], 0), 0)
    torch.testing.assert_close(found.log_probs[0], read, atol=1e-4, rtol=1e-3)


def test_nothing_added_behind_a_layer_is_the_plain_thought(tiny_nano, parts, reader):
    prefix = tiny_nano.extend(Prefix(), parts)
    plain = SuffixScorer(tiny_nano, prefix, reader, EntropyReward())
    deep = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(), layer=2)
    with torch.no_grad():
        one, other = plain.score(plain.start(4)[None]), deep.score(deep.start(4)[None])
    torch.testing.assert_close(one.log_probs, other.log_probs)
    assert plain.unit == tiny_nano.embedding_rms
    assert deep.unit == 1.0


def test_the_gradient_reaches_latents_behind_a_layer(tiny_nano, parts, reader):
    prefix = tiny_nano.extend(Prefix(), parts)
    scorer = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(RewardWeights(answer=1.0, stability=0.0)), layer=2)
    mean = 0.1 * torch.randn(2, 48, generator=torch.Generator().manual_seed(3))
    direction = torch.randn(2, 48, generator=torch.Generator().manual_seed(2))
    exact = float((exact_gradient(mean, mean.new_zeros(0, 2, 48), scorer, ()) * direction).sum())
    with torch.no_grad():
        high, low = (float(scorer.score((mean + h * direction)[None]).rewards[0].double()) for h in (1e-3, -1e-3))
    assert exact == pytest.approx((high - low) / 2e-3, rel=0.05, abs=2e-3)


def test_the_setting_names_the_layer_and_free_words_are_decoded_with_what_was_found(tiny_nano, photo, monkeypatch):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, tiny_nano.encode_image(photo)))
    dialog = OpenDialog(tiny_nano, context, InspectorOptions(latents="on", latent_depth=0.5, injection="off"))
    dialog._latents = dataclasses.replace(dialog._latents, sure_entropy=0.0, patience=9, num_steps=2, margin=0.0)
    assert dialog._latents.layer(4) == 2
    seen = []
    run = tiny_nano.layers.run
    monkeypatch.setattr(tiny_nano.layers, "run", lambda *a, **k: (seen.extend(a[6:]), run(*a, **k))[1])
    reply = dialog.tell("What do you see?", max_new_tokens=3)
    assert reply.trace.best_reward > reply.trace.start_reward
    nudges = [nudge for nudge in seen if nudge is not None]
    assert {nudge.layer for nudge in nudges} == {2}
    assert nudges[-1].offsets.shape == (1, 4, 48)  # the words begin behind the best state
    assert float(nudges[-1].offsets.abs().max()) > 0


def test_a_depth_that_has_no_layer_behind_it_is_refused():
    with pytest.raises(InputError, match="depth"):
        LatentOptions(depth=1.0)
    assert LatentOptions(depth=0.5).layer(30) == 15


def test_latents_behind_a_layer_raise_the_reward(tiny_nano, parts, reader):
    prefix = tiny_nano.extend(Prefix(), parts)
    options = LatentOptions(sure_entropy=0.0, patience=9, num_steps=4, depth=0.25)
    trace = LatentReasoner(tiny_nano, options).run(prefix, reader).trace
    assert trace.best_reward >= trace.start_reward
