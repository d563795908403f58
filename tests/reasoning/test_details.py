"""Details: where boxes lie, what they hold, and that they decode the answer only if the reward grows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_iad.errors import InputError
from reason_iad.evidence.looks import Look
from reason_iad.images import resize
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.details import (
    DetailOptions,
    GoodPlace,
    NoDetails,
    RandomDetails,
    SalientDetails,
    Views,
    cut,
    enlarged,
    make_detail,
    next_box,
    overlap,
    parts_of,
    places_of,
)
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, Surroundings
from reason_iad.reasoning.rewards import EntropyReward, RewardWeights
from reason_iad.reasoning.scoring import SuffixScorer
from reason_iad.reasoning.thought import read_detail

EAGER = LatentOptions(sure_entropy=0.0, patience=99, num_steps=4, margin=0.0)
DRAW = np.random.default_rng(0)


def grid(*peaks, side=8):
    found = np.ones((side, side), dtype=np.float32)
    for row, column, value in peaks:
        found[row, column] = value
    return found


def views(image, good=None):
    def same(box):
        return None if good is None else GoodPlace(0, box, 0.0, cut(good, box))

    return Views(image, same, good is not None)


@pytest.fixture(scope="module")
def reader(tiny_nano):
    return ContentReader(tiny_nano, ("Yes.", "No, it is fine."))


def test_boxes_lie_around_the_peaks_strongest_first_with_a_margin():
    saliency = grid((1, 6, 9.0), (5, 2, 4.0), (7, 7, 3.0))
    first = next_box(saliency, (800, 800), [], DetailOptions())
    assert first == ((575, 75, 725, 225), 9.0)  # one patch of 100 pixels, a quarter more on each side
    second = next_box(saliency, (800, 800), [first[0]], DetailOptions())
    third = next_box(saliency, (800, 800), [first[0], second[0]], DetailOptions())
    assert [second[1], third[1]] == [4.0, 3.0]
    assert third[0] == (650, 650, 800, 800)  # moved inward at the corner, not cut


def test_neighbors_that_are_nearly_as_salient_share_a_box():
    saliency = grid((3, 3, 8.0), (3, 4, 6.0), (4, 3, 5.0), (3, 5, 2.0))
    box, _ = next_box(saliency, (800, 800), [], DetailOptions(margin=0.0))
    assert box == (300, 300, 500, 500)


def test_a_large_salient_area_does_not_make_the_whole_image_a_detail():
    box, _ = next_box(np.full((12, 12), 3.0, dtype=np.float32), (1200, 1200), [], DetailOptions(margin=0.0))
    assert box[2] - box[0] <= 400
    assert box[3] - box[1] <= 400


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 16), st.integers(1, 16), st.integers(0, 2**16))
def test_boxes_stay_inside_and_share_little_on_images_of_any_size(height, width, rows, columns, seed):
    saliency = np.random.default_rng(seed).random((rows, columns), dtype=np.float32) + 0.1
    tried = []
    for _ in range(3):
        found = next_box(saliency, (height, width), tried, DetailOptions())
        if found is None:
            break
        left, top, right, bottom = found[0]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert all(overlap(found[0], other) <= 0.25 for other in tried)
        tried.append(found[0])
    assert tried


def test_an_image_smaller_than_a_detail_is_one_detail_as_a_whole():
    saliency = grid((1, 6, 9.0), (5, 2, 4.0))
    first = next_box(saliency, (20, 24), [], DetailOptions())
    assert first[0] == (0, 0, 24, 20)
    assert next_box(saliency, (20, 24), [first[0]], DetailOptions()) is None


def test_finders_stop_at_their_limit_and_never_meet_a_box_again():
    saliency = grid((1, 6, 9.0), (4, 1, 4.0), (7, 7, 3.0), (0, 0, 2.5))
    found = places_of(SalientDetails(DetailOptions(nearly=0.0)), views(np.zeros((400, 400, 3), np.uint8)), saliency)
    assert [detail.place for detail in found] == ["top right", "middle left", "bottom right"]
    random = places_of(RandomDetails(), views(np.zeros((400, 400, 3), np.uint8)), saliency)
    assert len({detail.box_xyxy for detail in random}) == 3
    assert places_of(NoDetails(), views(np.zeros((9, 9, 3), np.uint8)), saliency) == ()
    assert places_of(SalientDetails(), views(np.zeros((9, 9, 3), np.uint8)), 0 * saliency) == ()
    with pytest.raises(InputError, match="saliency"):
        SalientDetails().propose([], None, (9, 9), DRAW)


def test_only_what_is_nearly_as_salient_as_the_strongest_place_is_looked_at_too():
    ground = views(np.zeros((400, 400, 3), np.uint8))
    found = places_of(SalientDetails(), ground, grid((1, 6, 2.0), (4, 1, 1.71), (7, 7, 1.69)))
    assert [detail.saliency for detail in found] == pytest.approx([2.0, 1.71])


def test_a_detail_holds_the_pixels_of_its_box_and_is_only_ever_enlarged():
    image = np.arange(600 * 400 * 3, dtype=np.uint32).astype(np.uint8).reshape(600, 400, 3)
    detail = make_detail(views(image, image[:, ::-1].copy()), (100, 200, 180, 240), 2.0)
    np.testing.assert_array_equal(detail.pixels, image[200:240, 100:180])
    np.testing.assert_array_equal(detail.good.pixels, image[200:240, 300 - 80 : 300][:, ::-1])
    seen = enlarged(detail.pixels)
    assert seen.shape == (112, 224, 3)
    np.testing.assert_array_equal(seen, resize(detail.pixels, (112, 224)))
    assert enlarged(image) is image
    texts = [part for part in parts_of(detail) if isinstance(part, str)]
    assert texts == ["Detail, center:", "\n", "The same place of a good part:", "\n"]
    assert len(parts_of(make_detail(views(image), (0, 0, 9, 9), 1.0))) == 3


def test_paint_a_box_and_that_detail_changes_and_no_other(photo):
    saliency = grid((1, 6, 9.0), (6, 1, 4.0), (6, 6, 3.0))
    finder = SalientDetails(DetailOptions(nearly=0.0))
    before = places_of(finder, views(photo), saliency)
    left, top, right, bottom = before[1].box_xyxy
    painted = photo.copy()
    painted[top:bottom, left:right] = (255, 0, 0)
    after = places_of(finder, views(painted), saliency)
    changed = [not np.array_equal(a.pixels, b.pixels) for a, b in zip(before, after, strict=True)]
    assert changed == [False, True, False]


def test_a_detail_read_behind_the_question_gives_the_logits_of_the_whole_prompt(tiny_nano, photo):
    image = tiny_nano.encode_image(photo)
    parts = [*context_parts(tiny_nano.info, image), question_text(tiny_nano.info, "Is there a defect?")]
    detail = make_detail(views(photo, photo[::-1].copy()), (10, 20, 60, 70), 2.0)
    read = read_detail(tiny_nano, tiny_nano.extend(tiny_nano.extend(Prefix(), parts[:-1]), parts[-1:]), detail)
    more = [p if isinstance(p, str) else tiny_nano.encode_image(p) for p in parts_of(detail)]
    whole = tiny_nano.extend(Prefix(), [*parts, *more])
    assert read.length == whole.length == read.next_position
    cue = tiny_nano.embed(tiny_nano.tokenize(tiny_nano.info.template.cue))[None]
    found, expected = (tiny_nano.logits(tiny_nano.run_suffix(p, cue).hidden) for p in (read, whole))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert read.query_image.tokens is image  # patches and attention are still those of the inspected image


def think(model, prefix, reader, image, options=EAGER, finder=None, good=None, evidence=None, **known):
    reasoner = LatentReasoner(model, options, details=finder or SalientDetails())
    neutral = reasoner.neutral_attention(prefix, reader) + 0.01
    surroundings = Surroundings(lambda: neutral, evidence, views(image, good), **known)
    return reasoner.run(prefix, reader, surroundings)


def test_details_are_tried_one_a_step_and_kept_only_where_the_reward_grows(tiny_nano, prefix, reader, photo):
    kept = refused = 0
    for seed in range(6):
        options = dataclasses.replace(EAGER, seed=seed)
        result = think(tiny_nano, prefix, reader, photo, options, RandomDetails(), photo[::-1].copy())
        trace = result.trace
        assert [step.detail for step in trace.steps] == [0, 1, 2, None]
        assert [detail.step for detail in trace.details] == [0, 1, 2]
        best = [trace.start_reward, *(step.best_reward for step in trace.steps)]
        for detail in trace.details:
            if detail.kept:
                assert best[detail.step + 1] > best[detail.step]
                kept += 1
            else:
                refused += 1
        count = sum(detail.kept for detail in trace.details)
        assert result.prefix.length >= prefix.length + count * 2 * 64
        assert (result.prefix.length == prefix.length) == (count == 0)
    assert kept
    assert refused


def test_the_answer_is_decoded_with_the_details_that_were_kept(tiny_nano, prefix, reader, photo):
    for seed in range(6):
        result = think(tiny_nano, prefix, reader, photo, dataclasses.replace(EAGER, seed=seed), RandomDetails())
        if any(detail.kept for detail in result.trace.details) and result.suffix is not None:
            break
    else:
        pytest.fail("no seed kept a detail")
    scorer = SuffixScorer(tiny_nano, result.prefix, reader, EntropyReward(EAGER.weights))
    again = scorer.score(result.suffix[None, :4]).log_probs[0].exp()
    assert list(result.probabilities) == pytest.approx(again.tolist(), abs=1e-5)
    bare = SuffixScorer(tiny_nano, prefix, reader, EntropyReward(EAGER.weights)).score(result.suffix[None, :4])
    assert float((bare.log_probs[0].exp() - again).abs().max()) > 1e-4


def test_details_without_latents_search_among_details_alone(tiny_nano, prefix, reader, photo):
    options = dataclasses.replace(LatentOptions.details_alone(), sure_entropy=0.0, patience=99, margin=0.0)
    result = think(tiny_nano, prefix, reader, photo, options, good=photo[::-1].copy())
    assert len(result.trace.steps) == len(result.trace.details) <= 3
    assert all(step.rewards == () for step in result.trace.steps)
    assert result.suffix.shape[0] == 0
    scorer = SuffixScorer(tiny_nano, result.prefix, reader, EntropyReward())
    assert list(result.probabilities) == pytest.approx(scorer.base_answer().exp().tolist(), abs=1e-5)


def test_what_looks_and_evidence_weigh_decides_where_the_first_detail_lies(tiny_nano, prefix, reader, photo):
    evidence = torch.zeros(64)
    evidence[8 * 6 + 1] = 1.0
    options = dataclasses.replace(EAGER, evidence_beta=50.0)
    trace = think(tiny_nano, prefix, reader, photo, options, evidence=evidence).trace
    left, top, right, bottom = trace.details[0].box_xyxy
    height, width = photo.shape[:2]
    assert left <= 1.5 / 8 * width <= right
    assert top <= 6.5 / 8 * height <= bottom
    assert trace.details[0].place == "bottom left"


def test_an_anchored_reward_tells_what_it_thought_of_each_step(tiny_nano, prefix, reader, photo):
    look = Look("bottom left", "small", "compact", "darker than")
    options = dataclasses.replace(EAGER, weights=RewardWeights(anchor=0.5))
    trace = think(tiny_nano, prefix, reader, photo, options, good=photo[::-1].copy(), look=look).trace
    assert all(step.agreement is not None and step.agreement < 0 for step in trace.steps)
    plain = think(tiny_nano, prefix, reader, photo, look=look).trace
    assert {step.agreement for step in plain.steps} == {None}


def test_a_detail_that_does_not_fit_the_context_is_left_out_and_said(tiny_nano, prefix, reader, photo, monkeypatch):
    full = dataclasses.replace(tiny_nano.info, context_length=prefix.length + 150)
    monkeypatch.setattr(tiny_nano, "_info", full)
    trace = think(tiny_nano, prefix, reader, photo, good=photo).trace
    assert trace.details == ()
    assert "left out" in trace.notes[0]
    assert "--details off" in trace.notes[0] or "fewer references" in trace.notes[0]
    assert len(trace.steps) == 4


def test_free_words_are_decoded_behind_the_details_that_were_kept(tiny_nano, photo, monkeypatch):
    context = tiny_nano.extend(Prefix(), context_parts(tiny_nano.info, tiny_nano.encode_image(photo)))
    seen = []
    for seed in range(8):
        options = InspectorOptions(latents="on", details="on", injection="off", seed=seed)
        dialog = OpenDialog(tiny_nano, context, options, views=views(photo, photo[::-1].copy()))
        dialog._latents = dataclasses.replace(dialog._latents, sure_entropy=0.0, patience=99, margin=0.0)
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(tiny_nano, "generate", lambda prefix, suffix, *rest: seen.append(prefix) or "words")
            reply = dialog.tell("What do you see?")
        kept = sum(detail.kept for detail in reply.trace.details)
        if kept:
            asked = tiny_nano.extend(context, [question_text(tiny_nano.info, "What do you see?")])
            assert seen[0].length > asked.length + kept * 2 * 64
            return
    pytest.fail("no seed kept a detail")
