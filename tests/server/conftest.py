"""A running server with a scripted model, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import browsing
import numpy as np
import pytest
from databases import Databases
from running import running
from small_inspectors import load_knowledge

from reason_iad.images import encode_png


def png(height: int = 64, width: int = 80, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    return encode_png(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    return png


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or changes the profiles of whoever runs it."""
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path_factory.mktemp("home")))


@contextmanager
def serving(folder: Path) -> Iterator[Callable[..., Any]]:
    """What starts an app with changed settings, its record in `folder`, and gives a client of it."""
    from fastapi.testclient import TestClient

    from reason_iad.server.app import create_app
    from reason_iad.server.settings import Settings

    with ExitStack() as stack:

        def start(factory: str = "small_inspectors:load_scripted", **changes: Any) -> TestClient:
            settings = Settings(**({"data": folder / "data", "factory": factory, "stop_seconds": 5.0} | changes))
            app = create_app(settings, load_knowledge)
            return stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

        yield start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start an app with changed settings; gives a client of it."""
    with serving(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def serve_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """The same for a server that all tests of a file share."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch, serving(folder) as start:
        patch.setenv("REASON_IAD_HOME", str(folder / "home"))
        yield start


@pytest.fixture(scope="module")
def kept_url(databases: Databases) -> Iterator[str]:
    """A database that all tests of a file share."""
    with databases.fresh() as url:
        yield url


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a real socket, with a scripted model."""
    with running(tmp_path_factory.mktemp("home"), data=tmp_path_factory.mktemp("data")) as where:
        yield where


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browsing.CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()
