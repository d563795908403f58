"""The training row gives the very scores that use reads from stored keys and values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix
from reason_iad.reasoning.answers import ContentReader
from reason_iad.reasoning.details import Detail, GoodPlace, parts_of
from reason_iad.reasoning.rewards import EntropyReward, RewardWeights
from reason_iad.reasoning.scoring import SuffixScorer
from reason_iad.reasoning.thought import read_detail
from reason_iad.training.details import place_pictures
from reason_iad.training.packing import IMAGE, LATENTS, PATCHES, QuestionItem, pack

ITEMS = (
    QuestionItem("Anomaly Detection", "Is it good?", ("Yes.", "Yes, but not much.", "No, not at all."), 0),
    QuestionItem(
        "Defect Localization",
        "Where?",
        ("Top left.", "Top right.", "Center.", "Top."),
        1,
        num_latents=4,
        patches=(5, 9),
    ),
)


@pytest.fixture(scope="module")
def details(photo):
    """One beside a good part, one alone."""
    crops = [photo[k : k + 60, k : k + 80] for k in (0, 20, 40)]
    return (
        Detail((0, 0, 80, 60), "top left", 1.0, crops[0], GoodPlace(0, (20, 20, 100, 80), 0.1, crops[1])),
        Detail((40, 40, 120, 100), "center", 1.0, crops[2], None),
    )


@pytest.fixture(scope="module")
def scores(tiny_nano, photo, details):
    """Scores of the questions from one packed row, by the bare decoder under the row's own mask.

    The last is the second one again, behind both details.
    """
    image = tiny_nano.encode_image(photo)
    parts = [parts_of(detail) for detail in details]
    stored = [[part if isinstance(part, str) else None for part in one] for one in parts]
    shown = (place_pictures(stored[0], 1), place_pictures(stored[1], 3))
    pictures = [image, *(tiny_nano.encode_image(part) for one in parts for part in one if not isinstance(part, str))]
    tokens = torch.cat([picture.embeds for picture in pictures])
    items = (*ITEMS, replace(ITEMS[1], details=shown))
    row = pack(tiny_nano.info, tiny_nano.tokenizer, items, ["A note."], "Calm.", len(image.embeds))
    ids, slots = torch.tensor(row.token_ids), torch.tensor(row.slots)
    embeds = tiny_nano.embed(ids.clamp(min=0).tolist())
    for kind, source in ((IMAGE, tokens), (PATCHES, tokens), (LATENTS, tiny_nano.latents)):
        embeds[ids == kind] = source[slots[ids == kind]]
    with torch.no_grad():
        hidden = tiny_nano.layers.text_model(
            inputs_embeds=embeds[None],
            position_ids=torch.tensor(row.positions)[None],
            attention_mask=row.mask()[None, None],
            use_cache=False,
        ).last_hidden_state[0]
    forks = [q.tree.ending.rows + q.base for q in row.questions]
    return [q.tree.read(tiny_nano.logits(hidden[rows])[None])[0] for q, rows in zip(row.questions, forks, strict=True)]


def use(model, photo, item, details=()):
    """The same question as the inspector asks it, behind details as the reasoner reads them."""
    context = model.extend(Prefix(), context_parts(model.info, model.encode_image(photo), ["A note."], "Calm."))
    prefix = model.extend(context, [question_text(model.info, item.question)])
    for detail in details:
        prefix = read_detail(model, prefix, detail)
    return SuffixScorer(model, prefix, ContentReader(model, item.options), EntropyReward(RewardWeights()))


def test_a_plain_question_scores_as_in_use(tiny_nano, photo, scores):
    expected = torch.log_softmax(tiny_nano.info.answer_scale * scores[0], -1)
    torch.testing.assert_close(use(tiny_nano, photo, ITEMS[0]).base_answer(), expected, atol=1e-4, rtol=1e-4)


def test_a_question_with_latents_and_patches_scores_as_in_use(tiny_nano, photo, scores):
    expected = torch.log_softmax(tiny_nano.info.answer_scale * scores[1], -1)
    with torch.no_grad():
        found = use(tiny_nano, photo, ITEMS[1]).score(tiny_nano.latents[None], (5, 9)).log_probs[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_question_behind_details_scores_as_in_use(tiny_nano, photo, scores, details):
    expected = torch.log_softmax(tiny_nano.info.answer_scale * scores[2], -1)
    with torch.no_grad():
        found = use(tiny_nano, photo, ITEMS[1], details).score(tiny_nano.latents[None], (5, 9)).log_probs[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, torch.log_softmax(tiny_nano.info.answer_scale * scores[1], -1), atol=1e-3)


def test_no_question_sees_another(tiny_nano):
    row = pack(tiny_nano.info, tiny_nano.tokenizer, ITEMS, (), None, 64)
    question, mask = torch.tensor(row.question), row.mask()
    assert not mask[question == 0][:, question == 1].any()
    assert not mask[question == 1][:, question == 0].any()
    assert mask[question == 1][:, question == -1].all()


def test_a_free_answer_ends_with_the_end_of_turn(tiny_nano):
    item = QuestionItem("Report", "Describe it.", ("Fine.",), 0)
    row = pack(tiny_nano.info, tiny_nano.tokenizer, [item], (), None, 64)
    targets = row.questions[0].tree.text_targets.tolist()
    assert targets[-1] == tiny_nano.tokenize("<|im_end|>")[0]
    assert tiny_nano.tokenizer.decode(targets) == "Fine."
