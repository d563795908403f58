"""Every test here gets a made-up part, its wheel, and a cache folder of its own."""

import hashlib
from pathlib import Path

import pytest
from made_weights import EXTRA, PAYLOAD, Tiny, build_wheel, double

from reason_iad.weights.source import PinnedFile, Wheel
from reason_iad.weights.table import Part


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REASON_IAD_WEIGHTS_SOURCE", raising=False)
    contents = {"tiny_weights/data/payload.bin": PAYLOAD, "tiny_weights/data/config.json": EXTRA}
    files = tuple(PinnedFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items())
    folder = tmp_path / "wheels"
    folder.mkdir()
    made = Tiny(folder, Part("tiny", "a test", Wheel("tiny-weights", "1.0", 9000), files, "MIT", double, 1))
    build_wheel(made.wheel, {"tiny_weights/a/config.json": b"another file of that name", **contents})
    return made
