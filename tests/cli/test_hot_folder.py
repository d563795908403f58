"""Hot folders, resumed batches, several processes, exit codes and the record: with a scripted inspector."""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripted_inspector import ScriptedInspector

from reason_iad.cli import inspect, watch
from reason_iad.cli.app import build_parser
from reason_iad.cli.lot import Plan
from reason_iad.cli.made_by import made_by
from reason_iad.cli.recorder import Recorder
from reason_iad.errors import InputError, ModelError
from reason_iad.images import encode_png
from reason_iad.reporting.folder import ReportFolder
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


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


def watched(
    inspector: ScriptedInspector, *given: object, rounds: list[Callable[[], object]], data: Path | None = None
) -> tuple[int, Recorder | None]:
    """Watch a folder; each of `rounds` is done between two looks, and then Ctrl+C is pressed."""
    args = arguments(*given, "--watch")
    left = iter(rounds)

    def sleep(_: float) -> None:
        one = next(left, None)
        if one is None:
            raise KeyboardInterrupt
        one()

    record = None if data is None else Recorder.open(data, True)
    plan = Plan(InspectionRequest("x"), faithfulness=args.faithfulness)
    with ReportFolder.create(args.out, resume=True) as folder:
        return watch.watch(args, plan, inspector.load, folder, record, sleep, 0.0), record


def nothing() -> None:
    """Between two looks, nothing happens."""


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "index.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_a_hot_folder_is_inspected_until_interrupted_and_goes_on_after_a_restart(lot, tmp_path, capsys):
    out, inspector = tmp_path / "out", ScriptedInspector({"a.png": "defective"})
    given = (lot, "--out", out, "--exit-code")
    code, record = watched(inspector, *given, rounds=[nothing] * 3, data=tmp_path / "data")
    assert code == 3
    assert [call["image"].name for call in inspector.calls] == ["a.png", "b.png", "c.png"]
    assert {r.origin for r in record.store.find()} == {"watch"}
    record.store.close()
    (lot / "d.png").write_bytes(png(9))
    watched(inspector, *given, rounds=[nothing] * 3)
    assert [call["image"].name for call in inspector.calls[3:]] == ["d.png"]
    assert list(rows(out)) == ["a.png", "b.png", "c.png", "d.png"]


def test_files_that_go_move_or_break_are_noted_and_end_nothing(lot, tmp_path, capsys):
    out, inspector = tmp_path / "out", ScriptedInspector(failures={"b.png": ModelError("the server is gone")})

    def spoil() -> None:
        (lot / "a.png").unlink()
        (lot / "late.png").write_bytes(png(4)[:50])
        (lot / "sub").mkdir()
        (lot / "c.png").rename(lot / "sub" / "c.png")

    code, _ = watched(inspector, lot, "--out", out, rounds=[spoil, nothing, nothing])
    assert code == 2
    found = rows(out)
    assert "removed before" in found["a.png"]["error"]
    assert found["b.png"]["error"] == "the server is gone"
    assert found["sub/c.png"]["verdict"] == "normal"
    assert "not complete" in found["late.png"]["error"]
    assert set(found) == {"a.png", "b.png", "sub/c.png", "late.png"}


def test_the_folder_may_go_and_come_back(lot, tmp_path, capsys):
    away = tmp_path / "away"
    inspector = ScriptedInspector()
    turns = [nothing, nothing, lambda: lot.rename(away), nothing, lambda: away.rename(lot), nothing]
    code, _ = watched(inspector, lot, "--out", tmp_path / "out", rounds=turns)
    assert code == 0
    assert len(inspector.calls) == 3
    said = capsys.readouterr().err
    assert said.count("is gone; waiting") == 1
    assert said.count("is back") == 1


def test_the_index_is_written_when_the_program_itself_fails(lot, tmp_path, capsys):
    inspector = ScriptedInspector(failures={"b.png": RuntimeError("a fault")})
    with pytest.raises(RuntimeError):
        watched(inspector, lot, "--out", tmp_path / "out", rounds=[nothing] * 3)
    assert list(rows(tmp_path / "out")) == ["a.png", "b.png", "c.png"]


def test_reports_inside_the_hot_folder_are_no_images(lot, capsys):
    inspector = ScriptedInspector()
    watched(inspector, lot, "--out", lot / "report", rounds=[nothing] * 6)
    assert len(inspector.calls) == 3
    assert run(inspector, lot, "--out", lot / "second") == 0
    assert len(inspector.calls) == 6


def test_faithfulness_is_measured_in_a_hot_folder(lot, tmp_path, monkeypatch, capsys):
    measured = []
    monkeypatch.setattr("reason_iad.cli.batch.with_faithfulness", lambda found, *_: measured.append(1) or found)
    watched(ScriptedInspector(), lot, "--out", tmp_path / "out", "--faithfulness", rounds=[nothing] * 3)
    assert len(measured) == 3


def test_a_service_that_is_stopped_leaves_its_index(lot, tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from scripted_inspector import load_for_processes\n"
        "from reason_iad.cli import app, inspect\n"
        "args = app.build_parser().parse_args(['inspect', *sys.argv[3:]])\n"
        "sys.exit(app.guarded(lambda: inspect.run(args, load_for_processes)))\n"
    )
    here = Path(__file__).parent
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", code, here, here.parent / "reporting", lot, "--watch", "--out", out],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert all(f"{name}.png" in process.stdout.readline() for name in "abc")
        process.terminate()
        assert process.wait(30) == 0
    assert list(rows(out)) == ["a.png", "b.png", "c.png"]


def test_a_resumed_batch_inspects_only_what_is_missing(lot, tmp_path, capsys):
    out, inspector = tmp_path / "out", ScriptedInspector({"b.png": "defective"})
    (lot / "c.png").rename(tmp_path / "c.png")
    assert run(inspector, lot, "--out", out) == 0
    (tmp_path / "c.png").rename(lot / "c.png")
    assert run(inspector, lot, "--out", out, "--resume", "--exit-code") == 3  # b is known to be defective
    assert [call["image"].name for call in inspector.calls] == ["a.png", "b.png", "c.png"]
    page = (out / "index.html").read_text()
    assert all(f">{name}.png<" in page for name in "abc")
    loads = inspector.loads
    assert run(inspector, lot, "--out", out, "--resume") == 0
    assert (len(inspector.calls), inspector.loads) == (3, loads)


def test_reports_of_a_lot_that_was_compared_with_itself_are_not_mixed_with_others(lot, tmp_path):
    alone, together = arguments(lot, "--out", tmp_path / "out"), arguments(lot, "--out", tmp_path / "out", "--lot")
    assert made_by(alone, ()) != made_by(together, ())
    with pytest.raises(InputError, match="found --lot with --resume"):
        run(ScriptedInspector(), lot, "--out", tmp_path / "out", "--lot", "--resume")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (["--question", "Where is it?"], "question: none, now Where is it?"),
        (["--reference", "REFERENCE"], "references: none, now"),
        (["--latents", "on"], "latents: off, now on"),
        (["--category", "tablet"], "category: none, now tablet"),
    ],
)
def test_reports_of_other_settings_are_not_resumed(lot, tmp_path, changed, word, capsys):
    (tmp_path / "good.png").write_bytes(png(9))
    changed = [str(tmp_path / "good.png") if one == "REFERENCE" else one for one in changed]
    out, inspector = tmp_path / "out", ScriptedInspector()
    assert run(inspector, lot, "--out", out) == 0
    with pytest.raises(InputError, match=re.escape(word)):
        run(inspector, lot, "--out", out, "--resume", *changed)
    assert len(inspector.calls) == 3
    assert run(inspector, lot, "--out", out, *changed) == 0  # all again, and said
    assert "holds 3 reports of an earlier run" in capsys.readouterr().err
    assert run(inspector, lot, "--out", out, "--resume", *changed) == 0
    assert len(inspector.calls) == 6


def test_a_second_run_into_the_same_folder_is_refused(lot, tmp_path, capsys):
    with ReportFolder.create(tmp_path / "out"), pytest.raises(InputError, match="is written by process"):
        run(ScriptedInspector(), lot, "--out", tmp_path / "out")
    assert run(ScriptedInspector(), lot, "--out", tmp_path / "out") == 0


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
    with pytest.raises(InputError, match="expected"):
        run(ScriptedInspector(), lot, *given)
