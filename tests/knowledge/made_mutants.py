"""Texts spoiled in the ways that files are: bits turned, cut, repeated, spliced, with signs that trouble readers.

`REASON_IAD_MUTANTS=10000 pytest -s tests/*/test_*_mutants.py` is the long form of every test that uses them; it prints
what came of the mutants, the slowest one, and the peak memory of the process.
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

MUTANTS = int(os.environ.get("REASON_IAD_MUTANTS", "0"))
SLOWEST = 5.0  # seconds of the processor for one mutant
_SIGNS = (
    "\0 \r \r\n \n\n \" ' ` ; , | \t : # - --- { } [ ] &a *a !!python/object:x <<: % \\ \\u0000 \\ud800 null NaN 1e999"
)
_TROUBLE = (
    *(sign.encode() for sign in _SIGNS.split(" ")),
    *(b"-1", b"true", b"=1+1", b"../..", b"n/a", b"sep=;\n", b"|---|---|\n", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf"),
    *("\u202e".encode(), "蓋".encode(), "\U0001f600".encode()),
    *(b"(" * 50, b"[" * 3000, b'{"a":' * 3000, b" " * 5000, b"A" * 5000),
)
Way = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def _flip(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 80)]


def _repeat(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, 200)] * rng.choice((1, 2, 50))


def _trouble(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(data) + 1)
        data[start : start + rng.choice((0, 0, 1, 10))] = rng.choice(_TROUBLE)


def _splice(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def _swap_lines(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    rng.shuffle(lines)
    data[:] = b"\n".join(lines)


WAYS: tuple[Way, ...] = (_flip, _cut, _drop, _repeat, _trouble, _splice, _swap_lines)


def spoiled(seeds: Sequence[bytes], count: int, seed: int = 0) -> Iterable[bytes]:
    """`count` mutants of some seeds, each spoiled in one to three ways."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 3))):
            if data:
                rng.choice(WAYS)(data, rng, seeds)
        yield bytes(data)


def run_mutants(
    name: str, mutants: Iterable[bytes], read: Callable[[bytes], str], accepted: tuple[type[Exception], ...]
) -> Counter[str]:
    """Read every mutant; what came of them. Any error but those that are accepted fails, as does a slow one."""
    outcomes: Counter[str] = Counter()
    slowest, most = 0.0, b""
    for data in mutants:
        began = time.process_time()
        try:
            outcomes[read(data)] += 1
        except accepted as error:
            if not str(error).strip():
                raise AssertionError(f"no words about {data[:200]!r}") from error
            outcomes[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} from {data[:2000]!r}") from error
        seconds = time.process_time() - began
        if seconds > slowest:
            slowest, most = seconds, data
        assert seconds < SLOWEST, f"{seconds:.1f} s for {data[:2000]!r}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{name}: {outcomes.total():,} mutants, {dict(outcomes)}, slowest {slowest:.2f} s ({len(most):,} bytes), "
        f"peak {peak:.0f} MiB"
    )
    return outcomes
