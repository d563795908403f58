"""A home of its own for each test, a profile in it, and a broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_line import Broker, at_rest, film, has_mosquitto, learn_profile, running_broker


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or changes the profiles of whoever runs it."""
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))


@pytest.fixture
def profile():
    """A profile of twelve good parts, photographed."""
    return learn_profile()


@pytest.fixture
def filmed(tmp_path: Path):
    """A profile of twelve good parts, as the camera films them."""
    return learn_profile(at_rest(tmp_path / "good.mp4", film(tmp_path / "good.mp4", [False] * 12, seed=7)))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real mosquitto."""
    if not has_mosquitto():
        pytest.skip("no mosquitto; on Debian: apt-get install mosquitto")
    folder = tmp_path / "broker"
    folder.mkdir()
    with running_broker(folder) as running:
        yield running
