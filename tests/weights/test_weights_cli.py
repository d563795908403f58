"""`reason-iad weights` on the made-up part."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_weights import Tiny

import reason_iad
from reason_iad import files, weights
from reason_iad.cli import weights as command
from reason_iad.errors import WeightsError


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["weights", *words])
    code: int = args.run(args)
    return code


@pytest.fixture(autouse=True)
def _only_tiny(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command see the made-up part alone."""
    for function in (weights.fetch, weights.verify):
        monkeypatch.setitem(function.__kwdefaults__, "table", tiny.table)


def test_list_names_package_license_state_and_path(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list") == 0
    output = capsys.readouterr().out
    path = files.home() / "weights" / tiny.part.folder_name
    for words in ("tiny-weights==1.0", "MIT", "missing", str(path), "reason-iad weights fetch"):
        assert words in output


def test_fetch_from_a_folder_then_verify(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("verify") == 2
    assert call("fetch", "tiny", "--from", str(tiny.folder)) == 0
    assert call("verify", "tiny") == 0
    assert "cached" in capsys.readouterr().out


def test_verify_reads_every_byte_and_list_does_not(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    call("fetch", "--from", str(tiny.folder))
    (files.home() / "weights" / tiny.part.folder_name / "config.json").write_bytes(b'{"width": 4}')
    capsys.readouterr()
    assert call("list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "cached"
    assert call("verify", "--json") == 2
    [row] = json.loads(capsys.readouterr().out)
    assert row["state"] == "broken"
    assert "config.json" in row["detail"]


def test_json_keeps_progress_out_of_the_output(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    call("fetch", "--json", "--from", str(tiny.folder))
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["package"] == "tiny-weights==1.0"
    assert "Fetching tiny" in captured.err


def test_unknown_name_is_refused() -> None:
    with pytest.raises(WeightsError, match="expected tiny"):
        call("list", "huge")


def test_command_and_cache_import_nothing_heavy() -> None:
    program = (
        "import sys, reason_iad.cli.weights, reason_iad.weights; "
        "print(sorted({'torch', 'numpy', 'onnx', 'gguf', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(reason_iad.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.strip() == "[]"
