"""A lot on Ray gives the reports and the index that one process gives, also when a machine is lost. Ray is an extra."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from losing_nodes import losing_a_node
from scripted_inspector import ScriptedInspector

from reason_iad.cli import inspect
from reason_iad.cli.app import build_parser
from reason_iad.errors import InputError
from reason_iad.images import encode_png

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NODES = "REASON_IAD_TEST_NODES"  # a folder in which actors leave the names of their machines


class WhereInspector(ScriptedInspector):
    """Leaves the name of its machine where the test sees it."""

    def run(self, request):
        import ray

        (Path(os.environ[NODES]) / ray.get_runtime_context().get_node_id()).touch()
        time.sleep(0.2)
        return super().run(request)


def load_here(args: argparse.Namespace, progress: Callable[[str], None]) -> ScriptedInspector:
    return ScriptedInspector({"003.png": "defective"})


def load_there(args: argparse.Namespace, progress: Callable[[str], None]) -> ScriptedInspector:
    return WhereInspector({"003.png": "defective"})


@pytest.fixture
def lot(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is an extra")
    reporting = Path(__file__).parent.parent / "reporting"
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{reporting}", prepend=os.pathsep)
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(NODES, str(tmp_path / "nodes"))
    (tmp_path / "nodes").mkdir()
    folder = tmp_path / "lot"
    folder.mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        (folder / f"{number:03d}.png").write_bytes(encode_png(pixels))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def arguments(*given: object) -> argparse.Namespace:
    return build_parser().parse_args(["inspect", *map(str, given)])


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that a run wrote but for the times, by name."""
    return {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".json", ".csv", ".png")
    }


def test_a_lot_on_two_machines_is_the_local_one_though_a_machine_is_lost(lot, tmp_path, capsys, monkeypatch):
    assert inspect.run(arguments(lot, "--json", "--out", tmp_path / "here"), load_here) == 2
    here = capsys.readouterr()
    with losing_a_node(tmp_path / "nodes", monkeypatch) as cluster:
        given = arguments(lot, "--json", "--out", tmp_path / "ray", "--ray", cluster.address, "--jobs", "2")
        assert inspect.run(given, load_there) == 2
        there = capsys.readouterr()  # before the cluster, which is of this process, says that it ends
    assert cluster.lost
    assert [json.loads(line) for line in there.out.splitlines()] == [json.loads(line) for line in here.out.splitlines()]
    assert "broken.png" in there.err
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


def test_a_machine_with_other_knowledge_refuses_to_work(lot, tmp_path, capsys, monkeypatch):
    from reason_iad.cli import parallel

    expected = parallel.made_by

    def other(args, references):
        return {**expected(args, references), "learned categories": "of another machine"}

    monkeypatch.setattr(parallel, "made_by", other)  # here alone: the actors have the real one
    with pytest.raises(InputError, match="another learned categories on a machine of the cluster"):
        inspect.run(arguments(lot, "--json", "--ray", "local", "--jobs", "1"), load_here)
