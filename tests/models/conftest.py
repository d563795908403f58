"""What the tests of served models share: a real server that answers as several kinds of servers do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of a chat server that runs for the tests of one file."""
    command = [sys.executable, Path(__file__).with_name("chat_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        server.terminate()
