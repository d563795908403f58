"""A tiny made-up part and a real wheel around it."""

import base64
import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.weights.table import Part

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
