"""The archive for plants without a network: whole, checked by its own script, installed where there is no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from reason_iad import __version__
from reason_iad.cli import bundle
from reason_iad.cli.app import main


def unpacked(tmp_path: Path) -> Path:
    """An archive of two small files, unpacked."""
    files = []
    for place, text in (("wheels/a.whl", "a"), ("home/weights/part/manifest.json", "{}")):
        path = tmp_path / place.replace("/", "_")
        path.write_text(text)
        files.append((path, place))
    script = bundle._INSTALL.format(version=__version__, extras="[pdf]", python=sys.executable)
    bundle.write_archive(tmp_path / "x.tar", "reason-iad-x", files, script)
    with tarfile.open(tmp_path / "x.tar") as archive:
        archive.extractall(tmp_path / "out", filter="data")
    return tmp_path / "out" / "reason-iad-x"


def test_the_archive_says_the_hash_of_each_file_and_its_script_can_be_run(tmp_path):
    folder = unpacked(tmp_path)
    assert (folder / "home" / "weights" / "part" / "manifest.json").read_text() == "{}"
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert checked.stdout.count("OK") == 2
    assert (folder / "install.sh").stat().st_mode & 0o111
    subprocess.run(["sh", "-n", folder / "install.sh"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", folder / "install.sh"], check=True)


def test_a_damaged_archive_is_refused_before_anything_is_installed(tmp_path):
    folder = unpacked(tmp_path)
    (folder / "wheels" / "a.whl").write_text("b")
    target = tmp_path / "target"
    done = subprocess.run(["sh", folder / "install.sh", target], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a file is damaged; copy the archive again" in done.stderr
    assert not target.exists()


def test_versions_are_those_of_this_environment():
    pins = bundle.installed()
    assert any(re.fullmatch(r"torch==[\d.]+.*", pin) for pin in pins)
    assert not any(pin.startswith("reason-iad==") for pin in pins)
    assert len(pins) == len({pin.split("==")[0] for pin in pins})


def test_what_is_no_wheel_and_no_place_is_named(tmp_path, capsys):
    assert main(["bundle", "--out", str(tmp_path / "x.tar"), "--wheel", str(tmp_path / "x.whl")]) == 2
    assert "is no wheel" in capsys.readouterr().err
    assert main(["bundle", "--out", str(tmp_path / "none" / "x.tar")]) == 2
    assert "does not exist; choose another place" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.weights
def test_the_bundle_installs_and_inspects_in_an_empty_network_namespace(tmp_path):
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    assert main(["bundle", "--out", str(tmp_path / "b.tar")]) == 0
    with tarfile.open(tmp_path / "b.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    alone, target = ["unshare", "-n", "env", "-i", "PATH=/usr/bin:/bin", f"PYTHON={sys.executable}"], tmp_path / "iad"
    subprocess.run([*alone, tmp_path / f"reason-iad-{__version__}" / "install.sh", target], check=True)
    report = tmp_path / "report"
    subprocess.run([*alone, target / "reason-iad", "demo", "--out", report], check=True)
    assert (report / "index.html").is_file()
