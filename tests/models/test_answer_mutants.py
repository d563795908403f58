"""Answers of servers, spoiled or made up: a letter, probabilities or nothing, and never an error of ours."""

from __future__ import annotations

import json
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from made_mutants import MUTANTS, run_mutants, spoiled

from reason_iad.models.chat_client import error_words
from reason_iad.models.letters import content_of, letter_probabilities, read_json_letter, read_letter

OPTIONS = ("Yes.", "No.", "A scratch (deep).", "B")
TEXTS = (
    "The answer is B.",
    r"So \boxed{\text{B}}.",
    "<think>A?</think>\n**Answer:** (B) No.",
    '```json\n{"answer": "B"}\n```',
    "<answer>B</answer>",
    "<|begin_of_box|>B<|end_of_box|>",
    "[[B]] A or B, I would choose option C",
    "Die Antwort lautet: b)",
)
CHOICE = {
    "finish_reason": "stop",
    "message": {"role": "assistant", "content": "B"},
    "logprobs": {"content": [{"token": "B", "logprob": -0.1, "top_logprobs": [{"token": "B", "logprob": -0.1}]}]},
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["A", "B", " b", "```"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "token", "logprob", "top_logprobs", "message", "text", "error", "detail", "code"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


def test_spoiled_answers_are_read_or_not_within_a_moment() -> None:
    def read(data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        found = read_letter(text, "ABCD", OPTIONS)
        assert found is None or found in "ABCD"
        assert read_json_letter(text, "ABCD") in (None, *"ABCD")
        return "read" if found else "unreadable"

    outcomes = run_mutants("answers", spoiled([text.encode() for text in TEXTS], MUTANTS or 500), read, ())
    assert len(outcomes) == 2


def test_long_answers_are_read_in_bounded_time() -> None:
    rng = random.Random(0)
    pieces = (
        "answer ",
        "is ",
        "the ",
        "option ",
        "(",
        "*",
        "**",
        "[",
        "{",
        " ",
        "\n",
        "A",
        "B ",
        "\\boxed{",
        "\\",
        '"',
        "<answer>",
        ":",
    )
    long = ["".join(rng.choices(pieces, k=4000)).encode() for _ in range(20)]
    long += [(piece * 20_000).encode() for piece in pieces]
    run_mutants("long answers", long, lambda data: str(read_letter(data.decode(), "AB", OPTIONS)), ())


@settings(max_examples=max(200, MUTANTS // 5), deadline=None)
@given(st.dictionaries(st.sampled_from(["message", "logprobs", "finish_reason", "error"]), ANYTHING), ANYTHING)
def test_any_json_is_no_error_of_ours(choice: dict, other: object) -> None:
    for one in (choice, {**CHOICE, "logprobs": other}, {**CHOICE, "message": other}):
        found = letter_probabilities(one, "AB")
        assert found is None or (math.isclose(sum(found), 1) and all(0 <= value <= 1 for value in found))
        assert isinstance(content_of(one), str)
        json.dumps(error_words(one))
    if isinstance(other, dict):
        assert isinstance(error_words(other), str)
