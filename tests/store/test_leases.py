"""Inspections that several servers share, on a real PostgreSQL; each server here is a store with leases of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from made_report import make_report
from sqlalchemy import text

from reason_iad.errors import LeaseLostError
from reason_iad.store.leases import GIVEN_UP, add_event
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest

FACTS = {"name": "here:1", "version": "1", "workers": 1, "ready": 1}


class Server:
    """A store and its leases."""

    def __init__(self, url: str, folder, name: str, seconds: float = 30.0) -> None:
        self.store = Store.open(url, folder)
        self.leases = self.store.leases(name, seconds)

    def finish(self, identifier: str) -> None:
        done = lambda session: add_event(session, identifier, "done", {})  # noqa: E731
        self.store.finish(identifier, make_report(), {}, done, by=self.leases.server)


@pytest.fixture
def server(shared_url, tmp_path):
    made = []

    def start(name: str, seconds: float = 30.0) -> Server:
        made.append(Server(shared_url, tmp_path / "files", name, seconds))
        return made[-1]

    yield start
    for one in made:
        one.store.close()


def accept(server: Server, name: str = "part.png", who: str = "ann", priority: str = "person") -> str:
    return server.store.accept(InspectionRequest(name.encode(), name=name), who, priority=priority)


def lapse(server: Server) -> None:
    """Let every lease be over, as if its server had been silent: no clock decides, nor how busy the machine is."""
    with server.store._sessions.begin() as session:
        session.execute(text("UPDATE inspections SET lease_until = clock_timestamp() - interval '1 second'"))


def events(server: Server, identifier: str) -> list[str]:
    return [event.event for event in server.leases.events(identifier)]


def test_each_inspection_is_taken_by_one_server_however_many_ask_at_once(server):
    servers = [server(f"server-{n}") for n in range(4)]
    ids = [accept(servers[0], f"{n}.png") for n in range(40)]

    def work(one: Server) -> list[str]:
        taken = []
        while (lease := one.leases.take()) is not None:
            taken.append(lease.id)
            one.finish(lease.id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [identifier for part in pool.map(work, servers) for identifier in part]
    assert Counter(taken) == Counter(ids)
    assert {servers[0].store.get(one).state for one in ids} == {"done"}
    assert all(events(servers[0], one) == ["queued", "started", "done"] for one in ids)


def test_what_a_dead_server_was_at_is_done_again_once_and_then_given_up(server):
    first, second = server("first"), server("second")
    identifier = accept(first)
    assert first.leases.take().attempt == 1
    assert second.leases.take() is None  # the lease holds
    lapse(first)
    assert second.leases.take().attempt == 2
    lapse(first)
    assert first.leases.take() is None
    record = first.store.get(identifier)
    assert (record.state, record.error) == ("failed", GIVEN_UP)
    assert events(first, identifier) == ["queued", "started", "started", "failed"]


def test_signs_of_life_keep_a_lease_and_say_which_were_lost(server):
    first, second = server("first"), server("second")
    kept = accept(first)
    assert first.leases.take().id == kept
    for _ in range(2):
        lapse(first)  # late, and before anybody else
        assert first.leases.beat(FACTS, [kept]).lost == frozenset()
        assert second.leases.take() is None
    lapse(first)
    assert second.leases.take().id == kept
    assert first.leases.beat(FACTS, [kept]).lost == {kept}


def test_a_server_that_lost_its_lease_can_neither_finish_nor_fail_nor_tell(server):
    first, second = server("first"), server("second")
    identifier = accept(first)
    first.leases.take()
    lapse(first)
    second.leases.take()
    with pytest.raises(LeaseLostError):
        first.finish(identifier)
    with pytest.raises(LeaseLostError):
        first.store.fail(identifier, "late", by="first")
    with pytest.raises(LeaseLostError):
        first.leases.tell(identifier, [("stage", {"name": "late"})])
    second.finish(identifier)
    second.finish(identifier)  # as after an answer of the database that was lost: nothing is written twice
    assert events(first, identifier) == ["queued", "started", "started", "done"]


def test_what_is_given_back_waits_again_and_was_no_attempt(server):
    first, second = server("first"), server("second")
    identifier = accept(first)
    first.leases.take()
    first.leases.release(identifier)
    assert second.store.get(identifier).state == "queued"
    assert second.leases.take().attempt == 1


def test_clients_take_turns_and_people_come_before_lots(server):
    one = server("one")
    crowd = [accept(one, f"crowd-{n}.png", "crowd") for n in range(3)]
    lot = accept(one, "lot.png", "ann", "lot")
    single = accept(one, "single.png", "bob")
    order = [one.leases.take().id for _ in range(5)]
    assert order == [crowd[0], single, crowd[1], crowd[2], lot]


def test_a_lot_has_its_turn(server):
    one = server("one")
    accept(one, "person.png")
    lot = accept(one, "lot.png", priority="lot")
    assert one.leases.take(lot_first=True).id == lot


def test_the_clocks_of_the_servers_do_not_matter(server, monkeypatch):
    """The database's clock decides: here the program's own is an hour off, ahead and behind."""
    import datetime

    ahead, behind = server("ahead"), server("behind")
    plain = datetime.datetime

    def off(hours: int):
        class Off(plain):
            @classmethod
            def now(cls, tz=None):
                return plain.now(tz) + timedelta(hours=hours)

        for module in ("store.queries", "store.store", "store.leases", "store.chain"):
            monkeypatch.setattr(f"reason_iad.{module}.datetime", Off)

    off(1)
    first = accept(ahead, "first.png")
    off(-1)
    second = accept(behind, "second.png")
    assert behind.leases.take().id == first  # it came first
    off(1)
    assert ahead.leases.take().id == second
    assert ahead.leases.take() is None  # an hour ahead, it takes away no lease that holds
    lapse(ahead)
    off(-1)
    assert behind.leases.take().id in (first, second)  # an hour behind, it waits no hour
    record = ahead.store.get(first)
    assert abs(record.created_at - plain.now(datetime.UTC)) < timedelta(minutes=1)


def test_notices_tell_every_server_what_happens(server):
    first, second = server("first"), server("second")
    heard, ready = [], threading.Event()
    listener = second.store.listen(lambda identifier, event: (heard.append((identifier, event)), ready.set()))
    listener.start()
    assert ready.wait(5)
    identifier = accept(first)
    first.leases.take()
    first.leases.tell(identifier, [("stage", {"name": "read"})])
    first.finish(identifier)
    limit = time.monotonic() + 5
    while len(heard) < 5 and time.monotonic() < limit:
        time.sleep(0.02)
    listener.stop()
    listener.join(5)
    assert heard == [("", ""), *[(identifier, event) for event in ("queued", "started", "stage", "done")]]


def test_a_listener_goes_on_when_its_connection_is_cut(server):
    one, heard = server("one"), []
    listener = one.store.listen(lambda identifier, event: heard.append(event))
    listener.start()
    limit = time.monotonic() + 15
    while not heard and time.monotonic() < limit:
        time.sleep(0.02)
    with one.store._sessions.begin() as session:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        assert session.execute(text(cut)).scalar()
    while heard.count("") < 2 and time.monotonic() < limit:
        time.sleep(0.02)
    accept(one)
    while "queued" not in heard and time.monotonic() < limit:
        time.sleep(0.02)
    listener.stop()
    listener.join(5)
    assert heard == ["", "", "queued"]


def test_servers_know_of_each_other(server):
    first, second = server("first"), server("second")
    first.leases.beat(FACTS, [])
    waiting = accept(first)
    assert second.leases.beat(FACTS | {"name": "here:2"}, []).servers == 2
    (queued,) = second.leases.beat(FACTS | {"name": "here:2"}, []).waiting
    assert (queued.id, queued.who, queued.priority, queued.waited < 10) == (waiting, "ann", "person", True)
    assert [one.name for one in first.leases.servers()] == ["here:1", "here:2"]
    second.leases.leave()
    assert [one.id for one in first.leases.servers()] == ["first"]


def test_events_are_forgotten_when_their_inspection_has_ended_and_not_before(server):
    one = server("one")
    ended, waiting = accept(one), accept(one)
    one.leases.take()
    one.finish(ended)
    one.leases.tidy()
    assert len(events(one, ended)) == 3
    one.leases.tidy(hours=0)
    assert (events(one, ended), events(one, waiting)) == ([], ["queued"])
    assert one.store.get(ended).state == "done"


def test_a_rate_holds_across_servers(server):
    first, second = server("first"), server("second")
    allowed = [one.store.rates.take("ann", 1, 4) for one in (first, second, first, second, first, second)]
    assert allowed == [True] * 4 + [False] * 2
    assert second.store.rates.take("bob", 1, 4)
    assert not second.store.rates.take("ann", 6, 4)
    time.sleep(0.3)
    assert first.store.rates.take("ann", 600, 4)  # ten a second come back, over the whole time since
