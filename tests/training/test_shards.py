"""Prepared lines: what may stand among the wrong options."""

from __future__ import annotations

from typing import Any

from reason_iad.training.shards import balance_options, right_answers


def line(name: str, right: str, *wrong: str) -> dict[str, Any]:
    question = {
        "kind": "Object Classification", "question": "What is it?", "free_form": False,
        "options": [*wrong, right], "answer_index": len(wrong),
    }  # fmt: skip
    return {"name": name, "records": [{"questions": [question]}]}


def test_no_text_stands_only_among_the_wrong_options() -> None:
    lines = [line("a", "Nut.", "Never.", "Bolt."), line("b", "Bolt.", "Never.", "Ever."), line("c", "Ring.", "Nut.")]
    right = right_answers(lines)
    for one in lines:
        balance_options(one, right)
    shown = {text for one in lines for q in one["records"][0]["questions"] for text in q["options"]}
    assert shown == {"Nut.", "Bolt.", "Ring."}
    answers = [q["options"][q["answer_index"]] for one in lines for q in one["records"][0]["questions"]]
    assert answers == ["Nut.", "Bolt.", "Ring."]
    assert [len(one["records"][0]["questions"][0]["options"]) for one in lines] == [3, 3, 2]


def test_options_that_are_all_right_somewhere_stay_as_they_are() -> None:
    lines = [line("a", "Nut.", "Bolt."), line("b", "Bolt.", "Nut.")]
    before = [one["records"][0]["questions"][0]["options"].copy() for one in lines]
    for one in lines:
        balance_options(one, right_answers(lines))
    assert [one["records"][0]["questions"][0]["options"] for one in lines] == before


def test_an_answer_that_has_no_other_keeps_its_options() -> None:
    lone = line("a", "Nut.", "Never.")
    balance_options(lone, right_answers([lone]))
    assert lone["records"][0]["questions"][0]["options"] == ["Never.", "Nut."]
