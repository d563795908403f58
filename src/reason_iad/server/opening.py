"""Open the record that a server works on, and see that it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from reason_iad.errors import InputError
from reason_iad.server.settings import Settings
from reason_iad.store.store import Store

LOCK = ".server.lock"


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The record of a server, for as long as it runs.

    A file of SQLite is one server's, and held by it; on PostgreSQL the evidence must be that of the other servers.

    Raises:
        InputError: the record cannot be used, or is another server's.
        RecordUnavailableError: its evidence cannot be reached or has no room.
    """
    with ExitStack() as stack:
        store = Store.open(settings.database_url, settings.data / "evidence", settings.evidence)
        stack.callback(store.close)
        store.files.ping()
        if store.shared:
            store.facts.claim(store.files)
            if settings.evidence is not None and "://" in settings.evidence:
                store.facts.note("evidence", settings.evidence)  # so that other commands find it
        else:
            stack.enter_context(_alone(settings))
        yield store


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold a record on SQLite.

    Raises:
        InputError: another server has it.
    """
    import filelock

    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(settings.data / LOCK, timeout=0):
            yield
    except filelock.Timeout as error:
        raise InputError(
            f"another server works on the record in {settings.data}; SQLite serves one: give this one another --data, "
            "or let both use PostgreSQL: --database postgresql+psycopg://user@host/name"
        ) from error
