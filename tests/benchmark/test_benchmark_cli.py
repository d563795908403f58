"""The commands as a user types them, with a stand-in for the model."""

from __future__ import annotations

import json

import pytest
from made_solver import MadeSolver, write_questions

from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.solver import InspectorSolver
from reason_iad.cli.app import main
from reason_iad.cli.benchmark_runs import usual_workers


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(InspectorSolver, "load", classmethod(lambda cls, *_: MadeSolver()))
    write_questions(tmp_path / "data")
    return tmp_path / "data"


def mmad(data, out, *more):
    options = ["--root", str(data), "--questions", str(data / "questions.json"), "--out", str(out)]
    return main(["benchmark", "mmad", *options, *more])


def test_the_summary_is_one_object_with_what_was_promised(data, tmp_path, capsys):
    assert mmad(data, tmp_path / "run", "--shots", "0", "--json") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert set(found["accuracy"]) == {"Anomaly Detection", "Defect Classification", "Object Analysis"}
    assert (found["n"], found["unreadable"]) == (36, 0)
    assert 0 <= found["macro"] <= 1
    assert "36 questions asked" in err
    assert mmad(data, tmp_path / "run", "--shots", "0") == 0
    assert "36 kept from before" in capsys.readouterr().err


def test_a_file_gives_options_and_the_command_line_wins(data, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text('root = "data"\nquestions = "data/questions.json"\nout = "run"\nshots = 1\nlatents = "off"\n')
    assert main(["benchmark", "mmad", "--config", str(config), "--latents", "paper", "--limit", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["setting"]["shots"], found["setting"]["latents"], found["n"]) == (1, "paper", 6)
    assert (tmp_path / "run/run.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("shot = 1", "names ['shot']"), ("shots = [", "cannot be read"), ('workers = "2"', "whole number above 0")],
)
def test_a_wrong_file_is_refused_with_its_fault(data, tmp_path, capsys, text, said):
    (tmp_path / "run.toml").write_text(text)
    assert main(["benchmark", "mmad", "--config", str(tmp_path / "run.toml")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--shard", "2/2"], "expected i/n"),
        (["--limit", "0"], "above 0"),
        (["--shots", "-1"], "from 0 to 64"),
        (["--reason", "never", "--shots", "0"], "nothing to compare"),
        (["--reason", "never", "--evidence", "off"], "nothing to compare"),
    ],
)
def test_wrong_options_are_refused(data, tmp_path, capsys, more, said):
    assert mmad(data, tmp_path / "run", *more) == 2
    assert said in capsys.readouterr().err


def test_a_missing_path_names_the_option(capsys):
    assert main(["benchmark", "mmad", "--out", "x"]) == 2
    assert "--root is missing" in capsys.readouterr().err


def test_an_image_that_is_gone_ends_with_exit_code_two_and_is_listed(data, tmp_path, capsys):
    lost = data / "nut/test/bad/002.png"
    real = MadeSolver.answer

    def losing(self, unit):
        lost.unlink(missing_ok=True)
        return real(self, unit)

    MadeSolver.answer = losing
    try:
        assert mmad(data, tmp_path / "run") == 2
    finally:
        MadeSolver.answer = real
    assert "unreadable: nut/test/bad/002.png#0" in capsys.readouterr().out


def test_an_ablation_is_listed_run_and_reported(data, tmp_path, capsys):
    assert main(["benchmark", "ablate", "--list"]) == 0
    assert capsys.readouterr().out.startswith("plain ")
    common = ["--root", str(data), "--questions", str(data / "questions.json"), "--out", str(tmp_path / "grid")]
    assert main(["benchmark", "ablate", *common, "--only", "plain", "retrieved"]) == 0
    assert (
        main(["benchmark", "ablate", *common, "--grid-knowledge", "oracle", "--grid-shots", "0", "--only", "oracle"])
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "grid").iterdir()) == ["oracle", "plain", "retrieved"]
    capsys.readouterr()
    assert main(["benchmark", "report", str(tmp_path / "grid"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in found["runs"]] == ["plain", "oracle", "retrieved"]
    assert {one["baseline"] for one in found["differences"]} == {"plain"}
    assert main(["benchmark", "report", str(tmp_path / "grid"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/report.html").exists()


def test_a_preset_and_a_grid_at_once_are_refused(capsys):
    assert main(["benchmark", "ablate", "--list", "--preset", "parts", "--grid-shots", "1"]) == 2
    assert "expected one of them" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["benchmark", "report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_detection_of_a_folder_that_is_no_data_set_is_refused(tmp_path, capsys):
    assert main(["benchmark", "detect", "--root", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "expected good/" in capsys.readouterr().err


def test_what_a_server_cannot_do_is_off_and_said_and_refused_where_it_was_asked_for(
    data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert mmad(data, tmp_path / "run", "--model", "openai:x", "--json") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["setting"]["latents"], found["setting"]["injection"]) == ("off", "off")
    assert "which need the inside of the model, are off" in err
    assert mmad(data, tmp_path / "other", "--model", "openai:x", "--latents", "on") == 2
    assert "found --latents on" in capsys.readouterr().err
    assert main(["benchmark", "ablate", "--list", "--model", "openai:x"]) == 0
    assert "latents on" not in capsys.readouterr().out


def test_precision_and_device_reach_the_model(data, tmp_path, monkeypatch):
    seen = []

    def load(cls, options=None, cache=None, threads=1):
        seen.append((options.dtype, options.device, options.model))
        return MadeSolver()

    monkeypatch.setattr(InspectorSolver, "load", classmethod(load))
    assert mmad(data, tmp_path / "run", "--dtype", "float32", "--device", "cpu") == 0
    assert seen == [("float32", "cpu", "nano")]


def test_the_bundled_model_answers_on_every_core_that_has_memory_for_it(monkeypatch):
    monkeypatch.setattr("reason_iad.processor.cores", lambda: 6)
    monkeypatch.setattr("reason_iad.models.memory.free_bytes", lambda _: 9 * 2**30)
    assert usual_workers(Setting(), 1) == 4
    assert usual_workers(Setting(), 2) == 3
    assert usual_workers(Setting(), 8) == 1
    assert usual_workers(Setting(model="openai:x", latents="off"), 1) == 1
    assert usual_workers(Setting(device="cuda"), 1) == 1
    monkeypatch.setattr("reason_iad.models.memory.free_bytes", lambda _: None)
    assert usual_workers(Setting(), 1) == 1


def panel(data, out, *more):
    names = ("openai:a", "openai:b", "openai:c")
    flags = [flag for name in names for flag in ("--model", name)]
    return mmad(data, out, *flags, "--shots", "1", *more)


def test_a_panel_asks_every_model_and_joins_them_and_goes_on_where_it_was_stopped(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert panel(data, tmp_path / "run", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["n"] == 36
    records = [json.loads(line) for line in (tmp_path / "run/records-0-of-1.jsonl").read_text().splitlines()]
    assert len({record["key"] for record in records}) == 36
    names = {"openai:a", "openai:b", "openai:c"}
    for record in records:
        said = {voice["name"] for voice in record["voices"]}
        assert names <= said
        assert ("the comparison with good parts" in said) == ("Detection" in record["question"])
        assert sum(record["probabilities"]) == pytest.approx(1)
    assert panel(data, tmp_path / "run") == 0
    assert capsys.readouterr().err.count("36 kept from before") == 3
    again = [json.loads(line) for line in (tmp_path / "run/records-0-of-1.jsonl").read_text().splitlines()]
    assert again == records


def test_a_panel_with_a_model_that_there_is_not_is_refused_before_anything_is_asked(data, tmp_path, capsys):
    assert mmad(data, tmp_path / "run", "--model", "nano", "--model", "no such model") == 2
    assert "is not known" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_settings_that_an_ablation_varies_itself_are_refused(capsys):
    assert main(["benchmark", "ablate", "--list", "--preset", "thought", "--details", "on"]) == 2
    assert "found --details" in capsys.readouterr().err
    assert main(["benchmark", "ablate", "--list", "--shots", "2"]) == 2
    assert "--grid-shots" in capsys.readouterr().err
    assert main(["benchmark", "ablate", "--list", "--preset", "thought", "--shots", "4"]) == 0
    assert "4shot+retrieved+walk" in capsys.readouterr().out
