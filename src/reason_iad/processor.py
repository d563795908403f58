"""What this processor is good at, and which arithmetic follows from it.

8-bit products need VNNI (or AMX) and bfloat16 needs its own instructions: without them torch runs plain loops, 8 to 34
and 2 to 8 times slower than float32. So the processor's list of instructions decides, and not a timing, which may
differ by the day. `docs/processors.md` holds what was measured.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from reason_iad.errors import InputError

OVERRIDE = "REASON_IAD_PROCESSOR"  # the most that may be used: one of `LEVELS`
LEVELS = ("plain", "avx2", "avx512", "vnni", "bfloat16", "amx")  # each has all before it
_FLAGS = {  # what the kernel calls the instructions that each level brings; any of them does
    "avx2": {"avx2"},
    "avx512": {"avx512f"},
    "vnni": {"avx512_vnni", "avx_vnni"},
    "bfloat16": {"avx512_bf16"},
    "amx": {"amx_int8", "amx_bf16"},
}
_TITLES = {  # as people know them, by any name that a kernel has for them
    "AVX2": {"avx2"},
    "AVX512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bfloat16": {"avx512_bf16", "bf16"},
    "AMX": {"amx_int8", "amx_bf16"},
    "ARM dot product": {"asimddp"},
}
_TORCH_LIMITS = {"default": "plain", "avx2": "avx2"}  # ATEN_CPU_CAPABILITY
_ONEDNN_LIMITS = {"sse41": "plain", "avx": "plain", "avx2": "avx2", "avx512_core": "avx512"}  # ONEDNN_MAX_CPU_ISA


@dataclass(frozen=True)
class Arithmetic:
    """How the bundled model computes, each part for itself.

    Attributes:
        weights: of the language model, with the stored keys and values: `onnxruntime` in float32, or torch in
            `float32` or `bfloat16`.
        towers: the vision towers: `onnxruntime` in float32, or torch in `float32` or `bfloat16`.
    """

    weights: Literal["onnxruntime", "float32", "bfloat16"] = "onnxruntime"
    towers: Literal["onnxruntime", "float32", "bfloat16"] = "onnxruntime"

    def __str__(self) -> str:
        """Words for a table."""
        names = {
            "onnxruntime": "float32 by onnxruntime",
            "float32": "float32 by torch",
            "bfloat16": "bfloat16 by torch",
        }
        return f"weights {names[self.weights]}, towers {names[self.towers]}"


IN_TORCH = Arithmetic("float32", "float32")  # as any device can compute


def choose(exact: bool = False) -> Arithmetic:
    """The arithmetic that suits this processor: float32, and less only where that is faster.

    Args:
        exact: float32 everywhere, so that every machine gives the same answers.

    Raises:
        InputError: the override names no level, or one that the processor lacks.
    """
    if exact or "amx" not in usable():
        return Arithmetic()
    return Arithmetic("bfloat16", "bfloat16")


def usable() -> frozenset[str]:
    """Levels that this processor has and no environment variable forbids.

    Raises:
        InputError: the override names no level, or one that the processor lacks.
    """
    given = os.environ.get(OVERRIDE, "").strip().lower()
    if given and given not in LEVELS:
        raise InputError(f"{OVERRIDE} is {given!r}; expected one of {', '.join(LEVELS)}, or nothing")
    if given and given not in _present():
        has = ", ".join(level for level in LEVELS if level in _present())
        raise InputError(f"{OVERRIDE} is {given!r}, which this processor lacks; it has {has}: name one, or unset it")
    limits = [
        given,
        _TORCH_LIMITS.get(os.environ.get("ATEN_CPU_CAPABILITY", "").lower(), ""),
        _ONEDNN_LIMITS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower(), ""),
    ]
    most = min((LEVELS.index(limit) for limit in limits if limit), default=len(LEVELS))
    return frozenset(level for level in _present() if LEVELS.index(level) <= most)


def abilities() -> dict[str, bool]:
    """Which instructions for matrix products this processor has, by the names that people know."""
    found = _instructions()
    return {title: bool(names & found) for title, names in _TITLES.items()}


def threads() -> int:
    """Threads that compute: torch's, or what they will be where torch is not imported yet."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(given), cores()) if given.isdigit() and int(given) else cores()


def cores() -> int:
    """Cores that this process may use; two threads of one core count once where the system tells."""
    may = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(siblings.format(cpu)).read_text(encoding="ascii") for cpu in may})
    except OSError:
        return len(may)


def model_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def _present() -> frozenset[str]:
    found = _instructions()
    return frozenset({"plain", *(level for level, names in _FLAGS.items() if names & found)})


def _instructions() -> set[str]:
    """Names of the instructions that this processor has, as Linux lists them; elsewhere as torch does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        import torch

        listed: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has no list
        return {name.replace("avx512_f", "avx512f") for name, has in listed.items() if has is True}
