"""Bring a database to the tables of this version, with Alembic; the migrations ship inside the package."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import InputError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

_log = logging.getLogger(__name__)
_LOCK = 0x726561736F6E  # of all migrations of our databases
MIGRATIONS = Path(__file__).parent / "migrations"


def config() -> Config:
    """Alembic's settings: where the migrations lie."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return settings


def upgrade(engine: Engine, revision: str = "head") -> str | None:
    """Run the migrations that the database lacks; returns the revision it had before (None for a new one).

    A database of a newer program is used as it is where that program says that this one may: migrations only add, so
    that servers of two versions can share a record while one replaces the other.

    Raises:
        InputError: a newer version of the program wrote the database, and this one would not understand it.
    """
    from alembic import command
    from sqlalchemy import text

    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # of several servers that start at once, one migrates
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _revision(connection)
        if before is not None and before not in known():
            oldest = _oldest(connection)
            if oldest not in known():
                raise InputError(
                    f"the database is at revision {before}, which this version does not know; install the version that "
                    "wrote it"
                )
            _log.warning("the database is at revision %s of a newer version, which lets this one use it", before)
            return before
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    return before


def current(engine: Engine) -> str | None:
    """The revision a database is at; None for one without our tables."""
    with engine.connect() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _oldest(connection: Connection) -> str | None:
    """The oldest revision whose programs may use the database; None where it does not say."""
    from sqlalchemy import inspect, select

    from reason_iad.store.tables import FactRow

    if not inspect(connection).has_table(FactRow.__tablename__):
        return None
    return connection.execute(select(FactRow.value).where(FactRow.name == "oldest")).scalar()


def known() -> tuple[str, ...]:
    """All revisions of this version, newest first."""
    from alembic.script import ScriptDirectory

    return tuple(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())
