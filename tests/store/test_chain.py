"""The audit log as a hash chain, on both databases: whatever is changed in it is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from reason_iad.errors import InputError


def fill(store, lines: int = 4) -> None:
    for number in range(lines):
        store.audit("ann", "inspector", "inspect", f"part {number}", "ok", "127.0.0.1")


def change(store, statement: str) -> None:
    with store._sessions.begin() as session:
        session.execute(text(statement))


def test_a_log_that_nobody_touched_is_whole_and_names_its_head(store):
    fill(store)
    found = store.trail.verify()
    assert (found.lines, found.fault) == (4, None)
    fill(store)
    assert store.trail.verify(f"{found.lines}:{found.head}").fault is None
    assert store.trail.verify().lines == 8


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET who = 'bob' WHERE target = 'part 1'", "line 2 .* does not fit"),
        ("UPDATE audit SET at = '2026-01-01 00:00:00' WHERE target = 'part 3'", "line 4"),
        ("DELETE FROM audit WHERE target = 'part 2'", "line 3"),
        ("DELETE FROM audit WHERE target = 'part 3'", "ends after 3 lines; expected 4"),
        ("UPDATE audit SET hash = NULL WHERE target = 'part 0'", "line 1 .* has no hash"),
    ],
)
def test_a_change_is_found(store, statement, said):
    import re

    fill(store)
    change(store, statement)
    assert re.search(said, store.trail.verify().fault)


def test_a_chain_made_anew_does_not_hold_a_head_that_was_noted(store):
    fill(store)
    noted = store.trail.verify()
    change(store, "DELETE FROM audit")
    change(store, "UPDATE audit_head SET lines = 0, hash = '" + "0" * 64 + "'")
    fill(store)
    assert store.trail.verify().fault is None
    assert "was never at" in store.trail.verify(f"{noted.lines}:{noted.head}").fault
    with pytest.raises(InputError, match="expected LINES:HASH"):
        store.trail.verify("yesterday")


def test_lines_that_come_at_once_make_one_chain(store):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: fill(store, 5), range(6)))
    assert (store.trail.verify().lines, store.trail.verify().fault) == (30, None)


def test_a_log_from_before_the_chain_is_chained_when_the_record_is_brought_up_to_date(database_url, tmp_path):
    from reason_iad.store import migrate
    from reason_iad.store.engine import create
    from reason_iad.store.store import Store

    engine = create(database_url)
    migrate.upgrade(engine, "0002")
    with engine.begin() as connection:
        for number in range(3):
            connection.execute(
                text(
                    "INSERT INTO audit (at, who, role, action, target, outcome, client) VALUES "
                    f"('2026-11-0{number + 1} 03:00:00', 'ann', 'admin', 'look', 'x', 'ok', '')"
                )
            )
    engine.dispose()
    store = Store.open(database_url, tmp_path / "files")
    fill(store, 1)
    assert (store.trail.verify().lines, store.trail.verify().fault) == (4, None)
    store.close()
