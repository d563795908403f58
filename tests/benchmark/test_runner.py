"""Runs that are killed, resumed, sharded, and run on several workers leave the records of an undisturbed run."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_solver import make, write_questions

from reason_iad.benchmark import record_log
from reason_iad.benchmark.ablation import PLAIN
from reason_iad.benchmark.plan import Shard
from reason_iad.benchmark.plan_file import read_joined
from reason_iad.benchmark.pool import answer_here, answer_in_processes
from reason_iad.benchmark.record_log import RecordLog, read_records, same_content
from reason_iad.benchmark.runner import run_questions
from reason_iad.benchmark.setting import Setting
from reason_iad.errors import InputError

FULL = Setting(latents="on", injection="on")


@pytest.fixture
def questions(tmp_path):
    return write_questions(tmp_path / "data")


def here(**kwargs):
    return functools.partial(answer_here, functools.partial(make, **kwargs))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for path in folder.glob("records-*") for line in path.read_text().splitlines()]


def contents(folder: Path) -> list[dict]:
    return same_content(read_records(folder).records)


def test_every_question_is_recorded_once_and_asking_again_asks_nothing(questions, tmp_path):
    first = run_questions(questions, {PLAIN: tmp_path / "run"}, here())
    again = run_questions(questions, {PLAIN: tmp_path / "run"}, here())
    assert (first.asked, first.kept, again.asked, again.kept) == (36, 0, 0, 36)
    assert len(lines(tmp_path / "run")) == len({r["key"] for r in lines(tmp_path / "run")}) == 36


def test_ten_kills_at_random_moments_lose_nothing_and_repeat_nothing(questions, tmp_path):
    run_questions(questions, {PLAIN: tmp_path / "whole"}, here())
    rng, survivals = random.Random(0), 0
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                run_questions(questions, {PLAIN: tmp_path / "killed"}, here(seconds=0.01))
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.005, 0.06))
        os.kill(child, signal.SIGKILL)
        survivals += os.waitpid(child, 0)[1] == 0
    assert survivals < 10
    last = run_questions(questions, {PLAIN: tmp_path / "killed"}, here())
    assert last.kept + last.asked == 36
    assert len(lines(tmp_path / "killed")) == 36
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_line_torn_at_any_byte_is_taken_away_and_asked_again(questions, tmp_path):
    folder = tmp_path / "run"
    run_questions(questions, {PLAIN: folder}, here())
    path = folder / "records-0-of-1.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start + 1, len(whole), 37):
        path.write_bytes(whole[:cut])
        outcome = run_questions(questions, {PLAIN: folder}, here())
        assert (outcome.asked, outcome.kept) == (1, 35)
        assert outcome.damaged == ("records-0-of-1.jsonl:36",)
        assert path.read_bytes().count(b"\n") == 36


def test_a_torn_line_longer_than_the_next_record_leaves_nothing_behind(questions, tmp_path):
    run_questions(questions, {PLAIN: tmp_path / "run"}, here(), limit=3)
    path = tmp_path / "run" / "records-0-of-1.jsonl"
    with path.open("ab") as file:
        file.write(b'{"key": "' + b"x" * 20_000)
    outcome = run_questions(questions, {PLAIN: tmp_path / "run"}, here())
    assert len(outcome.damaged) == 1
    assert len(lines(tmp_path / "run")) == len(read_records(tmp_path / "run").records)


def test_a_damaged_line_in_the_middle_is_reported_and_nothing_else_is_lost(questions, tmp_path):
    folder = tmp_path / "run"
    run_questions(questions, {PLAIN: folder}, here())
    path = folder / "records-0-of-1.jsonl"
    found = path.read_bytes().split(b"\n")
    found[4] = found[4][:50] + b"\xff\x00" + found[4][60:]
    path.write_bytes(b"\n".join(found))
    outcome = run_questions(questions, {PLAIN: folder}, here())
    assert (outcome.asked, outcome.kept, outcome.damaged) == (1, 35, ("records-0-of-1.jsonl:5",))
    assert len(read_records(folder).records) == 36


def test_an_image_deleted_during_the_run_costs_its_own_questions_only(questions, tmp_path):
    lost = questions.samples[3]

    def deleting(units):
        for number, record in enumerate(answer_here(make, units)):
            if number == 0:
                lost.image.unlink()
            yield record

    folder = tmp_path / "run"
    if run_questions(questions, {PLAIN: folder}, deleting).errors == 0:
        pytest.fail("the deleted image was asked first")
    found = read_records(folder)
    assert {record["image"] for record in found.failed} == {lost.name}
    assert (len(found.failed), len(found.answered)) == (3, 33)
    assert "No such file" in found.failed[0]["error"]
    assert run_questions(questions, {PLAIN: folder}, here()).asked == 3  # now known to be gone
    assert run_questions(questions, {PLAIN: folder}, here()).asked == 0  # and not asked again
    assert len(read_joined(folder).records.failed) == 3
    lost.image.write_bytes(b"image 3")
    assert run_questions(questions, {PLAIN: folder}, here(), retry_errors=True).asked == 3
    assert len(read_joined(folder).records.answered) == 36


def test_a_full_disk_ends_the_run_with_whole_records(questions, tmp_path, monkeypatch):
    folder, written = tmp_path / "run", []
    real = os.pwrite

    def pwrite(file, data, offset):
        if len(written) == 20:
            real(file, data[:30], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(1)
        return real(file, data, offset)

    monkeypatch.setattr(record_log.os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space left") as caught:
        run_questions(questions, {PLAIN: folder}, here())
    assert caught.value.filename.endswith("records-0-of-1.jsonl")
    monkeypatch.undo()
    assert len(lines(folder)) == 20
    assert run_questions(questions, {PLAIN: folder}, here()).kept == 20


def test_shards_together_are_the_whole(questions, tmp_path):
    run_questions(questions, {PLAIN: tmp_path / "whole"}, here())
    for index in range(3):
        run_questions(questions, {PLAIN: tmp_path / "parts"}, here(), shard=Shard(index, 3))
    assert len(list((tmp_path / "parts").glob("records-*"))) == 3
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_two_processes_cannot_write_one_journal(tmp_path):
    held = RecordLog(tmp_path, "0-of-1")
    with pytest.raises(InputError, match="another process"):
        RecordLog(tmp_path, "0-of-1")
    held.close()
    RecordLog(tmp_path, "0-of-1").close()


def test_a_folder_of_another_setting_or_model_is_refused(questions, tmp_path, monkeypatch):
    run_questions(questions, {PLAIN: tmp_path / "run"}, here())
    with pytest.raises(InputError, match="holds a run with setting"):
        run_questions(questions, {FULL: tmp_path / "run"}, here())
    monkeypatch.setattr("reason_iad.models.fingerprint.of_model", lambda name: "newly trained")
    with pytest.raises(InputError, match=r"other content: the model's weights .* now newly trained"):
        run_questions(questions, {PLAIN: tmp_path / "run"}, here())


def test_many_settings_side_by_side_write_what_each_alone_writes(questions, tmp_path):
    named = {"full": FULL, "plain": PLAIN, "calm": replace(FULL, latents="off", injection="off")}
    run_questions(questions, {setting: tmp_path / "both" / name for name, setting in named.items()}, here())
    for name, setting in named.items():
        run_questions(questions, {setting: tmp_path / name}, here())
        assert contents(tmp_path / name) == contents(tmp_path / "both" / name)
    assert len({json.dumps(contents(tmp_path / name)) for name in named}) == 3


def test_a_changed_image_reference_or_question_has_another_key(questions, tmp_path):
    from reason_iad.benchmark.plan import plan

    def keys(asked):
        return {job.id: job.key for unit in plan(asked.samples, {FULL: "content"}) for job in unit.jobs}

    before = keys(questions)
    questions.samples[0].image.write_bytes(b"another")
    after = keys(questions)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"{questions.samples[0].name}#{number}" for number in range(3)}
    (tmp_path / "data/nut/train/good/0.png").write_bytes(b"another")
    assert not set(keys(questions).values()) & set(after.values())


def test_a_run_stops_in_time_and_goes_on_later(questions, tmp_path):
    first = run_questions(questions, {PLAIN: tmp_path / "run"}, here(seconds=0.02), seconds=0.2)
    assert 0 < first.asked < 36
    assert first.left == 36 - first.asked
    assert run_questions(questions, {PLAIN: tmp_path / "run"}, here()).kept == first.asked


def test_local_workers_write_what_one_process_writes_though_one_of_them_is_killed(questions, tmp_path):
    run_questions(questions, {PLAIN: tmp_path / "alone"}, here())
    factory = functools.partial(make, deadly="005", marker=str(tmp_path / "died"))
    outcome = run_questions(
        questions, {PLAIN: tmp_path / "crew"}, functools.partial(answer_in_processes, factory, workers=2)
    )
    assert (tmp_path / "died").exists()
    assert (outcome.asked, outcome.errors) == (36, 0)
    assert len(lines(tmp_path / "crew")) == 36
    assert contents(tmp_path / "crew") == contents(tmp_path / "alone")


def test_an_image_that_ends_every_worker_is_recorded_as_an_error_and_the_others_are_answered(questions, tmp_path):
    factory = functools.partial(make, deadly="005")
    outcome = run_questions(
        questions, {PLAIN: tmp_path / "run"}, functools.partial(answer_in_processes, factory, workers=1)
    )
    assert (outcome.asked, outcome.errors) == (36, 3)
    assert all("ended 2 times" in record["error"] for record in read_records(tmp_path / "run").failed)


def test_an_answer_that_was_computed_when_the_time_is_over_is_kept(questions, tmp_path):
    outcome = run_questions(questions, {PLAIN: tmp_path / "run"}, here(seconds=0.05), seconds=0.01)
    assert outcome.asked == 1
    assert len(contents(tmp_path / "run")) == 1
