"""Ports for the servers that tests start: no two test processes that run side by side look among the same ones."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that systems give to outgoing connections (from 32768 on), a part for each worker of pytest-xdist.
FIRST, PART, PARTS = 20_000, 1_500, 8
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
_next = itertools.cycle(range(FIRST + PART * _WORKER + os.getpid() % 500, FIRST + PART * (_WORKER + 1)))


def free_port() -> int:
    """A port of this machine that nobody has, and that no test of this process was given lately."""
    for port in itertools.islice(_next, PART):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
