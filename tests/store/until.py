"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float = 90.0) -> T:
    """The first true value of `found`; a server that is not there yet is asked again.

    Use the value that comes back: asked once more, the other process may answer differently.
    """
    limit = time.monotonic() + seconds
    while True:
        try:
            if value := found():
                return value
        except httpx.TransportError:
            pass
        assert time.monotonic() < limit, f"it did not happen in {seconds:g} s"
        time.sleep(0.03)
