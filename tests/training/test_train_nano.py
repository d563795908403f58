"""A training of miniature weights: shards, updates, checkpoints, and what was answered on the same questions."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch

from reason_iad.models.vision import BundledVision
from reason_iad.training.checkpoints import export, resume, save
from reason_iad.training.held_out import answer_all, answer_line, behind_details, compare, read_answers, table
from reason_iad.training.nano_trainer import NanoTrainer, Start, drift_of
from reason_iad.training.prepare import prepare_shard, synthetic_line
from reason_iad.training.questions import knowledge_for
from reason_iad.training.rows import Pictures, draw_row
from reason_iad.training.shards import Shards, is_held_out
from reason_iad.training.synth import Synthesizer
from reason_iad.training.train_nano import add_to_average, learning_rate, optimizer_of, set_learning_rate, update
from reason_iad.training.train_options import TrainOptions

OPTIONS = TrainOptions(lora_rank=2, projector_lr=1e-3, lora_lr=1e-3)
IMAGES = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One line to train on and one held out, prepared by random towers."""
    found, synthesizer, vision = tmp_path_factory.mktemp("shards"), Synthesizer(3, 128), BundledVision.random()
    for wanted in (True, False):
        index = next(k for k in range(2, 40) if is_held_out(f"line-{k:05d}", OPTIONS.held_out) is wanted)
        references, images = synthetic_line(synthesizer, index, 1)
        category = synthesizer.make_line(index).category
        prepare_shard(
            found / f"line-{index:05d}.safetensors", references, images, vision, IMAGES, knowledge_for(category)
        )
    return found


@pytest.fixture(scope="module")
def shards(folder):
    return Shards(folder, OPTIONS.held_out)


@pytest.fixture
def trainer(tiny_nano):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tiny_nano.tokenizer.size, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        initializer_range=0.2,
    )  # fmt: skip
    return NanoTrainer(LlamaForCausalLM(config).float(), tiny_nano.tokenizer, OPTIONS)


def weights_of(trainer):
    return {name: weight.detach().clone() for name, weight in trainer.adapter().items()}


def run(trainer, shards, optimizer, average, steps, start):
    """Some updates of a run, each as the command makes it."""
    for step in steps:
        torch.manual_seed(step)
        set_learning_rate(optimizer, step / 4, step, 2)
        update(trainer, shards, OPTIONS, optimizer, f"0/{step}", (), start)
        add_to_average(average, trainer.adapter(), OPTIONS.ema)


def test_a_shard_holds_details_beside_the_same_places_of_good_parts(shards):
    for line in (*shards.train, *shards.held_out):
        for number, record in enumerate(line["records"]):
            assert len(record["details"]) == IMAGES
            assert "hue" in record["looks"]["4"]
            pictures = Pictures(line, number)
            named = record["details"][1]["parts"][0]
            assert pictures.show(1) == (named, 1, "\n", "The same place of a good part:", 2, "\n")
            assert pictures.show(0, good=False)[1:] == (3, "\n")
            assert pictures.features()["vit"].shape == (5, 16, 16, 1152)


def test_rows_are_short_behind_details_or_as_long_as_before(trainer, shards):
    def drawn(options, seed):
        args = (trainer.info, trainer.tokenizer, shards.train[0], 1, options, random.Random(seed), True, ())
        return draw_row(*args)

    always = replace(OPTIONS, details_share=1.0, details_counts=(0.0, 1.0))
    assert all(len(drawn(always, k).packed.questions) == OPTIONS.details_questions for k in range(5))
    assert all(drawn(always, k).has_details for k in range(5))
    never = replace(OPTIONS, details_share=0.0, foreign_share=0.0)
    assert all(len(drawn(never, k).packed.questions) == OPTIONS.questions_per_image for k in range(5))
    assert not any(drawn(never, k).has_details for k in range(5))


def test_an_update_moves_what_learns_and_nothing_else(trainer, shards):
    before, frozen = weights_of(trainer), trainer.language_model.model.embed_tokens.weight.clone()
    optimizer = optimizer_of(trainer.adapter(), OPTIONS)
    run(trainer, shards, optimizer, weights_of(trainer), range(2), None)
    moved = {name for name, weight in trainer.adapter().items() if not torch.equal(weight, before[name])}
    assert {"latents", "log_scale", "projector.out.weight"} <= moved
    assert any("lora_b" in name for name in moved)
    assert torch.equal(trainer.language_model.model.embed_tokens.weight, frozen)


def test_frozen_layers_stay_as_they_are_with_all_before_them(trainer, shards):
    trainer.freeze(1)
    before = weights_of(trainer)
    optimizer = optimizer_of(trainer.adapter(), OPTIONS)
    run(trainer, shards, optimizer, weights_of(trainer), range(2), None)
    moved = {name for name, weight in trainer.adapter().items() if not torch.equal(weight, before[name])}
    assert moved <= {name for name in before if ".layers.1." in name} | {"log_scale"}
    assert any("lora_b" in name for name in moved)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(trainer, shards, tmp_path):
    def fresh():
        optimizer = optimizer_of(trainer.adapter(), OPTIONS)
        return optimizer, weights_of(trainer)

    first = weights_of(trainer)
    start = Start(trainer)
    optimizer, average = fresh()
    run(trainer, shards, optimizer, average, range(2), start)
    save(tmp_path, trainer.adapter(), average, optimizer, 2, 60.0, OPTIONS)
    run(trainer, shards, optimizer, average, range(2, 4), start)
    expected, expected_average = weights_of(trainer), average

    with torch.no_grad():
        for name, weight in trainer.adapter().items():
            weight.copy_(first[name])
    optimizer, average = fresh()
    assert resume(tmp_path, trainer.adapter(), average, optimizer) == (2, 60.0)
    run(trainer, shards, optimizer, average, range(2, 4), start)
    torch.testing.assert_close(weights_of(trainer), expected)
    torch.testing.assert_close(average, expected_average)


def test_the_start_answers_as_before_whatever_was_learned_since(trainer, shards):
    plain = replace(OPTIONS, details_share=0.0, foreign_share=0.0)
    args = (trainer.info, trainer.tokenizer, shards.train[0], 0, plain, random.Random(0), True, ())
    row = draw_row(*args)
    with torch.no_grad():
        before = [scores.log_softmax(-1) for scores, _ in trainer(row)]
    start = Start(trainer)
    assert float(drift_of(trainer(row), start.answers(row)).detach()) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        trainer.adapter()["projector.position"].add_(torch.randn_like(trainer.adapter()["projector.position"]))
    torch.testing.assert_close(start.answers(row), before)
    assert float(drift_of(trainer(row), start.answers(row)).detach()) > 1e-3


def test_held_out_lines_are_asked_the_same_with_and_without_a_detail(trainer, shards, tmp_path):
    line = shards.held_out[0]
    first = answer_line(trainer, line, OPTIONS, 4)
    assert first == answer_line(trainer, line, OPTIONS, 4)
    detection = [a for a in first if a.kind == "Anomaly Detection"]
    assert {(a.number, a.evidence, a.details) for a in detection} == {
        (number, evidence, details)
        for number in range(len(line["records"]))
        for evidence in (False, True)
        for details in (False, True)
    }
    kept = tmp_path / "answers.jsonl"
    assert answer_all(trainer, shards.held_out, OPTIONS, 4, kept) == first
    assert answer_all(None, shards.held_out, OPTIONS, 4, kept) == first, "what is kept is not asked again"
    assert "| Anomaly Detection +evidence +detail |" in table(first)
    assert "+0.000 (+0.000 to +0.000)" in compare(first, read_answers(kept))
    assert "| Anomaly Detection +detail | 2 | 1 |" in behind_details(first)


def test_an_export_keeps_the_average_and_what_was_fitted(trainer, tmp_path):
    adapter = trainer.adapter()
    average = {name: torch.zeros_like(weight) for name, weight in adapter.items()}
    save(tmp_path / "run", adapter, average, optimizer_of(adapter, OPTIONS), 7, 60.0, OPTIONS)
    (tmp_path / "adapter.json").write_text(json.dumps({"version": "0.3", "fusion": {"bias": 1.0}}))
    export(tmp_path / "run", tmp_path / "out", "0.4", tmp_path)
    settings = json.loads((tmp_path / "out" / "adapter.json").read_text())
    assert (settings["version"], settings["fusion"], settings["reads_hue"]) == ("0.4", {"bias": 1.0}, True)
    assert settings["answer_scale"] == 1.0
    assert settings["run"]["step"] == 7


def test_step_sizes_warm_up_and_end_near_zero():
    rates = [learning_rate(step / 100, step, 1.0, 0.0, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-6)
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(0.02)
    assert learning_rate(0.2, 20, 1.0, 0.3, 10) == 0.0
