"""Prepared lines: what may stand among the wrong options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from reason_iad.training.shards import Shards, balance_options, is_held_out, right_answers


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


def write(folder: Path, name: str) -> None:
    """A shard of one image with one question."""
    metadata = {"records": json.dumps(line(name, "Nut.", "Bolt.")["records"]), "knowledge": "[]"}
    save_file({"0.vit": torch.zeros(1)}, folder / f"{name}.safetensors", metadata)


def test_lines_prepared_meanwhile_join_and_those_held_out_stay_so(tmp_path: Path) -> None:
    names = [f"line-{k:05d}" for k in range(24)]
    for name in names[:12]:
        write(tmp_path, name)
    first = Shards(tmp_path, 6)
    assert first.with_new() is first
    for name in names[12:]:
        write(tmp_path, name)
    second = first.with_new()
    assert sorted(one["name"] for one in (*second.train, *second.held_out)) == names
    assert {one["name"] for one in second.held_out} == {name for name in names if is_held_out(name, 6)}
    assert {one["name"] for one in first.held_out} <= {one["name"] for one in second.held_out}
