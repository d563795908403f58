"""Migrations lead to the very tables that the program uses, from nothing and from every version before."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from reason_iad.errors import InputError
from reason_iad.store import migrate
from reason_iad.store.engine import create
from reason_iad.store.store import Store


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
    engine.dispose()
    monkeypatch.setattr("reason_iad.store.engine.create", lambda url: engine)
    with pytest.raises(InputError, match="9999"):
        Store.open(database_url, tmp_path)
    assert engine.pool.checkedin() == 0


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
