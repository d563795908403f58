"""A pool of processes: crashes are noticed, tasks retried once, errors arrive as they are, nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import made_handlers
import pytest
from until import until

from reason_iad.errors import ImageError, ModelError, ReasonIADError, WorkerLostError
from reason_iad.processor import cores
from reason_iad.workers import TaskFailedError, WorkerPool

WAIT = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(made_handlers.load, 2) as made:
        yield made


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_results_come_in_the_order_of_the_tasks_though_later_ones_are_faster(pool):
    tasks = [("pid", 0.3), *[("echo", number) for number in range(9)]]
    found = list(pool.in_order(iter(tasks)))
    assert [task for task, _ in found] == tasks
    assert [future.result() for _, future in found[1:]] == list(range(9))


def test_several_processes_work_at_once_and_none_is_this_one(pool):
    pids = {pool.submit(("pid", 0.5)) for _ in range(2)}
    found = {future.result(WAIT) for future in pids}
    assert len(found) == 2
    assert os.getpid() not in found
    assert found == set(pool.pids)


def test_what_a_task_tells_arrives_in_order_before_its_end(pool):
    events = list(pool.events([("count", 3), ("count", 2)]))
    first = [event.content for event in events if event.task == ("count", 3)]
    assert first == [0, 1, 2, "counted"]
    assert [event.kind for event in events].count("done") == 2


def test_a_task_whose_process_dies_is_done_again_by_another(pool, tmp_path):
    heard = []
    future = pool.submit(("crash", (str(tmp_path / "tries"), 1)), heard.append)
    assert future.result(WAIT) == "survived after 1"
    assert heard == ["begun", "begun"]


def test_a_task_that_ends_two_processes_is_given_up_and_the_next_is_done(pool, tmp_path):
    future = pool.submit(("crash", (str(tmp_path / "tries"), 9)))
    with pytest.raises(WorkerLostError, match="ended twice during it; see its memory use"):
        future.result(WAIT)
    assert (tmp_path / "tries").read_text() == "xx"
    assert pool.submit(("echo", "next")).result(WAIT) == "next"


def test_what_must_not_be_done_twice_is_tried_once(pool, tmp_path):
    with pytest.raises(WorkerLostError, match="ended once"):
        pool.submit(("crash", (str(tmp_path / "tries"), 1)), attempts=1).result(WAIT)


def test_errors_of_the_project_arrive_as_what_they_are(pool):
    with pytest.raises(ImageError, match="found a broken image"):
        pool.submit(("refuse", None)).result(WAIT)
    with pytest.raises(ReasonIADError, match="this and that"):
        pool.submit(("fussy", None)).result(WAIT)


def test_a_fault_of_the_program_arrives_with_its_traceback_and_ends_no_process(pool):
    until(lambda: len(pool.pids) == 2)
    before = pool.pids
    with pytest.raises(TaskFailedError, match="ZeroDivisionError: a planted fault") as caught:
        pool.submit(("fault", None)).result(WAIT)
    assert "made_handlers.py" in caught.value.__notes__[0]
    with pytest.raises(TaskFailedError):
        pool.submit(("unpicklable", None)).result(WAIT)
    with pytest.raises(TaskFailedError):
        pool.submit(("echo", lambda: None)).result(WAIT)
    assert pool.pids == before


def test_the_threads_of_the_libraries_are_shared_out(pool):
    share = max(1, cores() // 2)
    assert pool.submit(("threads", None)).result(WAIT) == (share, str(share))


def test_a_task_that_runs_too_long_can_be_stopped_and_is_not_tried_again(pool):
    begun = threading.Event()
    future = pool.submit(("hang", None), lambda _: begun.set())
    assert begun.wait(WAIT)
    pool.stop_task(future, "it took longer than 1 s")
    with pytest.raises(WorkerLostError, match="longer than 1 s"):
        future.result(WAIT)
    assert pool.submit(("echo", 1)).result(WAIT) == 1


def test_an_idle_process_that_dies_is_replaced(pool):
    until(lambda: len(pool.pids) == 2)
    victim = pool.pids[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(pool.pids) == 2 and victim not in pool.pids)
    assert pool.submit(("echo", 1)).result(WAIT) == 1


def test_a_canceled_task_is_not_begun(pool, tmp_path):
    busy = [pool.submit(("pid", 0.4)) for _ in range(2)]
    canceled = pool.submit(("crash", (str(tmp_path / "tries"), 1)))
    assert canceled.cancel()
    assert [future.result(WAIT) for future in busy]
    assert pool.submit(("echo", 1)).result(WAIT) == 1
    assert not (tmp_path / "tries").exists()


@pytest.mark.parametrize(
    ("factory", "error", "words"),
    [
        (made_handlers.load_unable, ReasonIADError, "found no weights"),
        (made_handlers.load_faulty, TaskFailedError, "KeyError"),
        (made_handlers.load_dying, ModelError, "ended 3 times before it was ready; expected memory"),
        (lambda tell: None, TaskFailedError, "pickle|local object"),
    ],
    ids=["refused", "faulty", "dying", "not picklable"],
)
def test_a_model_that_cannot_be_loaded_fails_every_task_with_the_reason(factory, error, words):
    with WorkerPool(factory) as pool:
        futures = [pool.submit(("echo", number)) for number in range(3)]
        for future in futures:
            with pytest.raises(error, match=words):
                future.result(WAIT)
        with pytest.raises(error, match=words):
            pool.submit(("echo", 4)).result(WAIT)


def test_a_pool_that_must_go_on_tries_to_load_again_and_says_what_happens():
    states = []
    pool = WorkerPool(
        made_handlers.load_dying, restart_seconds=(0.0, 0.1), give_up=False,
        on_state=lambda number, state, content: states.append(state),
    )  # fmt: skip
    with pool:
        until(lambda: states.count("lost") >= 4)
    assert states[:4] == ["loading", "lost", "loading", "lost"]
    assert states[-1] == "stopped"


def test_closing_lets_a_task_end_if_there_is_time_and_ends_the_rest():
    pool = WorkerPool(made_handlers.load)
    pool.start()
    begun = threading.Event()
    first, second = pool.submit(("count", 1), lambda _: begun.set()), pool.submit(("pid", 0.3))
    assert first.result(WAIT) == "counted"
    until(lambda: second.running())
    third = pool.submit(("echo", 1))
    pids = pool.pids
    pool.close(seconds=10)
    assert second.result(0) == pids[0]
    with pytest.raises(WorkerLostError, match="stopped"):
        third.result(0)
    with pytest.raises(WorkerLostError, match="stopped"):
        pool.submit(("echo", 1)).result(0)
    assert not any(alive(pid) for pid in pids)


def test_processes_end_with_the_program_even_if_it_is_killed():
    program = subprocess.Popen([sys.executable, made_handlers.__file__], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    worker = int(program.stdout.readline())
    assert alive(worker)
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not alive(worker))


def test_a_task_goes_to_the_process_that_is_wanted_and_to_another_while_that_one_is_busy(pool):
    until(lambda: len(pool.pids) == 2)
    began: list[int] = []
    homes = [pool.submit(("pid", 0.3), on_begin=began.append) for _ in range(2)]
    pids = [home.result(WAIT) for home in homes]
    assert sorted(began) == [0, 1]
    assert len(set(pids)) == 2
    until(lambda: len(pool._line._idle) == 2)
    found = []
    for _ in range(6):
        found.append(pool.submit(("pid", 0.0), wanted=1).result(WAIT))
        until(lambda: len(pool._line._idle) == 2)
    assert set(found) == {pool.pids[1]}
    busy = pool.submit(("pid", 1.0), wanted=1)
    until(lambda: 1 not in pool._line._idle)
    assert pool.submit(("pid", 0.0), wanted=1).result(WAIT) == pool.pids[0]
    assert busy.result(WAIT) == pool.pids[1]
