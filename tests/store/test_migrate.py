"""Migrations lead to the very tables that the program uses, from nothing and from every version before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from made_report import make_report
from sqlalchemy import text

from reason_iad.errors import InputError
from reason_iad.store import migrate
from reason_iad.store.engine import create
from reason_iad.store.files import open_files
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


def differences(engine) -> list:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from reason_iad.store.tables import Base

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)


def test_the_migrations_build_the_tables_that_the_program_uses(database_url):
    engine = create(database_url)
    assert migrate.upgrade(engine) is None
    assert differences(engine) == []
    assert migrate.upgrade(engine) == migrate.known()[0]  # a second run finds nothing to do
    engine.dispose()


def test_every_migration_can_be_taken_back_and_applied_again(database_url):
    from alembic import command

    engine = create(database_url)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        settings = migrate.config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, "base")
        command.upgrade(settings, "head")
    assert differences(engine) == []
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_and_no_connection_to_it_kept(database_url, tmp_path, monkeypatch):
    engine = create(database_url)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE facts SET value = '9998' WHERE name = 'oldest'"))
    engine.dispose()
    monkeypatch.setattr("reason_iad.store.engine.create", lambda url: engine)
    with pytest.raises(InputError, match="9999"):
        Store.open(database_url, tmp_path)
    assert engine.pool.checkedin() == 0


def test_a_database_of_a_newer_version_that_only_added_is_used_by_this_one(database_url, tmp_path, caplog):
    engine = create(database_url)
    migrate.upgrade(engine)
    with engine.begin() as connection:  # as the migration of a later version would leave it
        connection.execute(text("ALTER TABLE inspections ADD COLUMN temperature FLOAT"))
        connection.execute(text("ALTER TABLE audit ADD COLUMN reason VARCHAR(16) NOT NULL DEFAULT ''"))
        connection.execute(text("CREATE TABLE cameras (id INTEGER PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    store = Store.open(database_url, tmp_path / "files")
    assert "9999 of a newer version" in caplog.text
    identifier = store.accept(InspectionRequest(b"image", name="part.png"))
    store.start(identifier)
    store.finish(identifier, make_report(), {})
    store.audit("ann", "admin", "look", "x", "ok")
    assert store.get(identifier).state == "done"
    assert store.trail.verify().fault is None
    assert migrate.current(engine) == "9999"  # and left as it was
    store.close()
    engine.dispose()


def test_a_program_of_the_revision_before_goes_on_with_these_tables(database_url, tmp_path):
    """What 0.1 writes, in its words: every column that it does not know has a value by itself."""
    store = Store.open(database_url, tmp_path / "files")
    with store._sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO inspections (id, state, origin, who, name, image_sha256, request, created_at) VALUES "
                "('a', 'queued', 'server', 'ann', 'part.png', 'x', '{}', '2026-11-28 03:00:00')"
            )
        )
        session.execute(text("UPDATE inspections SET state = 'running' WHERE id = 'a' AND state IN ('queued')"))
    found = store.get("a")
    assert (found.state, found.name) == ("running", "part.png")
    store.close()


def test_servers_of_the_revision_before_may_stay_beside_those_of_this_one(database_url, tmp_path):
    engine = create(database_url)
    newest, before, *_ = migrate.known()
    migrate.upgrade(engine, before)
    store = Store(engine, open_files(tmp_path / "files"))  # as a server that runs while another one migrates
    identifier = store.accept(InspectionRequest(b"image", name="part.png"))
    migrate.upgrade(engine)
    assert store.facts.get("oldest") in migrate.known()[1:]
    store.start(identifier)
    store.finish(identifier, make_report(), {})
    assert (migrate.current(engine), store.get(identifier).state) == (newest, "done")
    engine.dispose()


@pytest.mark.parametrize("several", [4])
def test_servers_that_start_at_once_on_an_empty_database_migrate_it_once(shared_url, several):
    engines = [create(shared_url) for _ in range(several)]
    with ThreadPoolExecutor(several) as pool:
        before = list(pool.map(migrate.upgrade, engines))
    assert sorted(before, key=str) == [*[migrate.known()[0]] * (several - 1), None]
    for engine in engines:
        engine.dispose()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg forgets a failed connection
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://x/y", "expected one of sqlite, postgresql"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "cannot be used"),
        ("sqlite:////proc/none/record.db", "cannot be made"),
    ],
)
def test_a_database_that_cannot_be_used_is_explained_without_its_password(url, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        Store.open(url, tmp_path)
    assert "secret" not in str(caught.value)
