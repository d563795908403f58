"""A server with two model processes: work at once, in turn, and after the death of one."""

from __future__ import annotations

import os
import signal
import time

import pytest
from until import until

from reason_iad.errors import InputError
from reason_iad.server.settings import Settings


def send(client, data: bytes, name: str = "part.png", wait: float = 30, **query):
    extra = "".join(f"&{key}={value}" for key, value in query.items())
    return client.post(f"/v1/inspections?wait={wait}{extra}", files={"image": (name, data, "image/png")})


@pytest.fixture
def two(serve):
    client = serve(workers=2)
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
    return client


def test_two_processes_inspect_at_once(two, picture):
    slow = [send(two, picture(), f"slow_{n}.png", wait=0).json()["id"] for n in range(2)]
    until(lambda: two.get("/v1/status").json()["running"] == 2)
    for identifier in slow:
        until(lambda identifier=identifier: two.get(f"/v1/inspections/{identifier}").json()["state"] == "done")
    assert two.get("/v1/status").json()["workers"] == 2


def test_the_death_of_one_process_costs_no_inspection_and_the_other_goes_on(two, picture):
    slow = [send(two, picture(), f"slow_{n}.png", wait=0).json()["id"] for n in range(2)]
    until(lambda: two.get("/v1/status").json()["running"] == 2)
    time.sleep(0.3)
    os.kill(two.app.state.reason_iad.model.pids[0], signal.SIGKILL)
    assert two.get("/readyz").status_code == 200  # the other one is there
    for identifier in slow:
        until(lambda identifier=identifier: two.get(f"/v1/inspections/{identifier}").json()["state"] == "done")


def test_an_inspection_whose_process_is_killed_twice_is_marked_failed_and_costs_no_other(two, picture):
    def at_it() -> list[int]:
        workers = two.get("/v1/status?whole=true").json()["whole"]["workers"]
        return [one["pid"] for one in workers if one["id"] == doomed and one["pid"]]

    doomed = send(two, picture(), "stuck_0.png", wait=0).json()["id"]  # so it is at it until it is killed
    (first,) = until(at_it)
    other = send(two, picture(), "slow_1.png", wait=0).json()["id"]
    os.kill(first, signal.SIGKILL)
    (second,) = until(lambda: [pid for pid in at_it() if pid != first])
    os.kill(second, signal.SIGKILL)
    until(lambda: two.get(f"/v1/inspections/{doomed}").json()["state"] == "failed")
    assert "ended twice during it" in two.get(f"/v1/inspections/{doomed}").json()["error"]
    until(lambda: two.get(f"/v1/inspections/{other}").json()["state"] == "done")
    until(lambda: two.get("/v1/status").json()["workers_ready"] == 2)
    assert send(two, picture()).status_code == 200


def test_an_inspection_that_takes_too_long_ends_its_own_process_alone(serve, picture):
    from reason_iad.server.settings import Limits

    client = serve(workers=2, limits=Limits(inspection_seconds=4))
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
    assert send(client, picture()).status_code == 200
    stuck = send(client, picture(), "stuck_.png", wait=0).json()["id"]
    until(lambda: client.get("/v1/status").json()["running"] == 1)
    assert send(client, picture()).status_code == 200  # meanwhile
    until(lambda: client.get(f"/v1/inspections/{stuck}").json()["state"] == "failed")
    until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)


def test_a_question_goes_to_the_process_that_has_the_image_before_it(two, picture):
    ids = [send(two, picture(seed=number), f"part_{number}.png").json()["id"] for number in range(4)]
    asked = [two.post(f"/v1/inspections/{one}/questions", json={"question": "What is wrong?"}) for one in ids * 2]
    assert [answer.json()["prepared"] for answer in asked] == [True] * 8


def test_people_come_before_a_lot(serve, picture):
    client = serve()
    first = send(client, picture(), "slow_0.png", wait=0)
    until(lambda: client.get("/v1/status").json()["running"] == 1)
    lot = [send(client, picture(), f"lot_{n}.png", wait=0, priority="lot").json()["id"] for n in range(3)]
    person = send(client, picture(), "person.png", wait=0).json()
    assert first.status_code == 202
    assert person["position"] == 1
    assert [client.get(f"/v1/inspections/{one}").json()["position"] for one in lot] == [2, 3, 4]
    assert send(client, picture(), priority="king").status_code == 422


def test_a_number_of_workers_without_meaning_is_refused():
    with pytest.raises(InputError, match="found 0 workers; expected 1 to"):
        Settings(workers=0)
