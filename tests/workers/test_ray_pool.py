"""A pool of actors on Ray behaves as the pool of processes does. Ray is an extra."""

from __future__ import annotations

import os
from pathlib import Path

import made_handlers
import pytest

from reason_iad.errors import ImageError, ModelError, ReasonIADError, WorkerLostError
from reason_iad.workers import TaskFailedError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def ray_pool(monkeypatch):
    pytest.importorskip("ray", reason="Ray is an extra")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    from reason_iad.workers.ray_pool import RayPool

    return RayPool


def test_actors_do_what_processes_do(ray_pool, tmp_path):
    tasks = [
        ("pid", 1.0), ("echo", 1), ("refuse", None), ("fault", None), ("crash", (str(tmp_path / "once"), 1)),
        ("crash", (str(tmp_path / "often"), 9)), *[("echo", number) for number in range(20)],
    ]  # fmt: skip
    with ray_pool(made_handlers.load, 2) as pool:
        found = list(pool.in_order(iter(tasks)))
        told = [event.content for event in pool.events([("count", 3)])]
    assert [task for task, _ in found] == tasks
    futures = [future for _, future in found]
    assert futures[0].result() != os.getpid()
    assert futures[1].result() == 1
    assert isinstance(futures[2].exception(), ImageError)
    assert isinstance(futures[3].exception(), TaskFailedError)
    assert futures[4].result() == "survived after 1"
    assert isinstance(futures[5].exception(), WorkerLostError)
    assert [future.result() for future in futures[6:]] == list(range(20))
    assert told == [0, 1, 2, "counted"]


def test_actors_that_ray_ends_for_their_memory_are_lost_ones(ray_pool, monkeypatch):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    with ray_pool(made_handlers.load, 1) as pool, pytest.raises(ModelError, match="workers on Ray keep ending"):
        list(pool.in_order([("pid", 30.0)]))


def test_a_model_that_cannot_be_loaded_ends_the_pool_with_its_reason(ray_pool):
    with ray_pool(made_handlers.load_unable, 1) as pool, pytest.raises(ReasonIADError, match="no weights"):
        list(pool.in_order([("echo", 1)]))
