"""Connections to the record's database, with the settings that make SQLite safe and quick for several threads."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

DIALECTS = ("sqlite", "postgresql")


def create(url: str) -> Engine:
    """An engine for a URL; the folder of a SQLite file is made where it is missing.

    Raises:
        InputError: no such database is known, or its driver is not installed.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
        if dialect not in DIALECTS:
            raise InputError(f"the database is {dialect!r}; expected one of {', '.join(DIALECTS)}")
        if parsed.drivername == "postgresql":  # the plain name would ask for an older driver
            parsed = parsed.set(drivername="postgresql+psycopg")
        if dialect == "sqlite" and parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=dialect != "sqlite")
    except OSError as error:
        raise InputError(f"the folder of the database {parsed.database} cannot be made ({error.strerror})") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(
            "the database URL cannot be read; expected sqlite:///file.db or postgresql+psycopg://user@host/name"
        ) from error
    except ImportError as error:
        raise InputError(f"the database driver {error.name} is not installed: pip install 'psycopg[binary]'") from error
    if dialect == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Readers beside one writer, waits instead of errors, and foreign keys that are kept."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None  # SQLAlchemy's `begin` below opens the transactions
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    """Take the write lock at once where something may be written: a reader that turns writer would fail, not wait."""
    reads = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
