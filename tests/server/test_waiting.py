"""Whose turn it is: questions, people, lots; within a kind client by client."""

from __future__ import annotations

from dataclasses import dataclass

from reason_iad.server.waiting import LOT_TURN, Priority, Waiting


@dataclass(eq=False)
class Job:
    client: str
    name: str
    priority: Priority = "person"


def taken(waiting: Waiting[Job], count: int) -> list[str]:
    found = [waiting.take() for _ in range(count)]
    return [job.name if job else "-" for job in found]


def test_whoever_sends_many_delays_others_by_one() -> None:
    waiting: Waiting[Job] = Waiting()
    for number in range(3):
        waiting.add(Job("a", f"a{number}"))
    waiting.add(Job("b", "b0"))
    waiting.add(Job("c", "c0"))
    assert [job.name for job in waiting] == ["a0", "b0", "c0", "a1", "a2"]
    assert taken(waiting, 2) == ["a0", "b0"]
    waiting.add(Job("b", "b1"))
    assert taken(waiting, 5) == ["c0", "a1", "b1", "a2", "-"]


def test_a_question_comes_before_people_and_people_before_lots() -> None:
    waiting: Waiting[Job] = Waiting()
    waiting.add(Job("a", "lot", "lot"))
    waiting.add(Job("a", "person"))
    waiting.add(Job("b", "question", "question"))
    assert taken(waiting, 3) == ["question", "person", "lot"]


def test_a_lot_is_not_starved_by_people() -> None:
    waiting: Waiting[Job] = Waiting()
    for number in range(4 * LOT_TURN):
        waiting.add(Job(f"client {number % 3}", "person"))
    for _ in range(10):
        waiting.add(Job("lot", "lot", "lot"))
    began = taken(waiting, 3 * LOT_TURN)
    assert [began[turn * LOT_TURN : (turn + 1) * LOT_TURN].count("lot") for turn in range(3)] == [1, 1, 1]


def test_a_job_that_may_not_begin_holds_up_no_other_client() -> None:
    waiting: Waiting[Job] = Waiting()
    waiting.add(Job("a", "blocked"))
    waiting.add(Job("b", "free"))
    job = waiting.take(lambda one: one.name != "blocked")
    assert job is not None
    assert job.name == "free"
    assert len(waiting) == 1


def test_a_job_is_taken_back_once() -> None:
    waiting: Waiting[Job] = Waiting()
    job = Job("a", "a0")
    waiting.add(job)
    assert waiting.remove(job)
    assert not waiting.remove(job)
    assert (len(waiting), list(waiting), waiting.take()) == (0, [], None)
