"""A number by one command, and its card as another checks it."""

from __future__ import annotations

import json

import pytest
from made_solver import MadeSolver, write_questions

from reason_iad.benchmark.solver import InspectorSolver
from reason_iad.cli.app import main


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(InspectorSolver, "load", classmethod(lambda cls, *_: MadeSolver()))
    write_questions(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def made(data, tmp_path, capsys):
    """A finished reproduction; what it printed."""
    code = main(["benchmark", "reproduce", "mmad", *paths(data), "--out", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def paths(data):
    return ["--root", str(data), "--questions", str(data / "questions.json")]


def test_it_says_what_it_will_take_before_it_starts_and_prints_the_table_beside_the_published_ones(made, tmp_path):
    out, err = made
    lines = err.splitlines()
    order = [
        next(number for number, line in enumerate(lines) if word in line)
        for word in ("data: 36 questions about 12 images", "memory: ", "time: 36 questions in 4 settings", "card: ")
    ]
    assert order == sorted(order)
    assert "MMAD has 39,672 questions" in err
    for name in ("plain", "knowledge", "evidence", "full"):
        assert f"| **{name}** (here) |" in out
    assert "| Anomaly-LR 7B |" in out
    assert "yes: 20 % of MMAD" in out
    assert "nothing here ranks against the published figures" in out
    assert (tmp_path / "out/reproduce.md").read_text() == out.rstrip("\n") + "\n" or out.startswith("# nano")
    assert (tmp_path / "out/report/report.html").exists()


def test_the_card_holds_what_another_needs(made, tmp_path):
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert set(card["results"]) == {"plain", "knowledge", "evidence", "full"}
    for result in card["results"].values():
        assert result["n"] == 36
        low, value, high = (result["official_average"][name] for name in ("low", "value", "high"))
        assert low <= value <= high
    assert {"reason-iad", "python", "torch"} <= card["software"].keys()
    assert card["hardware"]["cores"] >= 1
    assert len(card["data"]["sha256"]) == 64
    assert card["content"]["full"]["knowledge"]
    assert card["content"]["plain"]["knowledge"] == ""
    assert all(len(spot) == 12 for spot in card["spot"].values())


def test_a_true_card_is_verified_and_asked_again(made, data, tmp_path, capsys):
    assert main(["benchmark", "verify", str(tmp_path / "out"), *paths(data)]) == 0
    out = capsys.readouterr().out
    assert "same: full, from its records: figures and answers of 36 records" in out
    assert "same: question file: the same bytes" in out
    assert "same: evidence, asked again: 12 of 12 answers" in out
    assert "DIFFERS" not in out


def test_a_changed_answer_figure_or_image_does_not_pass(made, data, tmp_path, capsys):
    out = tmp_path / "out"
    records = out / "full/records-0-of-1.jsonl"
    before = records.read_text()
    first = json.loads(before.splitlines()[0])
    records.write_text(before.replace(f'"answer": {first["answer"]}', f'"answer": {1 - first["answer"]}', 1))
    assert main(["benchmark", "verify", str(out)]) == 1
    assert "DIFFERS: full, from its records" in capsys.readouterr().out
    records.write_text(before)
    card = json.loads((out / "card.json").read_text())
    card["results"]["plain"]["official_average"]["value"] += 0.01
    (tmp_path / "forged.json").write_text(json.dumps(card))
    assert main(["benchmark", "verify", str(out)]) == 0
    (out / "card.json").write_text(json.dumps(card))
    assert main(["benchmark", "verify", str(out)]) == 1
    assert "DIFFERS: plain, from its records: other official_average" in capsys.readouterr().out
    name = card["spot"]["plain"][0]["id"].rpartition("#")[0]
    (data / name).write_bytes(b"another image")
    assert main(["benchmark", "verify", str(tmp_path / "forged.json"), *paths(data)]) == 1
    assert "3 have another key" in capsys.readouterr().out


def test_it_goes_on_where_it_was_stopped_and_a_dry_run_asks_two_images_only(data, tmp_path, capsys):
    options = ["benchmark", "reproduce", "mmad", *paths(data), "--out", str(tmp_path / "out")]
    assert main([*options, "--dry-run"]) == 0
    assert "time: 36 questions" in capsys.readouterr().err
    assert not (tmp_path / "out/card.json").exists()
    lines = (tmp_path / "out/plain/records-0-of-1.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert main(options) == 0
    assert main([*options, "--dry-run"]) == 0  # nothing of the finished run is lost
    assert main(["benchmark", "verify", str(tmp_path / "out")]) == 0


def test_what_is_no_card_and_a_card_without_runs_are_refused(tmp_path, capsys):
    (tmp_path / "card.json").write_text("[]")
    assert main(["benchmark", "verify", str(tmp_path / "card.json")]) == 2
    assert "expected a card written by" in capsys.readouterr().err
    (tmp_path / "card.json").write_text(json.dumps({"format": 1, "results": {}, "software": {}}))
    assert main(["benchmark", "verify", str(tmp_path / "card.json")]) == 2
    assert "nothing to check" in capsys.readouterr().err
