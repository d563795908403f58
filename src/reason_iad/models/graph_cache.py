"""Graphs for onnxruntime, written once from the pinned weights and kept in the cache: whole, current, or not at all.

A folder is named after what it was made from: the weights, the adapter, the version of the code that writes it. What
is cut short or of another version is written again, and that is said. Several versions of the program may share a
cache: a graph is removed when nothing has opened it for a month.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import numpy.typing as npt

from reason_iad import weights
from reason_iad.errors import ModelError
from reason_iad.files import home, sha256, sha256_of_file, sync
from reason_iad.languages import told
from reason_iad.models.onnx_writer import Weights
from reason_iad.processor import threads

if TYPE_CHECKING:
    import onnxruntime

_MANIFEST = "graph.json"
_LEFT = ".tmp-"  # before the name of a folder that is being written
_UNUSED = 30 * 86400  # seconds after which a graph that nothing has opened is removed


@dataclass(frozen=True)
class GraphSource:
    """What a graph is made from.

    Attributes:
        name: of the graph and its files.
        version: of the code that writes it.
        digests: SHA-256 of every file that it is written from, and whatever else decides what it computes.
    """

    name: str
    version: int
    digests: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it lies in the cache."""
        key = sha256("\n".join(self.digests))[:12]
        return home() / "graphs" / f"{self.name}-{key}-v{self.version}"


class NoRoomError(ModelError):
    """A graph cannot be kept: the cache is full or may not be written."""


def weights_digest(folder: Path) -> str:
    """SHA-256 of a part's weights, as its manifest has it."""
    manifest = json.loads((folder / weights.MANIFEST).read_text(encoding="utf-8"))
    return " ".join(entry["sha256"] for _, entry in sorted(manifest["files"].items()))


def stored(path: Path) -> Weights:
    """Weights of a file by name, in float32, each read when it is asked for."""
    from safetensors import safe_open

    def read(name: str) -> npt.NDArray[np.float32]:
        opened: Any
        with safe_open(path, framework="np") as opened:  # closed again: what was read would count as held
            return opened.get_tensor(name).astype(np.float32, copy=False)  # type: ignore[no-any-return]

    return read


_opening: dict[Path, tuple[int, Future[onnxruntime.InferenceSession]]] = {}  # begun, with so many threads


def begin(sources: Iterable[GraphSource]) -> None:
    """Begin to open graphs, one after the other, in a thread of their own; `open_graph` takes them over."""
    pool = ThreadPoolExecutor(1)
    for source in sources:
        if _fault(source) is None:
            path, count = source.folder / f"{source.name}.onnx", threads()
            _opening[path] = count, pool.submit(new_session, path, count)
    pool.shutdown(wait=False)


def open_graph(source: GraphSource, write: Callable[[Path], None]) -> onnxruntime.InferenceSession:
    """A session of a graph, which is written where the cache does not hold it whole.

    Args:
        source: what it is made from.
        write: fills an empty folder with `<name>.onnx` and the files beside it.

    Raises:
        NoRoomError: it cannot be kept.
        ModelError: onnxruntime cannot read what was written.
    """
    folder, fault = source.folder, _fault(source)
    path = folder / f"{source.name}.onnx"
    with contextlib.suppress(OSError):  # the cache may be another's, or read-only
        os.utime(folder)
    begun = _opening.pop(path, None)
    if fault is None and begun is not None and begun[0] == threads():
        return begun[1].result()
    if fault is not None:
        try:
            _install(source, write, fault)
        except OSError as error:
            raise NoRoomError(
                f"the {source.name} graph cannot be kept in {folder.parent} ({error.strerror or error}); expected "
                "500 MB and a writable folder: free some, or set REASON_IAD_HOME to another folder"
            ) from error
    return new_session(path, threads())


def new_session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """A session of a graph on the CPU.

    Raises:
        ModelError: onnxruntime cannot read it.
    """
    import onnxruntime

    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to torch in between
    options.log_severity_level = 4  # what goes wrong is raised, too
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base of their own
        raise ModelError(
            f"onnxruntime {onnxruntime.__version__} cannot run {path} ({' '.join(str(error).split())[:200]}); "
            "expected 1.20 or newer: update it, or delete the folder"
        ) from error


@cache
def _share_memory() -> None:
    """One pool for all graphs, which run in turn, and that grows by what is asked for instead of doubling."""
    import onnxruntime

    kind = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(kind, settings)


def faults(source: GraphSource) -> str | None:
    """What is wrong with a graph in the cache by every byte of it; None where nothing is."""
    return _fault(source, full=True)


def _fault(source: GraphSource, full: bool = False) -> str | None:
    """What keeps a graph from being used: by its sizes and the hash of the graph itself, or by every byte."""
    folder = source.folder
    if not folder.is_dir():
        return "it is not there yet"
    try:
        listed = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
        if not listed:
            return f"{_MANIFEST} lists no files"
        for name, (size, digest) in listed.items():
            found = (folder / name).stat().st_size
            if found != size:
                return f"{name} has {found:,} bytes; expected {size:,}"
            if (full or name.endswith(".onnx")) and sha256_of_file(folder / name) != digest:
                return f"{name} has another SHA-256 than when it was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _install(source: GraphSource, write: Callable[[Path], None], fault: str) -> None:
    """Write a graph beside its place and move it there."""
    target = source.folder
    root = target.parent
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root / f".{source.name}.lock"):
        if _fault(source) is None:  # another process has just done so
            return
        tell(f"Preparing the {source.name} for onnxruntime, once ({fault}), in {target}")
        for stale in _stale(source.name, root):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{_LEFT}{source.name}-", dir=root))
        try:
            write(work)
            files = {path.name: (path.stat().st_size, sha256_of_file(path)) for path in sorted(work.iterdir())}
            (work / _MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
            for path in work.iterdir():
                sync(path)
            shutil.rmtree(target, ignore_errors=True)
            work.chmod(0o755)  # a cache may be shared
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _stale(name: str, root: Path) -> Iterator[Path]:
    """Folders that nobody reads any more, seen by the one process that writes this graph.

    They were left by a process that was killed, or not opened for a month: another version of the program, which may
    share the cache, opens its own.
    """
    yield from root.glob(f"{_LEFT}{name}-*")
    for path in root.glob(f"{name}-*"):
        unused = time.time() - path.stat().st_mtime
        if unused > _UNUSED:
            days = round(unused / 86400)
            tell(f"Removing {path}, which nothing has opened for {days} days")
            yield path


def tell(line: str) -> None:
    """Say on standard error what was done without being asked for."""
    sys.stderr.write(told(line) + "\n")
    sys.stderr.flush()
