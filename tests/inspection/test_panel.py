"""A panel: what it says of simulated models of known skill, bias and correlation, and what reports tell of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from made_report import make_report

from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.panel import (
    ENOUGH,
    EVIDENCE,
    PanelMemory,
    combine,
    join_defect,
    join_options,
    remember,
)
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
    weights = memory.weights(DETECTION)
    return np.array(
        [join_defect({n: said[i, k] for i, n in enumerate(names)}, weights)[0] for k in range(len(truth))]
    ), weights


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


def reading_the_evidence(n, noise, seed=0, fourth=True):
    """Truth, and voices of which one repeats the evidence with something of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    sign = np.where(truth, 1.0, -1.0)
    evidence = 1.2 * sign + rng.normal(0, 1.5, n)
    odds = [evidence + 0.3 * sign + rng.normal(0, noise, n), evidence, rng.normal(0, 2, n)]
    odds += [1.2 * sign + rng.normal(0, 1.5, n)] if fourth else []
    return truth, 1 / (1 + np.exp(-np.array(odds)))


def test_a_model_that_repeats_the_evidence_is_one_voice_with_it_where_three_are_left():
    truth, said = reading_the_evidence(240, 0.6)
    found, weights = joined(truth, said, ("reader", "evidence", "guess", "good"))
    assert np.corrcoef(np.log(said[0] / (1 - said[0])), np.log(said[1] / (1 - said[1])))[0, 1] > 0.9
    assert weights["reader"].share <= 0.5
    assert weights["good"].share > 1.5 * weights["reader"].share
    assert auroc(truth, found) > max(auroc(truth, one) for one in said)


def test_where_fewer_would_be_left_it_keeps_its_own_voice_unless_it_is_a_copy():
    truth, said = reading_the_evidence(240, 0.6, fourth=False)
    found, weights = joined(truth, said, ("reader", "evidence", "guess"))
    assert weights["guess"].evidence_for(0.9) < weights["evidence"].evidence_for(0.9) / 2
    assert auroc(truth, found) > auroc(truth, joined(truth, said, ("reader", "evidence", "guess"), known=0)[0])
    assert joined(truth, reading_the_evidence(240, 0.1, fourth=False)[1], ("copy", "evidence", "guess"))[1] == {}


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
    weights = memory.weights("Defect Classification")
    right = [int(np.argmax(join_options(v, weights)[0])) == t for v, t in zip(votes, truth, strict=True)]
    alone = [int(np.argmax(v["a"])) == t for v, t in zip(votes, truth, strict=True)]
    assert sum(right) >= sum(alone)
    assert weights["random"].worth(4) < weights["b"].worth(4) < weights["a"].worth(4)


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
    assert "equal weights" in report.probability_note
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
