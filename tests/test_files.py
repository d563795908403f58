"""Whole files or none, digests that the standard tools agree with, and where the program keeps things."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from reason_iad import files
from reason_iad.errors import InputError
from reason_iad.files import replacing, sha256, sha256_of_file, sha256_of_json, write_whole


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "elsewhere"))
    assert files.home() == tmp_path / "elsewhere"
    monkeypatch.delenv("REASON_IAD_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.home() == tmp_path / ".cache" / "reason-iad"


def test_an_unknown_home_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASON_IAD_HOME", "~nobody-of-that-name/cache")
    with pytest.raises(InputError, match="set REASON_IAD_HOME"):
        files.home()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def half() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_private_from_the_first_byte_and_other_files_are_not(tmp_path: Path) -> None:
    write_whole(tmp_path / "secret", "x", mode=0o600)
    write_whole(tmp_path / "page", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "page").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_keeps_its_line_ends_and_long_names_are_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    write_whole(path, "one\r\ntwo\n")
    assert path.read_bytes() == b"one\r\ntwo\n"


WRITER = """
import sys, pathlib
from reason_iad.files import write_whole
for _ in range(200):
    write_whole(pathlib.Path(sys.argv[1]), sys.argv[2] * 100_000, durable=False)
"""


def test_readers_see_whole_files_while_two_processes_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "a" * 100_000)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        assert path.read_text() in ("a" * 100_000, "b" * 100_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_digests_are_those_of_the_standard_tools(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(data)
    told = subprocess.run(["sha256sum", tmp_path / "data"], capture_output=True, text=True, check=True).stdout
    assert sha256_of_file(tmp_path / "data") == sha256(data) == sha256(data[:7], data[7:]) == told.split()[0]
    assert sha256("Größe") == hashlib.sha256("Größe".encode()).hexdigest()


def test_the_order_of_a_mapping_matters_only_where_it_may(tmp_path: Path) -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert sha256_of_json(one) != sha256_of_json(other)
    assert sha256_of_json(one, sort_keys=True) == sha256_of_json(other, sort_keys=True)
