"""A server on a real socket, for tests that need more than a client in the same process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ports import free_port
from small_inspectors import load_knowledge


@contextmanager
def running(home: Path, **changes: Any) -> Iterator[str]:
    """A server on a real socket with a scripted model, and `home` as the program's folder: its address."""
    import uvicorn

    from reason_iad.server.app import create_app, drain
    from reason_iad.server.settings import Limits, Settings

    before = os.environ.get("REASON_IAD_HOME")
    os.environ["REASON_IAD_HOME"] = str(home)
    port = free_port()
    limits = Limits(requests_per_minute=1_000_000, burst=1_000_000)
    settings = Settings(
        **({"port": port, "factory": "small_inspectors:load_scripted", "stop_seconds": 2, "limits": limits} | changes)
    )
    app = create_app(settings, load_knowledge)
    server = uvicorn.Server(uvicorn.Config(app, port=settings.port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{settings.port}"
    drain(app)  # as the command does when it is told to stop
    server.should_exit = True
    thread.join(10)
    if before is None:
        del os.environ["REASON_IAD_HOME"]
    else:
        os.environ["REASON_IAD_HOME"] = before
