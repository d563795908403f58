"""Runs on Ray, with an actor killed and with a node lost, write what one process writes. Ray is an extra."""

from __future__ import annotations

import functools
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_solver import MadeSolver, make, write_questions

from reason_iad.benchmark.ablation import PLAIN
from reason_iad.benchmark.plan import plan
from reason_iad.benchmark.pool import answer_here
from reason_iad.benchmark.record_log import read_records, same_content
from reason_iad.benchmark.runner import run_questions

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def questions(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is an extra")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    return write_questions(tmp_path / "data")


def contents(folder: Path) -> list[dict]:
    return same_content(read_records(folder).records)


class WhereSolver(MadeSolver):
    """Leaves the name of its node where the test sees it."""

    def __init__(self, folder: str, seconds: float) -> None:
        import ray

        super().__init__(seconds)
        self.place = Path(folder) / ray.get_runtime_context().get_node_id()

    def answer(self, unit):
        self.place.touch()
        yield from super().answer(unit)


def make_where(folder: str, seconds: float) -> WhereSolver:
    """Made inside an actor."""
    return WhereSolver(folder, seconds)


def test_ray_and_local_runs_write_the_same_records_though_an_actor_is_killed(questions, tmp_path):
    from reason_iad.benchmark.pool import answer_on_ray

    run_questions(questions, {PLAIN: tmp_path / "alone"}, functools.partial(answer_here, make))
    factory = functools.partial(make, deadly="005", marker=str(tmp_path / "died"))
    outcome = run_questions(questions, {PLAIN: tmp_path / "ray"}, functools.partial(answer_on_ray, factory, workers=2))
    assert (tmp_path / "died").exists()
    assert (outcome.asked, outcome.errors) == (36, 0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")


def test_two_nodes_share_a_ray_run_and_it_ends_well_when_one_of_them_is_lost(questions, tmp_path):
    from ray.cluster_utils import Cluster

    from reason_iad.benchmark.pool import answer_on_ray

    run_questions(questions, {PLAIN: tmp_path / "alone"}, functools.partial(answer_here, make))
    (tmp_path / "nodes").mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        factory = functools.partial(make_where, str(tmp_path / "nodes"), 0.2)
        lost = []

        def losing(units):
            for record in answer_on_ray(factory, units, cluster.address, workers=2):
                yield record
                if not lost and len(list((tmp_path / "nodes").iterdir())) == 2:
                    lost.append(cluster.remove_node(second, allow_graceful=False))

        outcome = run_questions(questions, {PLAIN: tmp_path / "ray"}, losing)
    finally:
        cluster.shutdown()
    assert len(list((tmp_path / "nodes").iterdir())) == 2
    assert lost
    assert (outcome.asked, outcome.errors) == (36, 0)
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")


DRIVE = """
import functools, sys
from pathlib import Path
from made_solver import make
from reason_iad.benchmark.ablation import PLAIN
from reason_iad.benchmark.pool import answer_on_ray
from reason_iad.benchmark.runner import run_questions
from reason_iad.datasets.mmad import read_mmad
root, folder, address = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
pool = functools.partial(answer_on_ray, functools.partial(make, seconds=0.05), address=address, workers=2)
run_questions(read_mmad(root, root / "questions.json"), {PLAIN: folder}, pool)
"""


def test_ten_kills_of_the_process_that_drives_ray_lose_nothing_and_repeat_nothing(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    pytest.importorskip("ray", reason="Ray is an extra")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    questions, rng = write_questions(tmp_path / "data", images=40), random.Random(0)
    run_questions(questions, {PLAIN: tmp_path / "alone"}, functools.partial(answer_here, make))
    folder = tmp_path / "killed"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        for _ in range(10):
            before, more = len(read_records(folder).records) if folder.is_dir() else 0, rng.randrange(1, 9)
            command = [sys.executable, "-c", DRIVE, str(tmp_path / "data"), str(folder), cluster.address]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
                limit = time.monotonic() + 120
                while driver.poll() is None and time.monotonic() < limit:
                    if folder.is_dir() and len(read_records(folder).records) >= before + more:
                        break
                    time.sleep(0.01)
                assert driver.poll() is None
                driver.kill()
    finally:
        cluster.shutdown()
    left = run_questions(questions, {PLAIN: folder}, functools.partial(answer_here, make))
    assert 0 < left.asked < 120
    assert contents(folder) == contents(tmp_path / "alone")


def test_what_travels_through_ray_is_small(questions):
    units = list(plan(questions.samples, {PLAIN: "content"}))
    assert max(len(pickle.dumps(unit)) for unit in units) < 4096
