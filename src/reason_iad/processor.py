"""What this processor is good at, and which arithmetic follows from it.

8-bit products need VNNI (or AMX) and bfloat16 needs its own instructions: without them torch runs plain loops, 8 to 34
and 2 to 8 times slower than float32. So the processor's list of instructions decides, and not a timing, which may
differ by the day.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

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
_TORCH_LIMITS = {"default": "plain", "avx2": "avx2"}  # ATEN_CPU_CAPABILITY
_ONEDNN_LIMITS = {"sse41": "plain", "avx": "plain", "avx2": "avx2", "avx512_core": "avx512"}  # ONEDNN_MAX_CPU_ISA


def multiplies_int8() -> bool:
    """Whether products of 8-bit numbers are faster here than those of float32."""
    return bool(usable() & {"vnni", "amx"})


def multiplies_bfloat16() -> bool:
    """Whether products of bfloat16 numbers are faster here than those of float32."""
    return bool(usable() & {"bfloat16", "amx"})


def usable() -> frozenset[str]:
    """Levels that this processor has and no environment variable forbids.

    Raises:
        InputError: the override names no level.
    """
    given = os.environ.get(OVERRIDE, "").strip().lower()
    if given and given not in LEVELS:
        raise InputError(f"{OVERRIDE} is {given!r}; expected one of {', '.join(LEVELS)}, or nothing")
    limits = [
        given,
        _TORCH_LIMITS.get(os.environ.get("ATEN_CPU_CAPABILITY", "").lower(), ""),
        _ONEDNN_LIMITS.get(os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower(), ""),
    ]
    most = min((LEVELS.index(limit) for limit in limits if limit), default=len(LEVELS))
    return frozenset(level for level in _present() if LEVELS.index(level) <= most)


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
