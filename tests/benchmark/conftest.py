"""What the tests of the benchmark share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test names no number of processes it means this one, in which its stand-in of a model lives."""
    monkeypatch.setattr("reason_iad.cli.benchmark_runs.usual_workers", lambda *_: 1)
