"""Reports on hand-made runs: what they say is checked against sums over the records."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from made_solver import make, write_questions

from reason_iad.benchmark.ablation import PLAIN, Grid, choose, name_of, preset, simplify
from reason_iad.benchmark.compare import compare_runs, find_runs, load_run, on_common_questions, render_run
from reason_iad.benchmark.pool import answer_here
from reason_iad.benchmark.published import published_results
from reason_iad.benchmark.report import BenchmarkReport
from reason_iad.benchmark.runner import run_questions
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.summary import is_right
from reason_iad.errors import InputError

FULL = Setting(latents="on", injection="on")
HERE = functools.partial(answer_here, make)


@pytest.fixture
def runs(tmp_path):
    questions = write_questions(tmp_path / "data")
    facts = {"seen_categories": ["nut"]}
    run_questions(questions, {PLAIN: tmp_path / "runs/plain", FULL: tmp_path / "runs/full"}, HERE, facts)
    return tmp_path / "runs"


def test_the_summary_is_the_sum_over_the_records(runs):
    run = load_run(runs / "plain")
    found = run.to_json()
    records = run.records.records
    for kind, value in found["accuracy"].items():
        mine = [r["answer"] == r["target"] for r in records if r["type"] == kind]
        assert value == pytest.approx(np.mean(mine), abs=1e-6)
    assert found["macro"] == pytest.approx(np.mean(list(found["accuracy"].values())), abs=1e-6)
    assert (found["n"], found["unreadable"], found["images"]) == (36, 0, 12)
    assert found["seen"]["n"] + found["unseen"]["n"] == 36
    assert found["seen"]["n"] == sum(r["category"] == "nut" for r in records)
    cost = [sum(r["milliseconds"].values()) + 8.0 / 3 for r in records]
    assert found["milliseconds"]["total"] == pytest.approx(np.mean(cost), abs=0.2)
    json.dumps(found, allow_nan=False)


def test_calibration_errors_are_those_of_the_most_likely_option(runs):
    run = load_run(runs / "full")
    records = [r for r in run.records.records if r["type"] == "Anomaly Detection"]
    best, right = [max(r["probabilities"]) for r in records], [r["answer"] == r["target"] for r in records]
    edges = np.minimum((np.array(best) * 10).astype(int), 9)
    expected = sum(
        abs(np.mean(np.array(best)[edges == e]) - np.mean(np.array(right)[edges == e])) * np.mean(edges == e)
        for e in set(edges)
    )
    found = run.summary.calibration
    assert found["Anomaly Detection"].stated == pytest.approx(expected)
    assert found["all"].n == len(run.records.records)


def test_an_error_counts_as_wrong_and_is_listed(runs, tmp_path):
    lost = tmp_path / "data/nut/test/bad/002.png"
    lost.unlink()
    for file in (runs / "plain").glob("records*"):
        file.unlink()
    questions = write_questions(tmp_path / "data")
    lost.unlink()
    run_questions(questions, {PLAIN: runs / "plain"}, HERE, {"seen_categories": None})
    found = load_run(runs / "plain").to_json()
    assert (found["n"], found["unreadable"]) == (36, 3)
    kinds = {record["type"] for record in load_run(runs / "plain").records.failed}
    for kind in kinds:
        right = sum(r["type"] == kind and r["answer"] == r["target"] for r in load_run(runs / "plain").records.answered)
        assert found["accuracy"][kind] == pytest.approx(right / 12, abs=1e-6)
    assert found["unreadable_ids"] == [f"nut/test/bad/002.png#{number}" for number in range(3)]
    assert "unreadable: nut/test/bad/002.png#0: FileNotFoundError" in render_run(load_run(runs / "plain"))


def test_runs_are_compared_on_the_questions_they_share(runs, tmp_path):
    questions = write_questions(tmp_path / "data")
    other = replace(FULL, shots=4)
    run_questions(replace(questions, samples=questions.samples[:5]), {other: runs / "few"}, HERE)
    plain, few = on_common_questions([load_run(runs / "plain"), load_run(runs / "few")])
    assert plain.summary.n == few.summary.n == 15
    found = compare_runs(plain, few)
    right = [[is_right(r) for r in run.records.records] for run in (plain, few)]
    assert found.difference.value == pytest.approx(np.mean(right[1]) - np.mean(right[0]))
    assert found.test.only_second - found.test.only_first == sum(right[1]) - sum(right[0])


def test_the_report_holds_every_run_table_and_plot_and_loads_nothing(runs, tmp_path):
    report = BenchmarkReport.of(find_runs([runs]))
    assert [run.name for run in report.runs] == ["plain", name_of(FULL)]
    page = report.write(tmp_path / "out")
    text = page.read_text()
    for title in (
        "Accuracy by question type",
        "Detection",
        "Difference to plain",
        "Cost",
        "Seen and unseen",
        "Published",
    ):
        assert title in text
        assert title in (tmp_path / "out/report.md").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", text)
    for name in ("accuracy_cost", "reliability", "rewards"):
        svg = (tmp_path / f"out/{name}.svg").read_text()
        points = ElementTree.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}circle")
        assert len(points) > 2


def test_the_table_of_figures_says_what_the_summary_says(runs):
    report = BenchmarkReport.of(find_runs([runs]))
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    macro = next(r for r in rows if (r["run"], r["part"], r["measure"]) == ("plain", "all", "accuracy: macro"))
    assert float(macro["value"]) == pytest.approx(report.runs[0].summary.macro.value)
    assert float(macro["low"]) <= float(macro["value"]) <= float(macro["high"])
    published = [r for r in rows if r["part"] == "published" and r["run"] == "Reason-IAD 7B"]
    assert {r["measure"]: float(r["value"]) for r in published}["accuracy: macro"] == pytest.approx(0.794)
    assert not any(
        r["part"] == "published" for r in csv.DictReader(io.StringIO(replace(report, with_published=False).to_csv()))
    )


def test_the_average_of_each_published_line_is_the_mean_of_its_types():
    for one in published_results():
        assert one.average == pytest.approx(np.mean(list(one.accuracy.values())), abs=0.11), one.method


def test_products_stand_weakest_first_with_what_they_count(runs):
    report = BenchmarkReport.of(find_runs([runs]))
    table = next(one for one in report.tables if one.title == "Products")
    assert table.header == ("product", "images", "questions", "plain", name_of(FULL))
    assert {row[0] for row in table.rows} == {"nut", "bolt"}
    last = [float(row[-1].split()[0]) for row in table.rows]
    assert last == sorted(last)
    for name, images, questions, *_ in table.rows:
        mine = [r for r in report.runs[0].records.records if r["category"] == name]
        assert (int(images), int(questions)) == (len({r["image"] for r in mine}), len(mine))


def test_the_galleries_show_what_all_got_wrong_and_where_two_runs_differ(runs, tmp_path):
    report = BenchmarkReport.of(find_runs([runs]))
    plain, full = ({r["id"]: r for r in run.records.records} for run in report.runs)
    hardest, differing = report.galleries
    both = [name for name in plain if not is_right(plain[name]) and not is_right(full[name])]
    assert f"{len(both)} questions that all 2 runs got wrong" in hardest.note
    assert all(not good for one in hardest.shown for _, _, good in one.answers)
    lost = [name for name in plain if is_right(plain[name]) and not is_right(full[name])]
    won = [name for name in plain if not is_right(plain[name]) and is_right(full[name])]
    assert f"{len(lost)} lost and {len(won)} won" in differing.note
    assert all({good for _, _, good in one.answers} == {True, False} for one in differing.shown)
    page = report.write(tmp_path / "out").read_text()
    assert "is not there" in page  # the made images are no pictures


def test_a_picture_stands_in_the_page_itself(tmp_path):
    from PIL import Image

    questions = write_questions(tmp_path / "data")
    for sample in questions.samples:
        Image.new("RGB", (300, 120), (200, 30, 30)).save(sample.image)
    run_questions(questions, {PLAIN: tmp_path / "run"}, HERE)
    page = BenchmarkReport.of([load_run(tmp_path / "run")]).write(tmp_path / "out").read_text()
    found = re.findall(r'<img src="(data:image/jpeg;base64,[^"]+)"', page)
    assert found
    assert "img-src data:" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", page)


def test_markup_in_a_name_stays_text(runs):
    runs_found = find_runs([runs])
    hostile = replace(runs_found[0], name="<script>alert(1)</script>")
    report = BenchmarkReport.of([hostile, runs_found[1]])
    assert "<script>" not in report.to_html()


def test_a_folder_without_runs_or_an_unknown_baseline_is_refused(runs, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        find_runs([tmp_path / "nothing"])
    with pytest.raises(InputError, match="expected one of plain"):
        BenchmarkReport.of(find_runs([runs]), baseline="best")
    assert BenchmarkReport.of(find_runs([runs]), baseline=name_of(FULL)).runs[0].name == name_of(FULL)


def test_the_grid_has_each_different_run_once():
    grid = Grid().settings(PLAIN)
    # 0 shots: 3 knowledge x (off, paper, paper+i, on, on+i); 1 and 4 shots with evidence: the same again, twice
    assert len(grid) == 3 * 5 * 3
    assert len({one.fingerprint for one in grid.values()}) == len(grid)
    assert all(one.injection == "off" for one in grid.values() if one.latents == "off")
    seeing = Grid().settings(PLAIN, sees_references=True)
    assert len(seeing) == 3 * 5 * 5  # references without evidence are another run there


def test_presets_begin_with_the_plain_model_and_steps_end_with_the_full_method():
    steps = preset("steps", Setting())
    assert next(iter(steps)) == "plain"
    assert list(steps.values())[-1] == replace(FULL, shots=4)
    assert name_of(simplify(replace(FULL, evidence="off"))) == "retrieved+latents+injection"
    assert list(choose(steps, ["plain", "oracle"])) == ["plain", "oracle"]
    with pytest.raises(InputError, match="no setting nothing"):
        choose(steps, ["nothing"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shots": "1"}, "a whole number"), ({"shots": -1}, "0 to 64"),
        ({"latents": "maybe"}, "expected one of off"),
        ({"shot": 1}, "found the settings"), ({"templates": "best"}, "random, similar"),
        ({"seed": True}, "a whole number"),
    ],
)  # fmt: skip
def test_settings_without_meaning_are_refused(values, said):
    with pytest.raises(InputError, match=said):
        Setting.from_mapping(values)


def test_the_thought_preset_has_every_form_and_every_control_over_one_context_with_none_first():
    found = preset("thought", replace(Setting(), shots=4, category="given"))
    assert list(found) == [
        "4shot+retrieved", "4shot+retrieved+details", "4shot+retrieved+anchored+details", "4shot+retrieved+latents",
        "4shot+retrieved+latents+anchored", "4shot+retrieved+latents+details",
        "4shot+retrieved+latents+anchored+details", "4shot+retrieved+latents+random-details",
        "4shot+retrieved+latents+depth0.25", "4shot+retrieved+walk", "4shot+retrieved+sample",
        "4shot+retrieved+paper+injection", "4shot+retrieved+latents+injection",
    ]  # fmt: skip
    assert len({one.context for one in found.values()}) == 1  # all are asked from the same stored prompt
    assert len({one.fingerprint for one in found.values()}) == len(found)
    served = preset("thought", replace(Setting(), model="openai:x", shots=4))
    assert list(served) == ["4shot+retrieved", "4shot+retrieved+details", "4shot+retrieved+random-details"]


def test_the_log_probability_of_the_right_option_is_compared_image_by_image(runs):
    plain, full = (load_run(runs / name) for name in ("plain", "full"))
    found = compare_runs(plain, full)
    logs = [
        math.log(two["probabilities"][two["target"]]) - math.log(one["probabilities"][one["target"]])
        for one, two in zip(plain.records.records, full.records.records, strict=True)
        if "error" not in one and "error" not in two
    ]
    assert found.log_gain.value == pytest.approx(sum(logs) / len(logs), abs=1e-4)
    assert found.log_gain.n == len(logs)
    assert found.log_gain.low <= found.log_gain.value <= found.log_gain.high
    table = next(one for one in BenchmarkReport.of([plain, full]).tables if one.title.startswith("Difference"))
    assert "log-probability" in table.header
