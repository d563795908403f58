"""Versions of the program and of what its answers depend on, for whoever compares two runs or two servers."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

from reason_iad import __version__


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Of the program, Python, and those of `libraries` that are installed; read without importing them."""
    found = {"reason-iad": __version__, "python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
