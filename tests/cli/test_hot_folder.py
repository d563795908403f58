"""Hot folders, resumed batches, several processes, exit codes and the record: with a scripted inspector."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scripted_inspector import ScriptedInspector

from reason_iad.cli import inspect, watch
from reason_iad.cli.app import build_parser
from reason_iad.images import encode_png
from reason_iad.store.store import Store


def png(seed: int = 0) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8))


def arguments(*given: object) -> argparse.Namespace:
    return build_parser().parse_args(["inspect", *map(str, given)])


def run(inspector: ScriptedInspector, *given: object) -> int:
    return inspect.run(arguments(*given), inspector.load)


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    folder = tmp_path / "lot"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        (folder / f"{name}.png").write_bytes(png(seed))
    return folder


def test_a_half_written_image_is_waited_for_and_each_is_ready_once(tmp_path):
    now = [0.0]
    hot = watch.HotFolder(tmp_path, settle=1.0, patience=10.0, clock=lambda: now[0])

    def ready(at: float) -> list[tuple[str, bool]]:
        now[0] = at
        return [(path.name, problem is None) for path, problem in hot.ready()]

    whole = png()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("x")
    assert ready(0) == []
    assert ready(2) == []  # quiet, but half: it may go on
    (tmp_path / "a.png").write_bytes(whole)
    assert ready(3) == []
    assert ready(3.5) == []
    assert ready(4.5) == [("a.png", True)]
    assert ready(9) == []
    (tmp_path / "broken.png").write_bytes(whole[:100])
    assert [ready(at) for at in (10, 15, 19.9)] == [[], [], []]
    assert ready(20.5) == [("broken.png", False)]
    assert ready(40) == []
    (tmp_path / "a.png").write_bytes(png(5))  # the camera writes the same name again: another part
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert ready(41) == []
    assert ready(43) == [("a.png", True)]


def test_a_hot_folder_is_inspected_until_interrupted_and_goes_on_after_a_restart(lot, tmp_path, capsys):
    out, inspector = tmp_path / "out", ScriptedInspector({"a.png": "defective"})
    rounds = iter(range(4))

    def sleep(_: float) -> None:
        if next(rounds, None) is None:
            raise KeyboardInterrupt

    args = arguments(lot, "--watch", "--out", out, "--exit-code", "--record", tmp_path / "data")
    from reason_iad.cli.recorder import Recorder
    from reason_iad.reporting.folder import ReportFolder

    record = Recorder.open(tmp_path / "data", True)
    assert watch.watch(args, (), (), inspector.load, ReportFolder.create(out), record, sleep, 0.0) == 3
    assert [call["image"].name for call in inspector.calls] == ["a.png", "b.png", "c.png"]
    assert {r.origin for r in record.store.find()} == {"watch"}
    record.store.close()
    (lot / "d.png").write_bytes(png(9))
    rounds = iter(range(4))
    watch.watch(args, (), (), inspector.load, ReportFolder.create(out), None, sleep, 0.0)
    assert [call["image"].name for call in inspector.calls[3:]] == ["d.png"]
    assert all(f"{name}.png" in (out / "index.html").read_text() for name in "abcd")


def test_a_resumed_batch_inspects_only_what_is_missing(lot, tmp_path, capsys):
    out, inspector = tmp_path / "out", ScriptedInspector({"b.png": "defective"})
    assert run(inspector, lot / "a.png", lot / "b.png", "--out", out) == 0
    assert run(inspector, lot, "--out", out, "--resume", "--exit-code") == 3  # b is known to be defective
    assert [call["image"].name for call in inspector.calls] == ["a.png", "b.png", "c.png"]
    page = (out / "index.html").read_text()
    assert all(f">{name}.png<" in page for name in "abc")
    assert run(inspector, lot, "--out", out, "--resume") == 0
    assert len(inspector.calls) == 3


@pytest.mark.parametrize(
    ("verdicts", "code"), [({}, 0), ({"a.png": "uncertain"}, 4), ({"a.png": "uncertain", "b.png": "defective"}, 3)]
)
def test_the_exit_code_says_what_was_found_when_asked(lot, verdicts, code, capsys):
    assert run(ScriptedInspector(verdicts), lot, "--exit-code") == code
    assert run(ScriptedInspector(verdicts), lot) == 0


def test_bad_input_outranks_defects_in_the_exit_code(lot, capsys):
    (lot / "broken.png").write_bytes(b"x")
    assert run(ScriptedInspector({"a.png": "defective"}), lot, "--exit-code") == 2


def test_several_processes_say_what_one_says(lot, capsys):
    from scripted_inspector import load_for_processes

    (lot / "d.png").write_bytes(png(7))
    assert inspect.run(arguments(lot, "--json"), load_for_processes) == 0
    one = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert inspect.run(arguments(lot, "--json", "--jobs", "2"), load_for_processes) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == one
    assert [report["verdict"] for report in one] == ["normal", "defective", "normal", "normal"]


def test_an_image_that_ends_its_process_is_told_and_the_others_are_inspected(lot, capsys):
    from scripted_inspector import load_deadly_for_processes

    assert inspect.run(arguments(lot, "--json", "--jobs", "2"), load_deadly_for_processes) == 2
    told = capsys.readouterr()
    assert [json.loads(line)["image"] for line in told.out.splitlines()] == ["a.png", "c.png"]
    assert "b.png: the model process ended twice during it" in told.err


def test_a_batch_can_be_kept_in_the_record(lot, tmp_path, capsys):
    data = tmp_path / "data"
    assert run(ScriptedInspector({"a.png": "defective"}), lot, "--record", data) == 0
    store = Store.open(f"sqlite:///{data / 'record.db'}", data / "evidence")
    assert store.counts() == {"defective": 1, "normal": 2}
    assert {record.origin for record in store.find()} == {"batch"}
    store.close()


@pytest.mark.parametrize("given", [["--resume"], ["--watch", "--jobs", "2"]])
def test_options_that_do_not_go_together_are_refused(lot, given):
    from reason_iad.errors import InputError

    with pytest.raises(InputError, match="expected"):
        run(ScriptedInspector(), lot, *given)
