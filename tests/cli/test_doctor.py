"""`reason-iad doctor`: it says what is there, and what is missing with its remedy."""

from __future__ import annotations

import json

import pytest

from reason_iad import weights
from reason_iad.cli import doctor
from reason_iad.cli.app import main


def test_missing_weights_end_in_exit_code_2_with_the_command_that_fetches_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "empty"))
    assert main(["doctor"]) == 2
    told = capsys.readouterr()
    assert "missing: weights: fetch them: reason-iad weights fetch vit-s14" in told.err
    assert "not measured" in told.out
    assert not (tmp_path / "empty").exists()


def test_a_part_that_is_not_installed_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_NEEDED", {"no_such_module": "no-such-package"})
    monkeypatch.setattr(doctor, "_OPTIONAL", {"no_such_extra": ("flying", "pip install wings")})
    assert main(["doctor", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["optional parts"] == {"no_such_extra": "flying: pip install wings"}
    assert {"name": "parts", "value": {}, "remedy": "install them: pip install no-such-package"} in [
        {**problem, "value": {}} for problem in found["problems"]
    ]


def test_too_little_memory_is_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    monkeypatch.setattr("reason_iad.models.memory.free_bytes", lambda device: int(1e9))
    assert main(["doctor"]) == 2
    assert "memory: 1.0 GB are free; an inspection holds 1.6 GB" in capsys.readouterr().err


def test_an_override_that_cannot_be_followed_ends_in_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("reason_iad.processor._present", lambda: frozenset({"plain", "avx2"}))
    monkeypatch.setenv("REASON_IAD_PROCESSOR", "amx")
    assert main(["doctor"]) == 2
    assert "which this processor lacks; it has plain, avx2" in capsys.readouterr().err


def test_the_expected_seconds_grow_by_every_step():
    found = doctor.expected({"towers": 0.1, "prompt": 0.6, "step": 0.2})
    assert found == {"seconds_without_latents": 1.0, "seconds_with_all_steps": 3.0}


@pytest.mark.weights
def test_with_everything_there_it_measures_and_ends_well(capsys):
    if any(status.state != "cached" for status in weights.verify(full=False)):
        pytest.skip("the bundled weights are not in the cache: run `reason-iad weights fetch`")
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert set(found["weights"].values()) == {"cached"}
    assert found["inspection"]["seconds_with_all_steps"] > found["inspection"]["seconds_without_latents"] > 0
    assert found["arithmetic"].startswith("weights ")
