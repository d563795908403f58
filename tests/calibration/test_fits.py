"""Fits on simulated answers whose truth is known, and the store that keeps them for one model alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reason_iad.calibration.fusion import RIDGE, answer_range, fit_all, fit_fusion, logistic, offset_alone
from reason_iad.calibration.questions import fit_kinds, spoken_of
from reason_iad.calibration.rows import RowFile
from reason_iad.cli.app import main
from reason_iad.cli.calibrate import fit
from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.verdict import Fusion
from reason_iad.models import fits
from reason_iad.models.fingerprint import of_model, of_weights
from reason_iad.models.sources import default_adapter


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def simulated(n, bias=0.0, skill=1.0, evidence=1.0, products=8, spread=0.0, references=4, seed=0):
    """Answers of a model with a bias, one of its own in each product, and of an evidence, with the truth."""
    rng = np.random.default_rng(seed)
    shifts = rng.normal(bias, spread, products)
    rows = []
    for number in range(n):
        product, defective = number % products, bool(rng.random() < 0.5)
        sign = 1 if defective else -1
        rows.append(
            {
                "group": f"product {product}", "name": str(number), "references": references, "defective": defective,
                "model": sigmoid(shifts[product] + skill * sign + rng.normal(0, math.sqrt(2 * skill) if skill else 1)),
                "score": sigmoid(evidence * sign + rng.normal(0, math.sqrt(2 * evidence) if evidence else 1)),
                "offset": shifts[product] - skill + rng.normal(0, 0.1),
            }
        )  # fmt: skip
    return rows


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    return tmp_path


def test_a_fit_recovers_bias_and_skill_of_a_simulated_model():
    """Log-odds drawn with variance twice their mean are calibrated: the weights of truth are 1, the bias is undone."""
    rows = simulated(4000, bias=2.0, skill=1.0, evidence=1.5)
    found = fit_fusion("with_evidence", rows, offset=False)
    record = found.record
    assert record["model"] == pytest.approx(1.0, abs=0.15)
    assert record["evidence"] == pytest.approx(1.0, abs=0.15)
    assert record["bias"] == pytest.approx(-2.0, abs=0.3)
    assert found.after.calibration_error.high < 0.05
    assert found.before.balanced_accuracy.value < found.after.balanced_accuracy.value


def test_logistic_regression_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    features = np.column_stack([np.ones(300), rng.normal(size=(300, 2))])
    labels = rng.random(300) < 1 / (1 + np.exp(-features @ [0.3, 1.0, -2.0]))
    theirs = sklearn.LogisticRegression(C=1 / (2 * RIDGE), tol=1e-8).fit(features[:, 1:], labels)
    mine = logistic(features, labels)
    assert mine == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-3)


def test_a_bias_that_differs_from_product_to_product_is_taken_away_by_what_good_parts_show():
    rows = simulated(800, bias=1.0, skill=1.0, evidence=0.0, spread=3.0)
    plain, centered = fit_fusion("with_evidence", rows, offset=False), fit_fusion("with_evidence", rows)
    assert centered.record["offset"]
    assert centered.after.auroc.value > plain.after.auroc.value + 0.1
    assert centered.after.auroc.low > plain.after.auroc.high


def test_where_good_parts_say_nothing_of_the_bias_the_fit_leaves_them_out():
    rows = simulated(600, skill=1.0)
    rng = np.random.default_rng(5)
    for row in rows:
        row["offset"] = float(rng.normal(0, 4))
    assert not fit_fusion("with_evidence", rows).record["offset"]


def test_figures_are_of_images_that_the_fit_did_not_see():
    rows = simulated(60, skill=0.0, evidence=0.0, products=20)
    found = fit_fusion("with_evidence", rows, offset=False)
    assert found.after.auroc.value < 0.65  # nothing can be told; a fit to its own images would tell something


@pytest.mark.parametrize("rows", [simulated(8), [r for r in simulated(60) if r["defective"]], []])
def test_too_few_labels_or_one_kind_alone_are_refused(rows):
    with pytest.raises(InputError, match="expected at least 10, of both kinds"):
        fit_all(rows)


def test_forms_without_labels_are_said_and_stay_uncalibrated():
    fusions, left = fit_all(simulated(100))
    assert [one.key for one in fusions] == ["with_evidence"]
    assert len(left) == 2
    settings, report = fit("m", simulated(100))
    assert "not calibrated in this form" in Fusion.from_settings(settings, "without_evidence").note
    assert "one_reference" in report.to_markdown()
    assert report.reliability_svg().startswith("<svg")


def test_without_labels_only_the_offset_is_fitted():
    rows = [{**row, "defective": None, "references": 0} for row in simulated(12, bias=1.5, skill=0.0)]
    settings, _ = fit("m", rows)
    fusion = Fusion.from_settings(settings, "without_evidence")
    mean = np.mean([math.log(row["model"] / (1 - row["model"])) for row in rows])
    assert fusion.probability(sigmoid(mean), None) == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(InputError, match="no image"):
        offset_alone([])


def test_the_range_of_answers_is_that_of_calm_images():
    rows = [{**row, "score": 0.2} for row in simulated(30, skill=1.0)] + [
        {"references": 4, "score": 0.9, "model": 0.999}
    ]
    found = answer_range(rows, False)
    assert found["images"] == 30
    assert found["highest"] < 6.9
    assert answer_range(rows[:5], False) is None


def test_weights_of_options_find_the_temperature_of_a_model_that_is_too_sure():
    rng = np.random.default_rng(2)
    rows = []
    for number in range(600):
        odds = rng.normal(0, 1, 4)
        true = np.exp(odds) / np.exp(odds).sum()
        sure = np.exp(3 * odds) / np.exp(3 * odds).sum()
        silent = [0.0] * 4
        rows.append({
            "group": "p", "name": str(number), "references": 1, "kind": "Defect Analysis",
            "target": int(rng.choice(4, p=true)), "options": sure.tolist(),
            "evidence": silent, "knowledge": silent, "excluded": silent,
        })  # fmt: skip
    found = next(one for one in fit_kinds(rows) if one.kind == "Defect Analysis")
    assert found.temperature == pytest.approx(3.0, abs=0.6)
    assert found.calibration_error[1].value < found.calibration_error[0].value / 3
    assert len(spoken_of(rows[0]).joined(found.weights)) == 4


def test_what_nano_ships_for_one_reference_is_what_the_command_makes_of_the_same_answers(tmp_path, capsys, home):
    answers = default_adapter() / "answers.jsonl"
    args = ["calibrate", "--model", "nano", "--rows", str(answers), "--dry-run", "--out", str(tmp_path / "out")]
    assert main(args) == 0
    made = json.loads((tmp_path / "out" / "settings.json").read_text())["fusion"]
    shipped = json.loads((default_adapter() / "adapter.json").read_text())["fusion"]
    for name in ("bias", "model", "evidence"):
        assert made["one_reference"][name] == pytest.approx(shipped["one_reference"][name], abs=2e-4)
    assert "| with references | 36 | after |" in capsys.readouterr().out
    assert not fits.all_fits()


def test_a_fit_is_kept_for_its_model_and_refused_for_any_other(home):
    settings = {"fusion": {"with_evidence": {"bias": 0, "model": 1, "evidence": 1, "note": "n"}}}
    before = of_model("openai:a")
    path = fits.write_fit(fits.StoredFit("openai:a", "0123456789abcdef", settings, {}))
    assert fits.settings_of("openai:a", "0123456789abcdef") == settings
    assert "another version" in fits.settings_of("openai:a", "f" * 16)["refused"]
    assert fits.settings_of("openai:b", "f" * 16) == {}
    with pytest.raises(ModelError, match="another model or another version"):
        fits.read_fit(path, "f" * 16)
    path.rename(path.with_name(f"{'f' * 16}.json"))
    with pytest.raises(ModelError, match="another model or another version"):
        fits.settings_of("openai:b", "f" * 16)
    fits.write_fit(fits.StoredFit("openai:a", "0123456789abcdef", settings, {}))
    assert of_model("openai:a") != before  # runs under another fit are other runs
    assert of_weights("openai:a") == before


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": 9, "model": "m", "fingerprint": "f", "settings": {}, "made": {}}']
)
def test_a_damaged_fit_is_an_error_that_says_what_to_do(home, content):
    path = fits.path_of("f" * 16)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ModelError, match="reason-iad calibrate"):
        fits.settings_of("m", "f" * 16)


def test_answers_are_kept_line_by_line_and_a_line_cut_short_is_asked_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    kept = RowFile.open(path)
    for row in simulated(3):
        kept.add(row)
    path.write_text(path.read_text()[:-30])
    again = RowFile.open(path)
    assert (len(again.rows), again.damaged) == (2, 1)
    again.add(simulated(3)[2])
    assert len(RowFile.open(path).rows) == 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "found no DATA"),
        (["nowhere"], "is no folder"),
        (["--questions", "q.json"], "without DATA"),
        (["--rows", "one-class.jsonl"], "of both kinds"),
    ],
)
def test_bad_input_is_said_and_ends_with_2(tmp_path, monkeypatch, capsys, home, args, said):
    monkeypatch.chdir(tmp_path)
    kept = RowFile.open(tmp_path / "one-class.jsonl")
    for row in simulated(40):
        if row["defective"]:
            kept.add(row)
    assert main(["calibrate", "--model", "nano", *args]) == 2
    assert said in capsys.readouterr().err
    assert len(RowFile.open(kept.path).rows) == len(kept.rows)
