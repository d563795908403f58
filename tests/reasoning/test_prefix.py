"""The cached prefix: the same numbers as the whole prompt at once, whatever was shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.attention import AttentionCapture
from reason_iad.models.base import ImageTokens, Prefix
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.rewards import EntropyReward, RewardWeights
from reason_iad.reasoning.scoring import SuffixScorer, ask, ask_all


@pytest.fixture(scope="module")
def image(tiny_nano, photo):
    return tiny_nano.encode_image(photo)


@pytest.fixture(scope="module")
def prefix(tiny_nano, image):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image, ["A nut is brown."], "Calm."))
    return tiny_nano.extend(context, [question_text(tiny_nano.info, "Is it good?")])


def whole_prompt(model, image: ImageTokens) -> torch.Tensor:
    """Embeddings of the same prompt, laid out in one piece."""
    parts = [*context_parts(model.info, image, ["A nut is brown."], "Calm."), question_text(model.info, "Is it good?")]
    return torch.cat([model.embed(model.tokenize(p)) if isinstance(p, str) else p.embeds for p in parts])[None]


def eager(model, embeds: torch.Tensor, **options):
    """The same weights through transformers' own eager attention, without any of our code."""
    config = model.layers.text_model.config
    kept = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        with torch.no_grad():
            return model.layers.text_model(inputs_embeds=embeds, use_cache=False, **options)
    finally:
        config._attn_implementation = kept


def test_cached_prefix_gives_the_logits_of_the_whole_prompt(tiny_nano, image, prefix):
    suffix = torch.randn(1, 7, 48) * 0.2
    whole = eager(tiny_nano, torch.cat([whole_prompt(tiny_nano, image), suffix], dim=1)).last_hidden_state[:, -7:]
    ours = tiny_nano.run_suffix(prefix, suffix).hidden
    difference = (tiny_nano.logits(ours) - tiny_nano.logits(whole)).abs().max()
    assert float(difference) < 1e-4


def test_candidates_together_are_candidates_one_by_one(tiny_nano, prefix):
    suffix = torch.randn(5, 6, 48) * 0.2
    together = tiny_nano.run_suffix(prefix, suffix).hidden
    single = torch.cat([tiny_nano.run_suffix(prefix, suffix[i : i + 1]).hidden for i in range(5)])
    torch.testing.assert_close(together, single, atol=1e-5, rtol=1e-4)


def test_permuting_candidates_permutes_the_result(tiny_nano, prefix):
    suffix = torch.randn(4, 5, 48) * 0.2
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        tiny_nano.run_suffix(prefix, suffix[order]).hidden,
        tiny_nano.run_suffix(prefix, suffix).hidden[order],
        atol=1e-5,
        rtol=1e-4,
    )


def test_extending_leaves_the_shared_part_as_it_was(tiny_nano, image, prefix):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image))
    first = tiny_nano.extend(context, [question_text(tiny_nano.info, "One?")])
    second = tiny_nano.extend(context, [question_text(tiny_nano.info, "A second question?")])
    assert first.segments[0] is context.segments[0]
    assert second.segments[0] is context.segments[0]
    assert second.length > first.length > context.length


def test_captured_attention_is_that_of_eager_attention(tiny_nano, image, prefix):
    suffix = torch.randn(1, 6, 48) * 0.2
    span = prefix.query_image
    capture = AttentionCapture(frozenset({1, 2}), 4, span.start, span.stop)
    tiny_nano.run_suffix(prefix, suffix, capture=capture)
    found = eager(tiny_nano, torch.cat([whole_prompt(tiny_nano, image), suffix], 1), output_attentions=True).attentions
    rows = torch.stack([found[i] for i in (1, 2)])[:, 0].mean((0, 1))[-6:-2, span.start : span.stop]
    torch.testing.assert_close(capture.mean()[0], rows, atol=1e-4, rtol=1e-3)


def test_greedy_generation_is_that_of_transformers(tiny_nano, image, prefix):
    cue = tiny_nano.embed(tiny_nano.tokenize(tiny_nano.info.template.cue))
    text = tiny_nano.generate(prefix, cue, max_new_tokens=12)
    embeds = torch.cat([whole_prompt(tiny_nano, image), cue[None]], dim=1)
    tokens: list[int] = []
    for _ in range(12):
        hidden = eager(tiny_nano, embeds).last_hidden_state[0, -1]
        token = int(tiny_nano.logits(hidden).argmax())
        if token == 257:
            break
        tokens.append(token)
        embeds = torch.cat([embeds, tiny_nano.embed([token])[None]], dim=1)
    assert text == tiny_nano.tokenizer.decode(tokens).strip()


def test_long_extensions_run_in_blocks_with_the_same_result(tiny_nano, monkeypatch, prefix):
    suffix = torch.randn(2, 40, 48) * 0.2
    whole = tiny_nano.run_suffix(prefix, suffix).hidden
    monkeypatch.setattr("reason_iad.models.attention.QUERY_BLOCK", 7)
    torch.testing.assert_close(tiny_nano.run_suffix(prefix, suffix).hidden, whole, atol=1e-5, rtol=1e-4)


def test_a_prompt_processed_in_blocks_is_the_prompt_in_one_pass(tiny_nano, monkeypatch, prefix):
    text = "A part with a scratch, long enough for several blocks."
    whole = tiny_nano.extend(prefix, [text])
    monkeypatch.setattr("reason_iad.models.decoder.PREFILL_BLOCK", 7)
    blocks = tiny_nano.extend(prefix, [text])
    assert (blocks.length, blocks.next_position) == (whole.length, whole.next_position)
    assert len(blocks.segments) == len(whole.segments)
    for name in ("keys", "values"):
        for ours, theirs in zip(getattr(blocks.segments[-1], name), getattr(whole.segments[-1], name), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_prompt_beyond_the_context_is_refused(tiny_nano, prefix):
    with pytest.raises(ModelError, match="holds 2048"):
        tiny_nano.extend(prefix, ["word " * 2000])


def test_patch_boxes_tile_the_original_image():
    tokens = ImageTokens(torch.zeros(64, 4), (8, 8), (300, 201))
    cover = np.zeros((300, 201), dtype=int)
    for index in range(64):
        x0, y0, x1, y1 = tokens.box_xyxy(index)
        cover[y0:y1, x0:x1] += 1
    assert (cover == 1).all()


def test_question_and_plain_answer_in_one_pass_are_those_of_two(tiny_nano, image):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image))
    text, reader = question_text(tiny_nano.info, "Is it good?"), ContentReader(tiny_nano, ("Yes.", "Yes, very.", "No."))
    prefix, answer = ask(tiny_nano, context, text, reader)
    slow = tiny_nano.extend(context, [text])
    torch.testing.assert_close(
        answer, SuffixScorer(tiny_nano, slow, reader, EntropyReward(RewardWeights())).base_answer()
    )
    assert (prefix.length, prefix.next_position) == (slow.length, slow.next_position)
    for ours, theirs in zip(prefix.segments[-1].keys, slow.segments[-1].keys, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_question_beyond_the_context_is_refused(tiny_nano, image):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image))
    with pytest.raises(ModelError, match="holds 2048"):
        ask(tiny_nano, context, "word " * 2000, ContentReader(tiny_nano, ("Yes.", "No.")))


ASKED = [
    ("Is there a defect?", ["Yes.", "No."]),
    ("Where is it in the whole picture?", ["Top left.", "Top right.", "Center."]),
    ("What?", ["A long scratch.", "A long dent.", "A stain."]),
]


def test_questions_read_together_are_read_as_each_alone(tiny_nano, image):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image))
    questions = [
        (question_text(tiny_nano.info, text, options), ContentReader(tiny_nano, options)) for text, options in ASKED
    ]
    for (prefix, base), question in zip(ask_all(tiny_nano, context, questions), questions, strict=True):
        alone, said = ask(tiny_nano, context, *question)
        torch.testing.assert_close(base, said, atol=1e-5, rtol=1e-4)
        assert (prefix.length, prefix.next_position) == (alone.length, alone.next_position)
        for together, single in zip(prefix.segments[-1].keys, alone.segments[-1].keys, strict=True):
            torch.testing.assert_close(together, single, atol=1e-5, rtol=1e-4)


def test_a_dialog_that_read_ahead_answers_and_thinks_as_one_that_did_not(tiny_nano, image):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, image))
    options = InspectorOptions(num_steps=2)
    plain, ahead = OpenDialog(tiny_nano, context, options), OpenDialog(tiny_nano, context, options)
    ahead.read_ahead([*ASKED, ("At fault", ["One option."]), ("Too long " * 3000, ["Yes.", "No."])])
    for question, choices in ASKED:
        one, other = plain.choose(question, choices), ahead.choose(question, choices)
        assert [o.probability for o in one.answer.options] == pytest.approx(
            [o.probability for o in other.answer.options], abs=1e-4
        )
        assert one.trace.stopped == other.trace.stopped
    with pytest.raises(InputError):
        ahead.choose("At fault", ["One option."])
