"""Keys of requests that may be sent again, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from reason_iad.errors import KeyInUseError, KeyReusedError
from reason_iad.store import idempotency
from reason_iad.store.idempotency import Claim, Settled
from reason_iad.types import InspectionRequest

ASKED = InspectionRequest(b"image", name="part.png")


def test_a_key_is_settled_once_and_then_gives_the_first_answer(store):
    keys = store.idempotency
    claim = keys.claim("ann", "key", "asked", 30)
    assert isinstance(claim, Claim)
    with pytest.raises(KeyInUseError):
        keys.claim("ann", "key", "asked", 30)
    keys.settle(claim, {"said": 1})
    assert keys.claim("ann", "key", "asked", 30) == Settled(None, {"said": 1})
    with pytest.raises(KeyReusedError):
        keys.claim("ann", "key", "asked otherwise", 30)
    assert isinstance(keys.claim("bob", "key", "asked otherwise", 30), Claim)  # a key is one client's


def test_of_many_who_bring_the_same_key_at_once_one_has_it(store):
    def take(_):
        try:
            return store.idempotency.claim("ann", "key", "asked", 30)
        except KeyInUseError:
            return None

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(24)))
    assert sum(claim is not None for claim in taken) == 1


def test_an_inspection_settles_the_claim_that_it_came_with_and_only_that_one(store):
    keys = store.idempotency
    slow = keys.claim("ann", "key", "asked", -1)  # lapsed at once: its server was silent for too long
    other = keys.claim("ann", "key", "asked", 30)
    with pytest.raises(KeyInUseError):
        store.accept(ASKED, claim=slow)
    identifier = store.accept(ASKED, claim=other)
    assert keys.claim("ann", "key", "asked", 30) == Settled(identifier, None)
    assert sum(store.counts().values()) == 1  # the one whose claim had lapsed was not made
    keys.settle(slow, {"late": True})
    keys.give_back(other)  # what was settled is not given back by mistake
    assert keys.claim("ann", "key", "asked", 30) == Settled(identifier, None)
    keys.give_back(other, settled=True)
    assert isinstance(keys.claim("ann", "key", "asked", 30), Claim)


def test_a_key_goes_with_its_inspection(store):
    keys = store.idempotency
    identifier = store.accept(ASKED, claim=keys.claim("ann", "key", "asked", 30))
    store.start(identifier)
    store.fail(identifier, "no part")
    assert store.remove(identifier)
    assert isinstance(keys.claim("ann", "key", "asked", 30), Claim)


def test_a_key_is_kept_for_a_day_and_no_longer(store, monkeypatch):
    keys = store.idempotency
    for name in ("old", "new"):
        keys.settle(keys.claim("ann", name, "asked", 30), {})
    with store._sessions.begin() as session:
        day = store.now() - timedelta(hours=24, minutes=1)
        session.execute(
            text("UPDATE idempotency_keys SET created_at = :day WHERE key = 'old'").bindparams(
                day=day if store.shared else str(day.replace(tzinfo=None))
            )
        )
    assert isinstance(keys.claim("ann", "old", "asked otherwise", 30), Claim)  # free again, before it is deleted
    with store._sessions.begin() as session:
        session.execute(
            text("UPDATE idempotency_keys SET created_at = :day WHERE key = 'old'").bindparams(
                day=day if store.shared else str(day.replace(tzinfo=None))
            )
        )
    monkeypatch.setattr(idempotency, "TIDY_SECONDS", -1.0)
    keys.claim("ann", "third", "asked", 30)
    with store._reads() as session:
        assert set(session.execute(text("SELECT key FROM idempotency_keys")).scalars()) == {"new", "third"}


def test_a_restart_of_the_one_server_frees_what_it_was_at(store):
    keys = store.idempotency
    keys.claim("ann", "open", "asked", 3600)
    identifier = store.accept(ASKED, claim=keys.claim("ann", "done", "asked", 30))
    assert store.recover() == (identifier,)
    assert isinstance(keys.claim("ann", "open", "asked", 30), Claim)
    assert keys.claim("ann", "done", "asked", 30) == Settled(identifier, None)
