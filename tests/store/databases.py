"""Databases that the tests of the record run on: SQLite always, a real PostgreSQL where one can be started."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def postgres_programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; Debian keeps them off the PATH."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists()), None)


@contextmanager
def running_postgres() -> Iterator[str]:
    """A fresh PostgreSQL on a socket of its own, gone afterwards: its URL."""
    programs = postgres_programs()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL programs; on Debian: apt-get install postgresql")
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        if as_user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        quiet = {"check": True, "capture_output": True, "cwd": folder, "timeout": 60}
        subprocess.run([*as_user, programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-N"], **quiet)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        log = f"{folder}/log"
        subprocess.run([*as_user, programs / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start"], **quiet)
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={folder}"
        finally:
            subprocess.run([*as_user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)


def empty(url: str) -> None:
    """Take everything out of a database."""
    from sqlalchemy import text

    from reason_iad.store.engine import create

    engine = create(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
