"""Hub ids, against a small hub that runs as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from miniatures import build_miniature

from reason_iad.errors import ModelError
from reason_iad.models.hub import cached_models
from reason_iad.models.loading import open_model

SERVER = Path(__file__).with_name("hub_server.py")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    mini = build_miniature("qwen2_5_vl")
    for part in (mini.model, mini.tokenizer, mini.image_processor):
        part.save_pretrained(folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture
def hub(served, tmp_path, monkeypatch):
    """The address of a running hub in the environment, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # whatever the environment says
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    command = [sys.executable, SERVER, served]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{int(server.stdout.readline())}")
        yield tmp_path / "cache"
        server.terminate()


def test_a_model_is_fetched_by_its_id_without_code_or_pickles_and_works_offline_afterwards(hub, monkeypatch) -> None:
    said: list[str] = []
    model = open_model("there/model", say=said.append)
    assert model.info.name == "there/model"
    assert model.info.version == "0123456789ab"
    assert any(line.startswith("downloading there/model: ") for line in said)
    assert [line for line in said if "needs" in line]
    fetched = {path.name for path in hub.rglob("*") if path.is_symlink() or path.is_file()}
    assert "model.safetensors" in fetched
    assert not {"modeling_evil.py", "pytorch_model.bin"} & fetched
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert open_model("there/model").info.version == "0123456789ab"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gated/model", "is gated: .* Accept them on its page on the hub, then set HF_TOKEN"),
        ("absent/model", "the hub has no model absent/model, or it is private; check the spelling"),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_explained(hub, name, message) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(name)


def test_a_hub_out_of_reach_is_explained(hub, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="the hub cannot be reached and there/model is not"):
        open_model("there/model")


def test_a_download_that_broke_off_is_explained_without_a_hub(hub, monkeypatch) -> None:
    open_model("there/model")
    weights = next(path for path in hub.rglob("model.safetensors"))
    weights.resolve().unlink()
    weights.unlink()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"not wholly, in the cache|half downloaded|holds no weights"):
        open_model("there/model")


def test_a_download_without_room_on_the_disk_is_refused_before_it_begins(hub, monkeypatch) -> None:
    full = SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr("reason_iad.models.hub.shutil", full)
    with pytest.raises(ModelError, match=r"there/model takes .* to download and .* has 0.0 GB free; free some"):
        open_model("there/model")
    assert not list(hub.rglob("model.safetensors"))


def test_no_cache_holds_no_models(hub) -> None:
    assert cached_models() == {}
