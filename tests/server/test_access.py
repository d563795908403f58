"""Tokens, roles, rates and addresses."""

from __future__ import annotations

import hashlib

import pytest

from reason_iad.errors import InputError
from reason_iad.server.problems import HttpProblem
from reason_iad.server.security import RateLimiter
from reason_iad.server.settings import Limits, Settings, Token, add_token, read_tokens

TOKENS = tuple(
    Token(role, role, hashlib.sha256(role.encode()).hexdigest()) for role in ("viewer", "inspector", "admin")
)
NOBODY = "0" * 32


def as_role(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {role}"}


@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/v1/inspections", "viewer"),
        ("GET", f"/v1/inspections/{NOBODY}", "viewer"),
        ("GET", f"/v1/inspections/{NOBODY}/pictures/map", "viewer"),
        ("GET", "/v1/knowledge?q=scratch", "viewer"),
        ("GET", "/metrics", "viewer"),
        ("POST", "/v1/inspections", "inspector"),
        ("POST", f"/v1/inspections/{NOBODY}/feedback", "inspector"),
        ("POST", f"/v1/inspections/{NOBODY}/questions", "inspector"),
        ("DELETE", f"/v1/inspections/{NOBODY}", "admin"),
        ("POST", "/v1/profiles", "admin"),
        ("GET", "/v1/audit", "admin"),
        ("GET", "/v1/status?whole=true", "admin"),
    ],
)
def test_every_role_may_do_what_it_may_and_no_more(serve, method, path, least):
    client = serve("small_inspectors:load_never", tokens=TOKENS, stop_seconds=0.1)
    json = {"kind": "missed", "question": "x"} if method == "POST" and NOBODY in path else None
    if json:
        json.pop("question" if "feedback" in path else "kind")
    order = ["viewer", "inspector", "admin"]
    for role in order:
        status = client.request(method, path, headers=as_role(role), json=json).status_code
        allowed = order.index(role) >= order.index(least)
        assert (status != 403) == allowed, (role, status)
    for headers in ({}, as_role("wrong"), {"authorization": "Basic dmlld2Vy"}, {"authorization": "Bearer "}):
        answer = client.request(method, path, headers=headers, json=json)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    log = client.get("/v1/audit", headers=as_role("admin")).json()
    assert any(line["outcome"] == "wrong_token" for line in log)


def test_health_and_page_need_no_token_and_tell_nothing(serve):
    client = serve("small_inspectors:load_never", tokens=TOKENS, stop_seconds=0.1)
    assert client.get("/healthz").status_code == 200
    assert client.get("/").status_code == 200
    status = client.get("/v1/status").json()
    assert (status["tokens"], status["who"], status["counts"], status["detail"]) == (True, None, {}, "")


def test_a_server_without_tokens_answers_on_its_own_machine_only():
    for host in ("0.0.0.0", "192.168.1.5", "::", "plant.example"):
        with pytest.raises(InputError, match="without tokens"):
            Settings(host=host)
        Settings(host=host, tokens=TOKENS)
    for host in ("127.0.0.1", "::1", "localhost"):
        Settings(host=host)


def test_the_token_file_holds_hashes_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "tokens.json"
    secret = add_token(path, "line 3", "inspector")
    add_token(path, "boss", "admin")
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    tokens = read_tokens(path)
    assert [t.role for t in tokens if t.matches(secret)] == ["inspector"]
    with pytest.raises(InputError, match="taken"):
        add_token(path, "boss", "viewer")
    path.write_text("{")
    with pytest.raises(InputError, match="no token file"):
        read_tokens(path)


def test_the_bucket_empties_and_fills_again():
    now = [0.0]
    limiter = RateLimiter(per_minute=60, burst=3, clock=lambda: now[0])
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(HttpProblem) as refused:
        limiter.take("a")
    assert refused.value.retry_after >= 1
    limiter.take("b")  # others are not disturbed
    now[0] = 1.01
    limiter.take("a")
    with pytest.raises(HttpProblem):
        limiter.take("a")


def test_who_asks_too_often_is_told_when_to_come_back(serve):
    client = serve("small_inspectors:load_never", limits=Limits(requests_per_minute=60, burst=3), stop_seconds=0.1)
    answers = [client.get("/v1/inspections") for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
