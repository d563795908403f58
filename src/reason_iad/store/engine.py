"""Connections to the record's database, with the settings that make SQLite safe and quick for several threads."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError, RecordUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Engine

DIALECTS = ("sqlite", "postgresql")
PATIENCE = {  # a database that vanished is noticed, and a transaction of a machine that vanished ends
    "connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "10", "keepalives_interval": "5",
    "keepalives_count": "3", "options": "-c idle_in_transaction_session_timeout=30000",
}  # fmt: skip


def create(url: str) -> Engine:
    """An engine for a URL, or for the one in a file (@FILE); the folder of a SQLite file is made where it is missing.

    Raises:
        InputError: no such database is known, or its driver is not installed.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(_read(url) if url.startswith("@") else url)
        dialect = parsed.get_backend_name()
        if dialect not in DIALECTS:
            raise InputError(f"the database is {dialect!r}; expected one of {', '.join(DIALECTS)}")
        if parsed.drivername == "postgresql":  # the plain name would ask for an older driver
            parsed = parsed.set(drivername="postgresql+psycopg")
        if dialect == "sqlite" and parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        if dialect == "postgresql":
            patience = {name: value for name, value in PATIENCE.items() if name not in parsed.query}
            engine = create_engine(parsed, pool_pre_ping=True, pool_timeout=10, connect_args=patience)
        else:
            engine = create_engine(parsed)
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


def _read(where: str) -> str:
    """A URL that stands in a file, so that its password is in no list of processes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return Path(where[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file {where[1:]} cannot be read ({type(error).__name__}); expected the URL of a database in it"
        ) from error


def explain_losses(engine: Engine) -> None:
    """From now on, say in words of ours that the database cannot be reached or has no room."""
    from sqlalchemy import event
    from sqlalchemy.exc import InterfaceError, OperationalError

    def explain(context: Any) -> None:
        if context.is_pre_ping:  # a connection that is dead is replaced, and nobody need know
            return
        found = context.sqlalchemy_exception
        lost = context.is_disconnect or isinstance(found, OperationalError | InterfaceError)
        why = str(context.original_exception).strip().splitlines() or [type(context.original_exception).__name__]
        if lost and not why[0].startswith("no such "):
            raise RecordUnavailableError(
                f"the record cannot be reached or written now ({why[0]}); nothing that was accepted is lost: try again"
            ) from context.original_exception

    event.listen(engine, "handle_error", explain)


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
