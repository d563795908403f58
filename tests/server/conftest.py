"""A running server with a scripted model, and clients of it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start an app with changed settings; gives a client of it."""
    from contextlib import ExitStack

    from fastapi.testclient import TestClient

    from reason_iad.server.app import create_app
    from reason_iad.server.settings import Settings

    with ExitStack() as stack:

        def start(factory: str = "small_inspectors:load_scripted", **changes: Any) -> TestClient:
            settings = Settings(**({"data": tmp_path / "data", "factory": factory, "stop_seconds": 5.0} | changes))
            app = create_app(settings, load_knowledge)
            return stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

        yield start


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a real socket, with a scripted model."""
    import uvicorn

    from reason_iad.server.app import create_app
    from reason_iad.server.settings import Limits, Settings

    before = os.environ.get("REASON_IAD_HOME")
    os.environ["REASON_IAD_HOME"] = str(tmp_path_factory.mktemp("home"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(
        data=tmp_path_factory.mktemp("data"), port=port, factory="small_inspectors:load_scripted", stop_seconds=2,
        limits=Limits(requests_per_minute=1_000_000, burst=1_000_000),
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(create_app(settings, load_knowledge), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    if before is None:
        del os.environ["REASON_IAD_HOME"]
    else:
        os.environ["REASON_IAD_HOME"] = before
