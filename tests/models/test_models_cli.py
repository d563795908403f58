"""The commands about models: what is listed, and that every bad input ends with a message and exit code 2."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from miniatures import build_miniature
from PIL import Image

from reason_iad.cli import app, inspect
from reason_iad.cli.progress import Progress
from reason_iad.models import hub, memory
from reason_iad.models.loading import LoadOptions, open_model


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    mini = build_miniature("qwen2_5_vl")
    for part in (mini.model, mini.tokenizer, mini.image_processor):
        part.save_pretrained(folder)
    return folder


class Terminal(io.StringIO):
    """A screen that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def image(tmp_path) -> Path:
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def nothing_cached(monkeypatch) -> None:
    monkeypatch.setattr(hub, "cached_models", dict)


def inspect_with(image: Path, *arguments: object) -> int:
    """`reason-iad inspect`, up to the loaded model."""
    args = app.build_parser().parse_args(["inspect", str(image), *map(str, arguments)])

    def load(args, say):
        options = LoadOptions(args.dtype, args.device, args.quantization, args.max_image_tokens)
        open_model(args.model, options, say)
        raise SystemExit("loaded")

    return app.guarded(lambda: inspect.run(args, load_inspector=load))


def test_families_and_what_fits_are_listed(nothing_cached, monkeypatch, capsys) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20_000_000_000)
    assert app.main(["models", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    lines = {line.split("/")[1].split()[0]: line for line in said.splitlines() if "/" in line and " B " in line}
    assert said.startswith("this machine: cpu, 20.0 GB free; --dtype auto is float32 here")
    assert lines["Qwen2.5-VL-3B-Instruct"].split()[-2:] == ["yes", "-"]
    assert "--dtype bfloat16" in lines["Qwen2.5-VL-7B-Instruct"]
    assert lines["Qwen2.5-VL-72B-Instruct"].split()[-2:] == ["no", "-"]


def test_cached_models_of_the_families_are_found_and_others_left_out(stored, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    cached = {"Qwen/Qwen2.5-VL-3B-Instruct": (stored, 7_500_000_000), "me/tuned": (stored, 9), "a/text": (tmp_path, 5)}
    monkeypatch.setattr(hub, "cached_models", lambda: dict(cached))
    assert app.main(["models", "--cached", "--json", "--device", "cpu"]) == 0
    found = {row["model"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert set(found) == {"Qwen/Qwen2.5-VL-3B-Instruct", "me/tuned"}
    assert found["Qwen/Qwen2.5-VL-3B-Instruct"]["cached_bytes"] == 7_500_000_000
    assert found["me/tuned"]["family"] == "Qwen2.5-VL"


def test_memory_is_told_before_loading_and_stays_on_the_screen(stored, image, capsys) -> None:
    with pytest.raises(SystemExit, match="loaded"):
        inspect_with(image, "--model", stored, "--dtype", "bfloat16")
    said = capsys.readouterr().err.splitlines()
    assert " needs " in said[0]
    assert " in bfloat16 " in said[0]
    assert said[1].startswith("reason-iad: loading ")


def test_on_a_terminal_the_memory_line_is_not_overwritten(stored) -> None:
    terminal = Terminal()
    open_model(str(stored), say=Progress(1, terminal).say)
    first, rest = terminal.getvalue().split("\n")
    assert " needs " in first
    assert rest.startswith("\r\x1b[Kloading ")


def with_config(stored: Path, folder: Path, **changes) -> Path:
    folder.mkdir()
    for file in stored.iterdir():
        (folder / file.name).symlink_to(file)
    config = {**json.loads((stored / "config.json").read_text()), **changes}
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


@pytest.mark.parametrize(
    ("fault", "message"),
    [("text", "reads text alone"), ("processor", "holds no image processor"), ("weights", "half downloaded")],
)
def test_a_folder_that_cannot_be_loaded_ends_with_code_2(fault, message, stored, image, tmp_path, capsys) -> None:
    changes = {"model_type": "qwen2", "vision_config": None} if fault == "text" else {}
    folder = with_config(stored, tmp_path / "model", **changes)
    if fault == "processor":
        (folder / "preprocessor_config.json").unlink()
    if fault == "weights":
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").write_bytes((stored / "model.safetensors").read_bytes()[:5000])
    assert app.main(["inspect", str(image), "--model", str(folder)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("reason-iad: error: ")
    assert said.count("\n") == 1


def test_too_little_memory_ends_with_code_2(stored, image, monkeypatch, capsys) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    assert inspect_with(image, "--model", stored) == 2
    assert "cpu has 0.0 GB free" in capsys.readouterr().err


def test_a_hub_id_that_cannot_be_had_ends_with_code_2(image, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert inspect_with(image, "--model", "some/model") == 2
    assert "the hub cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("--model", "what"), ("--model", "openai:"), ("--max-image-tokens", "0"), ("--dtype", "int2"),
     ("--quantization", "3bit"), ("--max-image-tokens", "many")],
)  # fmt: skip
def test_options_without_meaning_end_with_code_2(image, arguments, capsys) -> None:
    assert app.main(["inspect", str(image), *arguments]) == 2
    assert capsys.readouterr().err.startswith("reason-iad: error: ")
