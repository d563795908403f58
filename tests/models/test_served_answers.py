"""Answers of served models: what may be trusted, what is read how, and errors in the server's words."""

from __future__ import annotations

import json
import math

import httpx
import pytest

from reason_iad.errors import ModelError
from reason_iad.models.letters import letter_probabilities, read_letter
from reason_iad.models.openai_compatible import Connection, OpenAICompatible

OPTIONS = ("Yes.", "No.")


@pytest.fixture
def connect(url):
    def make(name: str) -> OpenAICompatible:
        return OpenAICompatible(name, Connection(url), sleep=lambda seconds: None)

    return make


def sent(url: str, name: str) -> list[dict]:
    log = httpx.get(url.replace("/v1", "/log")).json()
    return [entry["body"] for entry in log if entry["body"]["model"] == name]


@pytest.mark.parametrize(
    "text",
    [
        "B", " B", "b", "b.", "(b)", "B)", "**B**", "`B`", '"B"', "B. No.", "B: No.", "B - no", "B, the second",
        "The answer is B.", "The correct answer is **B**.", "Answer: (B)", "**Answer: B**", "Final answer: B",
        "Option B", "Option B is correct", "B is the correct answer.", "answer is b", "I would choose B.",
        r"\boxed{B}", r"So $\boxed{\text{B}}$.", "<answer>B</answer>", "<answer> B. No. </answer>", "[[B]]",
        "<|begin_of_box|>B<|end_of_box|>", '{"answer": "B"}', '```json\n{"answer": "B"}\n```', "B</s>",
        "<think>A?</think>\n\nThe answer is B.", "A?</think>B", "[THINK]A[/THINK]B", "◁think▷A◁/think▷B",
        "A part is shown. B", "It is whole.\n\n**B**", "No.", "no", "No, there is no defect.", "Die Antwort ist B.",
        "Antwort: B", "Not A. B", "Ｂ", "答案是B。", "选项 B", "正确答案：B", "答えはBです。", "정답은 B입니다.",
        "La respuesta es B.", "La réponse est B.", "La réponse est : **B**", "La risposta è B.",
        "A resposta correta é B.", "Het antwoord is B.", "Ответ: B",
    ],
)  # fmt: skip
def test_every_usual_form_of_an_answer_is_read(text: str) -> None:
    assert read_letter(text, "AB", OPTIONS) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "", "I see a picture.", "A scratch", "A part is shown.", "A or B", "A, B", "Both A and B", "<think>B",
        "La respuesta es a medias.", "La réponse est Aucune", "答案是AB", "The answer is a scratch.",
        "The answer is A scratch", "A. No.", "C", "So the answer is not A but B.",
    ],
)  # fmt: skip
def test_what_names_no_option_or_several_is_not_guessed(text: str) -> None:
    assert read_letter(text, "AB", OPTIONS) is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("<think>Let", [("<think>", [("<think>", 0.0), ("A", -12.0), ("B", -14.0)])]),  # p(A) = 0.88 of 0.0007 %
        ("A part is shown. B", [("A", [("A", -0.1), ("B", -3.0)])]),  # an article
        ("A part is shown", [("A", [("A", -0.1), ("B", -3.0)])]),
        ("**Answer", [("**", [("**", -0.01)]), ("Answer", [("Answer", -0.1), ("A", -3.0), ("B", -4.0)])]),
        ("The answer is B.", [("The", [("The", -0.2), ("A", -2.0)])]),
        ("B", [("B", [("B", None), ("A", "x")])]),
    ],
)  # fmt: skip
def test_a_letters_probability_counts_only_where_letters_hold_the_token(text: str, tokens: list) -> None:
    tops = [{"token": t, "top_logprobs": [{"token": o, "logprob": p} for o, p in top]} for t, top in tokens]
    assert letter_probabilities({"message": {"content": text}, "logprobs": {"content": tops}}, "AB") is None


@pytest.mark.parametrize("text", ["B", " (B)", "**B**", "b", "B. No."])
def test_marks_before_a_letter_are_passed_over(text: str) -> None:
    marks = [{"token": mark, "logprob": -0.01} for mark in text[: text.upper().index("B")]]
    letter = text[text.upper().index("B")]
    tops = [{"token": letter, "logprob": -0.1}, {"token": "A", "logprob": -2.5}]
    choice = {
        "message": {"content": text},
        "logprobs": {"content": [*marks, {"token": letter, "logprob": -0.1, "top_logprobs": tops}]},
    }
    a, b = math.exp(-2.5), math.exp(-0.1)
    assert letter_probabilities(choice, "AB", OPTIONS) == pytest.approx((a / (a + b), b / (a + b)))


def test_letters_that_are_not_listed_share_what_is_left() -> None:
    lone = {"message": {"content": "B"}, "logprobs": {"content": [{"token": "B", "logprob": math.log(0.8)}]}}
    assert letter_probabilities(lone, "ABC") == pytest.approx((0.1, 0.8, 0.1))


def test_prose_is_constrained_to_a_schema_and_its_letter_has_probabilities(connect, url) -> None:
    choice = connect("vllm").choose(["Which?"], 2, OPTIONS)
    a, b = math.exp(-1.8), math.exp(-0.2)
    assert choice.source == "logprobs"
    assert choice.probabilities == pytest.approx((a / (a + b), b / (a + b)))
    schema = sent(url, "vllm")[-1]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["answer"]["enum"] == ["A", "B"]


@pytest.mark.parametrize("name", [f"{how}:{form}" for how in ("keeps", "refuses") for form in
                                  ("schema", "structured", "guided")])  # fmt: skip
def test_the_form_of_constraint_that_a_server_keeps_to_is_found_and_kept(connect, url, name: str) -> None:
    model = connect(name)
    choice = model.choose(["Which?"], 2, OPTIONS)
    assert choice.source == "constrained samples"
    assert choice.probabilities == pytest.approx((3.5 / 6, 2.5 / 6))
    asked = len(sent(url, name))
    assert model.choose(["Which?"], 2, OPTIONS) == choice
    assert len(sent(url, name)) - asked == 6  # nothing that failed is tried again


@pytest.mark.parametrize("name", ["thought", "apart"])
def test_a_model_that_thinks_is_given_room_and_its_answer_read(connect, name: str) -> None:
    choice = connect(name).choose(["Which?"], 2, OPTIONS)
    assert choice.source == "samples"
    assert choice.probabilities == pytest.approx((0.5 / 6, 5.5 / 6))
    assert connect(name).complete(["Which?"], 16).endswith("B" if name == "apart" else "is B.")


def test_a_thought_without_an_answer_is_said(connect) -> None:
    with pytest.raises(ModelError, match=r"answered with a thought and no answer to a choice .* turn its thinking off"):
        connect("only-thought").choose(["Which?"], 2)
    with pytest.raises(ModelError, match=r"answered with a thought and no answer; expected words"):
        connect("only-thought").complete(["Which?"], 8)


def test_what_a_server_refuses_is_put_otherwise_or_left_out_from_then_on(connect, url) -> None:
    model = connect("reasoning")
    assert model.choose(["Which?"], 2).source == "constrained samples"
    asked = len(sent(url, "reasoning"))
    assert model.complete(["Which?"], 1200) == "B"
    last = sent(url, "reasoning")[-1]
    assert len(sent(url, "reasoning")) - asked == 1
    assert last["max_completion_tokens"] == 1200
    assert not {"max_tokens", "temperature", "logprobs", "guided_choice"} & set(last)


def test_a_limit_of_alternatives_is_kept_to(connect, url) -> None:
    assert connect("limited").choose(["Which?"], 2).source == "logprobs"
    assert sent(url, "limited")[-1]["top_logprobs"] == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "model 'x' not found", "type": "api"}}, r"\(model 'x' not found\); check the model"),
        ({"error": "out of memory"}, r"\(out of memory\)"),
        ({"object": "error", "message": "no such model", "code": 404}, r"an error, inside a 200 \(no such model\)"),
        ({"detail": [{"msg": "bad"}]}, "bad"),
        ({"choices": []}, r"answered \{'choices': \[\]\} without choices"),
        ({"choices": [{"message": {"content": None, "refusal": "I cannot."}}]}, "refused to answer: I cannot"),
        ({"choices": [{"error": {"message": "upstream died"}, "message": {"content": ""}}]}, "upstream died"),
        ({"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]}, "content filter"),
        ({"choices": [{"message": "B"}]}, "answered nothing"),
        ({"choices": ["B"]}, "without choices"),
    ],
)  # fmt: skip
def test_an_error_inside_a_200_is_shown_in_the_servers_words(connect, body: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        connect(f"inside:{json.dumps(body)}").choose(["Which?"], 2)


def test_a_rate_limit_inside_a_200_is_waited_for(connect) -> None:
    assert connect("busy-inside").choose(["Which?"], 2).source == "samples"


def test_content_in_parts_is_joined(connect) -> None:
    assert connect("parts").choose(["Which?"], 2).probabilities == pytest.approx((0.5 / 6, 5.5 / 6))
