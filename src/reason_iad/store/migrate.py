"""Bring a database to the tables of this version, with Alembic; the migrations ship inside the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import InputError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

MIGRATIONS = Path(__file__).parent / "migrations"


def config() -> Config:
    """Alembic's settings: where the migrations lie."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return settings


def upgrade(engine: Engine, revision: str = "head") -> str | None:
    """Run the migrations that the database lacks; returns the revision it had before (None for a new one).

    Raises:
        InputError: a newer version of the program wrote the database.
    """
    from alembic import command

    before = current(engine)
    if before is not None and before not in known():
        raise InputError(
            f"the database is at revision {before}, which this version does not know; install the version that wrote it"
        )
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    return before


def current(engine: Engine) -> str | None:
    """The revision a database is at; None for one without our tables."""
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def known() -> tuple[str, ...]:
    """All revisions of this version, newest first."""
    from alembic.script import ScriptDirectory

    return tuple(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())
