"""A panel: what it says of simulated models of known skill, bias and correlation, and what reports tell of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from made_report import make_report

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.panel import combine, good_votes, join_defect, join_options, remember
from reason_iad.inspection.panel_memory import GOOD, PanelMemory
from reason_iad.inspection.panel_weights import ENOUGH, EVIDENCE
from reason_iad.inspection.session import DETECTION, DETECTION_QUESTION
from reason_iad.metrics.classification import auroc, balanced_accuracy
from reason_iad.models.registry import check_model, members_of
from reason_iad.types import Answer, AnswerOffset, InspectionReport, OptionProbability


def voices(n, skills, seed=0, biases=None, copy=None):
    """Truth, and probabilities of a defect of annotators with log-odds around plus or minus their skill."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    sign = np.where(truth, 1.0, -1.0)
    odds = [s * sign + (biases or [0] * len(skills))[i] + rng.normal(0, 1.5, n) for i, s in enumerate(skills)]
    if copy is not None:
        one, other = copy
        odds[other] = odds[one] + rng.normal(0, 0.2, n)
    return truth, 1 / (1 + np.exp(-np.array(odds)))


def joined(truth, said, names, known=None):
    memory = PanelMemory()
    for item in range(len(truth) if known is None else known):
        memory.add(DETECTION, str(item), {n: [said[i, item], 1 - said[i, item]] for i, n in enumerate(names)})
    weights = memory.agreed(DETECTION)
    return np.array(
        [join_defect({n: said[i, k] for i, n in enumerate(names)}, weights)[0] for k in range(len(truth))]
    ), weights.known


NAMES = ("good", "fair", "poor", "evidence")


def test_a_deliberately_poor_model_does_not_make_a_panel_worse_than_its_best():
    truth, said = voices(600, (1.6, 1.0, 0.0, 1.2))
    found, weights = joined(truth, said, NAMES)
    best = max(auroc(truth, one) for one in said)
    assert auroc(truth, found) > best
    right = [balanced_accuracy(truth, one > 0.5) for one in said]
    assert balanced_accuracy(truth, found > 0.5) > max(right)
    poor = weights["poor"]
    assert abs(math.log(poor.found / (1 - poor.spared))) < 0.3  # its vote is worth next to nothing
    assert weights["good"].found + weights["good"].spared > weights["fair"].found + weights["fair"].spared


def test_a_model_that_calls_everything_defective_counts_for_little_when_it_does():
    truth, said = voices(600, (1.6, 1.0, 1.2), biases=[0, 2.5, 0])
    found, weights = joined(truth, said, ("good", "alarmed", "evidence"))
    assert weights["alarmed"].evidence_for(0.9) < weights["good"].evidence_for(0.9) / 2
    assert auroc(truth, found) >= max(auroc(truth, one) for one in said)


def test_two_models_that_err_together_share_their_weight():
    truth, said = voices(800, (1.4, 0.7, 0.7, 1.2), copy=(1, 2))
    found, weights = joined(truth, said, ("good", "one", "its copy", "evidence"))
    assert weights["its copy"].share < 0.7
    assert weights["good"].share > weights["its copy"].share
    assert auroc(truth, found) >= max(auroc(truth, one) for one in said) - 0.01


def test_copies_of_the_comparison_are_one_voice_without_it_and_nothing_is_told():
    truth, said = voices(240, (1.2, 1.2, 0.0), copy=(0, 1))
    assert joined(truth, said, ("one", "its copy", "guess"))[1] == {}


def beside_the_comparison(n, seed=0, goods=44, guess_is_sure=False, **models):
    """Truth, votes on items and good parts; of models own skill, noise, and what each repeats of the comparison."""
    rng = np.random.default_rng(seed)
    truth = np.r_[rng.random(n) < 0.5, np.zeros(goods, dtype=bool)]
    sign = np.where(truth, 1.0, -1.0)
    odds = {EVIDENCE: 1.5 * sign + rng.normal(0, 1.7, n + goods)}
    odds["guess"] = rng.normal(0, 2, n + goods)
    if guess_is_sure:
        odds["guess"] = 3.0 * np.sign(odds["guess"])
    for name, (own, noise, repeated) in models.items():
        odds[name] = own * (sign + 1) + repeated * odds[EVIDENCE] + rng.normal(0, noise, n + goods)
    said = {name: 1 / (1 + np.exp(-np.clip(values, -9, 9))) for name, values in odds.items()}
    return truth[:n], [{name: float(p[i]) for name, p in said.items()} for i in range(n + goods)]


def panel_of(truth, votes):
    """Probabilities of a defect by the panel, weights, and the best of its voices."""
    memory = PanelMemory()
    for number, vote in enumerate(votes):
        memory.add(DETECTION if number < len(truth) else GOOD, str(number), {n: [p, 1 - p] for n, p in vote.items()})
    weights = memory.on_defects(votes[0])
    found = np.array([join_defect(vote, weights)[0] for vote in votes[: len(truth)]])
    best = max(auroc(truth, np.array([vote[name] for vote in votes[: len(truth)]])) for name in votes[0])
    return found, weights, best


@pytest.mark.parametrize("guess_is_sure", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_beside_the_comparison_a_guesser_and_one_that_repeats_it_earn_next_to_nothing(guess_is_sure, seed):
    truth, votes = beside_the_comparison(240, seed, guess_is_sure=guess_is_sure, reader=(0.0, 1.0, 0.9))
    found, weights, best = panel_of(truth, votes)
    worth = weights.worth({EVIDENCE: 0.9, "guess": 0.95, "reader": 0.95})
    assert abs(worth["guess"]) < 0.3
    assert auroc(truth, found) > best - 0.01


def test_a_model_that_knows_more_than_the_comparison_earns_weight_and_lifts_the_panel():
    truth, votes = beside_the_comparison(240, good=(1.0, 1.5, 0.2))
    found, weights, best = panel_of(truth, votes)
    assert auroc(truth, found) > best + 0.01
    assert weights.merit("good") > weights.merit("guess")
    assert weights.worth({EVIDENCE: 0.5, "good": 0.95})["good"] > 0.5  # also where others say nothing
    assert "agreement on 240 images and from sparing 44 known good parts" in weights.how


def test_before_anything_is_shown_the_comparison_decides_alone():
    votes = {EVIDENCE: 0.8, "a": 0.1, "b": 0.1}
    weights = PanelMemory().on_defects(votes)
    assert join_defect(votes, weights)[0] == pytest.approx(0.8)
    assert weights.worth(votes)["a"] == 0.0
    assert "the comparison decides until" in weights.how


def test_good_parts_are_told_from_each_other_and_copies_of_one_are_none():
    one = AnswerOffset((1.0, 2.0, 3.0), 2.0, (0.1, 0.2, 0.3))
    other = AnswerOffset((0.0, 0.0, 3.0), 1.0, (0.1, 0.2, 0.3))
    votes = [said for _, said in good_votes({"a": one, "b": other, "c": None})]
    assert [said[EVIDENCE] for said in votes] == [0.1, 0.2, 0.3]
    odds = [[math.log(said[name] / (1 - said[name])) for name in "ab"] for said in votes]
    assert np.array(odds) == pytest.approx(np.array([[-1.5, -1.5], [0.0, -1.5], [1.5, 3.0]]))
    assert not list(good_votes({"a": AnswerOffset((1.0, 2.0), 1.5, (0.1, 0.2)), "b": None}))


def test_of_few_items_or_two_voices_nothing_is_told():
    truth, said = voices(30, (1.6, 0.0, 1.2))
    assert joined(truth, said, ("a", "b", "c"), known=ENOUGH - 1)[1] == {}
    assert joined(truth, said[:2], ("a", "b"))[1] == {}


def test_options_are_joined_by_how_often_each_is_right():
    rng = np.random.default_rng(3)
    memory, truth, votes = PanelMemory(), [], []
    for item in range(300):
        true = int(rng.integers(4))
        said = {}
        for name, skill in (("a", 0.8), ("b", 0.6), ("random", 0.25)):
            pick = true if rng.random() < skill else int(rng.integers(4))
            said[name] = [0.7 if c == pick else 0.1 for c in range(4)]
        memory.add("Defect Classification", str(item), said)
        truth.append(true)
        votes.append(said)
    weights = memory.agreed("Defect Classification")
    right = [int(np.argmax(join_options(v, weights)[0])) == t for v, t in zip(votes, truth, strict=True)]
    alone = [int(np.argmax(v["a"])) == t for v, t in zip(votes, truth, strict=True)]
    assert sum(right) >= sum(alone)
    assert weights.of("random").worth(4) < weights.of("b").worth(4) < weights.of("a").worth(4)


def test_the_memory_is_kept_by_what_the_models_are_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    memory = PanelMemory.of({"a": "1", "b": "2"})
    memory.add(DETECTION, "x", {"a": [0.9, 0.1], "b": [0.2, 0.8]})
    memory.add(DETECTION, "x", {"a": [0.8, 0.2], "b": [0.2, 0.8]})
    memory.save()
    assert PanelMemory.of({"b": "2", "a": "1"}).votes == memory.votes
    assert PanelMemory.of({"a": "1", "b": "3"}).votes == {}
    memory.path.write_text("[1]")
    with pytest.raises(InputError, match="remove it"):
        PanelMemory.of({"a": "1", "b": "2"})


def detection(p):
    return Answer(DETECTION_QUESTION, "Yes.", (OptionProbability("Yes.", p), OptionProbability("No.", 1 - p)))


def test_a_joined_report_says_who_said_what():
    one = make_report(verdict="defective", answers=(detection(0.9),))
    other = make_report(verdict="normal", answers=(detection(0.6),), offset=AnswerOffset((2.0,), 2.0))
    memory = PanelMemory()
    remember({"a": one, "b": other}, memory)
    report = combine({"a": one, "b": other}, memory, 0.02)
    said = {voice.name: voice.probabilities[0] for voice in report.answers[0].voices}
    assert said["a"] == pytest.approx(0.9)
    assert said["b"] < 0.2  # less what it says of good parts
    assert said[EVIDENCE] == one.evidence.anomaly_score
    assert "The panel on a defect: a 0.90" in " ".join(report.notes)
    assert "the comparison decides until" in report.probability_note
    assert InspectionReport.from_json(report.to_json()) == report
    assert memory.count(DETECTION) == 1


def test_a_model_that_was_not_asked_is_said_and_one_that_clears_alone_stays_cleared():
    cleared = make_report(verdict="normal", answers=())
    assert combine({"a": cleared, "b": cleared}, PanelMemory(), 0.02) == cleared
    report = combine({"a": make_report(answers=(detection(0.9),)), "b": cleared}, PanelMemory(), 0.02)
    assert "b gave no answer." in report.notes
    assert dataclasses.replace(report, notes=()) is not None


def test_a_panel_names_different_models_that_exist():
    assert members_of("nano + openai:a") == ("nano", "openai:a")
    with pytest.raises(ModelError, match="name each once"):
        members_of("nano + nano")
    with pytest.raises(ModelError, match="is not known"):
        check_model("nano + nothing-known")
