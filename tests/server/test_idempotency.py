"""Requests that are sent again under their key: done once, answered as before, at whichever server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from running import running
from test_several_servers import ready, send
from until import until


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def servers(request, serve_all):
    """One server on SQLite, or two that share a record on PostgreSQL: the first, and the one that is asked again."""
    if request.param == "sqlite":
        found = [serve_all()]
    else:
        url = request.getfixturevalue("kept_url")
        found = [serve_all(database=url, port=8400 + n, lease_seconds=2.0) for n in range(2)]
    until(lambda: all(ready(client) for client in found))
    return found[0], found[-1]


@pytest.fixture(autouse=True)
def fresh(request):
    """Every test begins a key of its own."""
    Own.key = request.node.name[:200].replace(" ", "_")


class Own:
    key = ""


def key(text: str = "") -> dict[str, str]:
    return {"Idempotency-Key": Own.key + text}


def sent(client, data: bytes, name: str = "part.png", wait: float = 30, headers=None, **fields):
    files = {"image": (name, data, "image/png")}
    return client.post(f"/v1/inspections?wait={wait}", files=files, data=fields, headers=headers or key())


@pytest.fixture
def count(servers):
    """How many inspections there are more than before the test."""

    def found() -> int:
        return sum(servers[0].get("/v1/status").json()["counts"].values())

    before = found()
    return lambda: found() - before


def test_an_inspection_that_is_sent_again_is_the_same_one(servers, picture, count):
    first, second = servers
    told = sent(first, picture())
    again = sent(second, picture(), headers={"Idempotency-Key": f'"{Own.key}"'})  # as the draft has it
    assert (told.status_code, again.status_code) == (200, 200), again.text
    assert again.json() == told.json()
    assert again.headers["location"] == told.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in told.headers
    assert count() == 1
    assert sent(first, picture(), headers=key("another")).json()["id"] != told.json()["id"]
    plain = [send(first, picture()).json()["id"] for _ in range(2)]  # without a key each is a new one
    assert count() == 4
    assert len(set(plain)) == 2


def test_one_that_was_only_accepted_is_waited_for_when_it_is_sent_again(servers, picture, count):
    first, second = servers
    told = sent(first, picture(), "slow_.png", wait=0)
    again = sent(second, picture(), "slow_.png", wait=30)
    assert (told.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == told.json()["id"]
    assert again.json()["state"] == "done"
    assert count() == 1


def test_the_same_key_with_something_else_is_refused(servers, picture, count):
    first, second = servers
    sent(first, picture(), category="screw")
    others = [
        sent(second, picture(seed=1), category="screw"), sent(second, picture(), "other.png", category="screw"),
        sent(second, picture()), sent(second, picture(), category="screw", question="What is wrong?"),
        second.post("/v1/inspections?priority=lot", files={"image": ("part.png", picture())}, headers=key()),
    ]  # fmt: skip
    assert [(one.status_code, one.json()["error"]["code"]) for one in others] == [(422, "key_reused")] * 5
    assert count() == 1


def test_of_many_at_once_one_is_done(servers, picture, count):
    data = picture()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: sent(servers[n % 2], data, "slow_.png"), range(6)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert any(answer.status_code == 200 for answer in answers)
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] == "in_progress"
            assert answer.headers["retry-after"] == "2"
    assert count() == 1


def test_questions_and_feedback_are_done_once(servers, picture):
    first, second = servers
    path = f"/v1/inspections/{send(first, picture()).json()['id']}"
    for place, asked in (("questions", {"question": "Where is it?"}), ("feedback", {"kind": "confirmed"})):
        told = first.post(f"{path}/{place}", json=asked, headers=key(place))
        again = second.post(f"{path}/{place}", json=asked, headers=key(place))
        assert told.is_success, told.text
        assert (again.status_code, again.json()) == (told.status_code, told.json())
        assert again.headers["idempotency-replayed"] == "true"
    assert len(first.get(path).json()["feedback"]) == 1
    other = first.post(f"{path}/feedback", json={"kind": "false_alarm"}, headers=key("feedback"))
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")


def test_what_is_still_being_done_is_not_begun_again(servers, picture):
    path = f"/v1/inspections/{send(servers[0], picture()).json()['id']}/questions"
    held = [send(client, picture(), "slow_.png", wait=0) for client in dict.fromkeys(servers)]  # the question waits
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(one.post, path, json={"question": "How?"}, headers=key()) for one in servers]
        answers = sorted((one.result() for one in asked), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    assert answers[1].json()["error"]["code"] == "in_progress"
    assert {answer.status_code for answer in held} == {202}


def test_after_an_error_the_key_is_free(servers, picture):
    first, second = servers
    refused = sent(first, b"no image")
    assert refused.status_code == 415
    assert sent(second, picture()).status_code == 200
    unknown = "/v1/inspections/" + "0" * 32 + "/feedback"
    for _ in range(2):
        answer = first.post(unknown, json={"kind": "confirmed"}, headers=key("feedback"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_inspection")


def test_a_part_that_cannot_be_inspected_is_refused_again_and_not_inspected_again(servers, picture, count):
    first, second = servers
    told, again = sent(first, picture(), "refuse_.png"), sent(second, picture(), "refuse_.png")
    assert (told.status_code, told.json()["error"]["code"]) == (422, "not_inspectable")
    assert (again.status_code, again.json()["error"]["code"]) == (422, "not_inspectable")
    assert again.json()["error"]["message"] == told.json()["error"]["message"]
    assert count() == 1


def test_an_inspection_that_was_interrupted_is_done_anew_under_its_key(servers, picture, count):
    first, second = servers
    assert sent(first, picture(), "crash_.png").status_code == 503
    until(lambda: ready(second))
    assert sent(second, picture(), "crash_.png").status_code == 503
    assert count() == 2


@pytest.mark.parametrize("text", ["", " ", "a b", "x" * 256, "\u00e9"])
def test_a_key_that_is_none_is_refused(servers, picture, text):
    answer = sent(servers[0], picture(), headers={"Idempotency-Key": text.encode("utf-8")})
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["error"]["message"]


def test_every_request_that_makes_something_takes_a_key(serve):
    paths = serve("small_inspectors:load_never").get("/openapi.json").json()["paths"]
    posts = {path: one["post"] for path, one in paths.items() if "post" in one}
    assert len(posts) >= 8
    for path, post in posts.items():
        assert "Idempotency-Key" in {given["name"] for given in post.get("parameters", [])}, path
        assert "409" in post["responses"], path


def test_a_restart_keeps_the_keys_of_what_was_accepted(serve, picture):
    client = serve()
    until(lambda: ready(client))
    told = sent(client, picture())
    client.__exit__(None, None, None)
    again = serve()
    until(lambda: ready(again))
    assert sent(again, picture()).json()["id"] == told.json()["id"]


def test_a_client_that_hung_up_finds_its_inspection(tmp_path, picture):
    with running(tmp_path / "home", data=tmp_path / "data") as address, httpx.Client(base_url=address) as client:
        until(lambda: ready(client))
        files = {"image": ("slow_.png", picture(), "image/png")}
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/inspections", files=files, headers=key(), timeout=0.5)
        again = client.post("/v1/inspections", files=files, headers=key(), timeout=30)
        assert (again.status_code, again.json()["state"]) == (200, "done")
        assert sum(client.get("/v1/status").json()["counts"].values()) == 1
