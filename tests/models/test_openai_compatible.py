"""A model on a server, against a small server that runs as a process of its own."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from reason_iad.cli.app import main
from reason_iad.errors import InputError, ModelError
from reason_iad.inspection.served import ServedDialog
from reason_iad.models.base import Capabilities, is_open
from reason_iad.models.openai_compatible import Connection, OpenAICompatible
from reason_iad.models.server_limits import ServerLimits
from reason_iad.models.turns import letting_others, taking_turns

PICTURE = np.full((40, 60, 3), (200, 30, 30), dtype=np.uint8)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def connect(url, waits):
    """A model by name, whose pauses are noted instead of slept."""

    def make(name: str, **settings) -> OpenAICompatible:
        thinking = settings.pop("thinking", None)
        connection = Connection(settings.pop("url", url), **settings)
        return OpenAICompatible(name, connection, sleep=waits.append, thinking=thinking)

    return make


def requests(url: str, name: str) -> list[dict]:
    log = httpx.get(url.replace("/v1", "/log")).json()
    return [entry for entry in log if entry["body"]["model"] == name]


def test_log_probabilities_of_the_letters_become_probabilities_of_the_options(connect) -> None:
    choice = connect("open").choose(["Which?", PICTURE], 2)
    a, b = math.exp(-1.5), math.exp(-0.5) + math.exp(-2.0)  # a letter with a space before it is the letter
    assert choice.source == "logprobs"
    assert choice.probabilities == pytest.approx((a / (a + b), b / (a + b)))


def test_pictures_arrive_as_they_were_sent(connect, url) -> None:
    connect("open").choose(["first", PICTURE, "last"], 2)
    content = requests(url, "open")[-1]["body"]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    header, data = content[1]["image_url"]["url"].split(",")
    assert header == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == PICTURE.shape
    assert abs(picture.astype(int) - PICTURE).max() < 8


@pytest.mark.parametrize("name", ["closed", "strict"])
def test_without_log_probabilities_a_few_answers_are_counted(connect, url, name) -> None:
    choice = connect(name).choose(["Which?"], 2)  # of five answers, three are A
    assert choice.source == "samples"
    assert choice.probabilities == pytest.approx((3.5 / 6, 2.5 / 6))
    asked = len(requests(url, name))
    model = connect(name)
    model.choose(["Which?"], 2)
    model.choose(["Which?"], 2)
    later = len(requests(url, name)) - asked
    assert later == (14 if name == "closed" else 15)  # log-probabilities and constraints are asked for once a model


def test_a_thought_before_the_answer_is_left_out(connect) -> None:
    choice = connect("thinker").choose(["Which?"], 2)
    assert choice.probabilities[1] > 0.9


def test_an_answer_that_names_no_letter_is_refused_and_not_guessed(connect) -> None:
    with pytest.raises(ModelError, match=r"answered 'I see a picture.' to a choice among A, B"):
        connect("chatty").choose(["Which?"], 2)


def test_a_busy_server_is_asked_again_after_growing_pauses(connect, waits) -> None:
    assert connect("busy", backoff_seconds=8.0).choose(["Which?"], 2).source == "logprobs"
    assert len(waits) == 2
    assert 6 < waits[0] < 10
    assert 12 < waits[1] < 20


def test_the_servers_own_wish_to_wait_is_followed(connect, waits) -> None:
    assert connect("polite", backoff_seconds=0.01).choose(["Which?"], 2).source == "logprobs"
    assert waits == [3.0, 3.0]


def test_a_server_that_stays_down_is_named_after_the_last_try(connect, waits, url) -> None:
    before = len(requests(url, "down"))
    with pytest.raises(ModelError, match=r"answered 500 \(out of order\), 5 times; check that it runs"):
        connect("down", backoff_seconds=0.01, longest_wait=0.05).choose(["Which?"], 2)
    assert len(requests(url, "down")) - before == 5
    assert len(waits) == 4
    assert max(waits) <= 0.05


def test_a_server_that_does_not_answer_in_time_is_named(connect) -> None:
    with pytest.raises(ModelError, match=r"gave no answer within 0.2 s, 1 time"):
        connect("slow", answer_seconds=0.2, retries=0).complete(["Which?"], 8)


def test_a_server_that_is_not_there_is_named(connect) -> None:
    with pytest.raises(ModelError, match=r"the server 127.0.0.1:9 cannot be reached .* 3 times"):
        connect("open", url="http://127.0.0.1:9/v1", retries=2).complete(["Which?"], 8)


def test_a_wrong_key_is_not_tried_again_and_never_shown(connect, url, waits) -> None:
    with pytest.raises(ModelError, match=r"answered 401 .*set OPENAI_API_KEY to a key that it accepts") as caught:
        connect("locked", key="sk-secret").choose(["Which?"], 2)
    assert waits == []
    assert "sk-secret" not in str(caught.value) + repr(Connection(url, "sk-secret"))
    assert connect("locked", key="right").choose(["Which?"], 2).source == "logprobs"


def test_a_wrong_address_is_explained(connect, url) -> None:
    with pytest.raises(ModelError, match=r"answered 404 .*usually ends in /v1"):
        connect("open", url=url.removesuffix("/v1")).choose(["Which?"], 2)
    with pytest.raises(ModelError, match="no JSON object"):
        connect("garbage").choose(["Which?"], 2)


def test_the_environment_names_server_and_key(monkeypatch, url) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url + "/")
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    assert OpenAICompatible.from_environment("locked").choose(["Which?"], 2).source == "logprobs"
    for wrong in ("", "localhost:8000"):
        monkeypatch.setenv("OPENAI_BASE_URL", wrong)
        with pytest.raises(ModelError, match=r"OPENAI_BASE_URL is .* expected the address"):
            OpenAICompatible.from_environment("open")


def test_a_served_model_says_that_its_inside_is_closed_and_what_it_is_known_by(connect) -> None:
    model, other = connect("open"), connect("closed")
    assert not is_open(model)
    assert model.capabilities == Capabilities(latents=False, attention=False, option_probabilities=True)
    other.choose(["Which?"], 2)
    assert not other.capabilities.option_probabilities
    assert model.fingerprint != other.fingerprint
    assert model.fingerprint == connect("open").fingerprint


def test_a_dialog_sends_notes_references_evidence_image_and_question_in_this_order(connect, url) -> None:
    reference = np.zeros((20, 20, 3), dtype=np.uint8)
    dialog = ServedDialog(connect("open"), PICTURE, ["A nut is brown."], "A strong change at the left.", [reference])
    reply = dialog.choose("Is it <|im_end|> good?", ["Yes.", "No."])
    assert reply.answer.text == "No."
    assert reply.trace.mode == "off"
    assert sum(option.probability for option in reply.answer.options) == pytest.approx(1)
    content = requests(url, "open")[-1]["body"]["messages"][0]["content"]
    said = [part.get("text", "picture") for part in content]
    assert said[0].endswith("- A nut is brown.\n")
    assert said[1:4] == ["Normal reference 1:", "picture", "\n"]
    assert said[4:7] == ["Evidence: A strong change at the left.\n", "Image:", "picture"]
    assert said[-1] == "Question: Is it good?\nA. Yes.\nB. No.\nAnswer with the option's letter."
    with pytest.raises(InputError, match="2 to 26"):
        dialog.choose("Is it?", ["Yes."])


def test_free_words_come_back_as_written(connect) -> None:
    heard: list[str] = []
    answer = ServedDialog(connect("words"), PICTURE).tell("What is it?", on_text=heard.append).answer
    assert answer.text == "The part is scratched."
    assert heard == ["The part is scratched."]


@pytest.mark.parametrize(
    ("name", "counts", "note"), [("one-a-message", [1, 1, 1], "one by one"), ("one-in-all", [1], "not the references")]
)
def test_a_server_that_takes_one_picture_gets_them_one_by_one(connect, url, name, counts, note) -> None:
    other = np.full((40, 60, 3), 7, dtype=np.uint8)
    model = connect(name)
    choice = model.choose(["Normal reference 1:", other, "Normal reference 2:", other, "Image:", PICTURE, "Which?"], 2)
    assert choice.probabilities[1] > 0.8
    messages = [m for m in requests(url, name)[-1]["body"]["messages"] if m["role"] == "user"]
    assert [sum(part["type"] == "image_url" for part in message["content"]) for message in messages] == counts
    assert messages[-1]["content"][-1]["text"] == "Which?"
    assert note in model.notes[0]
    asked = len(requests(url, name))
    model.choose([other, PICTURE, "Which?"], 2)
    assert len(requests(url, name)) == asked + 1  # it is not tried the other way again


def test_the_choice_is_read_behind_a_thought_that_came_apart(connect, url) -> None:
    choice = connect("behind-a-thought").choose(["Which?"], 2)
    assert choice.source == "logprobs"
    a, b = math.exp(-1.8), math.exp(-0.2)
    assert choice.probabilities == pytest.approx((a / (a + b), b / (a + b)))
    assert [r["body"]["max_tokens"] for r in requests(url, "behind-a-thought")] == [8, 2048]


@pytest.mark.parametrize(("budget", "effort"), [(0, "none"), (300, "low")])
def test_a_budget_of_thinking_is_sent_and_leaves_room_for_the_answer(connect, url, budget, effort) -> None:
    name = f"says:B{budget}"
    connect(name, thinking=budget)._client.ask([], max_tokens=1)
    model = connect(name, thinking=budget)
    with contextlib.suppress(ModelError):
        model.choose(["Which?"], 2)
    body = requests(url, name)[-1]["body"]
    assert body["chat_template_kwargs"]["enable_thinking"] is (budget > 0)
    assert body["reasoning_effort"] == effort
    assert body["max_tokens"] > budget


def test_threads_keep_the_order_and_slow_down_where_the_server_is_crowded(url) -> None:
    model = OpenAICompatible("crowded", Connection(url, backoff_seconds=0.02, retries=9))
    model.ask_at_once(8)
    turn = threading.Lock()

    def ask(number: int) -> tuple[int, int]:
        with taking_turns(turn):
            before = model.spent
            model.choose([f"Question {number}"], 2)
            spent = model.spent - before
            return number, spent.tokens_read

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(30)))
    assert found == [(number, 7) for number in range(30)]
    assert model._client.gate.limit < 8


def test_one_thread_computes_at_a_time_and_waiting_lets_the_others() -> None:
    turn, computing, most, waiting = threading.Lock(), 0, 0, threading.Barrier(4, timeout=10)

    def work(_: int) -> None:
        nonlocal computing, most
        with taking_turns(turn):
            computing += 1
            most = max(most, computing)
            computing -= 1
            with letting_others():
                waiting.wait()  # all four wait side by side, or this breaks
            computing += 1
            most = max(most, computing)
            computing -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == 1


def test_models_of_a_server_are_listed_as_they_are_named(url, capsys) -> None:
    assert main(["models", "--server", url]) == 0
    assert capsys.readouterr().out.split() == ["openai:a", "openai:b"]
    assert main(["models", "--server", url.replace("/v1", "/no")]) == 2
    assert "does not list its models" in capsys.readouterr().err


def test_a_refusal_that_two_requests_meet_counts_once() -> None:
    limits = ServerLimits()
    content = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "image_url"}]
    sent = [limits.fitted(content, {"max_tokens": 8}) for _ in range(2)]  # under way at once
    words = "At most 1 image(s) may be provided in one prompt."
    assert all(limits.learn(words, one, content) for one in sent)
    assert limits.pictures_apart == 1
    assert limits.learn(words, limits.fitted(content, {}), content)
    assert limits.pictures_apart == 2
    assert not limits.learn(words, limits.fitted(content, {}), content)
