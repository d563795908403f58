"""A record out of reach, at the start and in the middle, and a full disk: nothing is lost, and the state is clear."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import KEYS, make_certificate, running_objects, running_postgres
from ports import free_port
from sqlalchemy import create_engine, text
from test_several_servers import ready, send, told
from until import until

from reason_iad.store.store import Store


@pytest.fixture
def postgres():
    try:
        with running_postgres() as server:
            yield server
    except FileNotFoundError as error:
        pytest.skip(str(error))


@contextmanager
def small_disk(folder, size: str = "24m"):
    """A disk of its own; only the owner of the machine may make one."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path) -> None:
    """Write a file until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_database_that_goes_and_comes_back_costs_nothing(serve, postgres, picture):
    client = serve(database=postgres.url, lease_seconds=2.0)
    until(lambda: ready(client))
    held = send(client, picture(), "slow_.png", wait=0).json()["id"]
    until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "running")
    waiting = send(client, picture(), "part.png", wait=0).json()["id"]
    postgres.stop()
    refused = send(client, picture())
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_record")
    assert refused.headers["retry-after"] == "5"
    assert str(postgres.folder) not in refused.text  # where it is is nobody's business
    assert client.get("/readyz").json()["status"] == "no record"
    assert client.get("/healthz").status_code == 200
    assert "reason_iad_record_up 0" in client.get("/metrics").text  # what needs no record is answered
    time.sleep(4)  # longer than the inspection and the lease
    postgres.start()
    until(lambda: ready(client))
    for _ in range(8):  # on every connection that was open before
        assert client.get("/v1/inspections").status_code == 200
    for identifier in (held, waiting):
        until(lambda one=identifier: client.get(f"/v1/inspections/{one}").json()["state"] == "done")
        kinds = [kind for kind, _ in told(client, identifier)]
        assert (kinds[0], kinds[-1], kinds.count("done")) == ("queued", "done", 1)
    assert send(client, picture()).status_code == 200


def test_a_store_of_evidence_that_goes_and_comes_back_costs_nothing(serve, tmp_path, picture, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    port = free_port()
    try:
        with running_objects(tmp_path / "objects", port) as endpoint:
            client = serve(evidence=f"s3://evidence?endpoint={endpoint}")
            until(lambda: ready(client))
            held = send(client, picture(), "slow_.png", wait=0).json()["id"]
            until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "running")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    refused = send(client, picture(seed=1))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_record")
    assert client.get("/readyz").json()["status"] == "no record"
    with running_objects(tmp_path / "objects", port):
        until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "done", 60)
        assert client.get(f"/v1/inspections/{held}/pictures/preview").status_code == 200
        assert send(client, picture(seed=1)).status_code == 200


def test_a_full_disk_costs_nothing(serve, tmp_path, picture):
    with small_disk(tmp_path / "disk") as disk:
        client = serve(data=disk / "data")
        until(lambda: ready(client))
        held = send(client, picture(), "slow_.png", wait=0).json()["id"]
        until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "running")
        fill(disk / "filler")
        refused = send(client, picture(seed=1))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_record")
        assert "evidence" in client.get("/readyz").json()["detail"]
        time.sleep(3)  # the inspection has ended and cannot be kept
        assert client.get(f"/v1/inspections/{held}").json()["state"] == "running"
        (disk / "filler").unlink()
        until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "done")
        assert send(client, picture(seed=1)).status_code == 200
        client.app.state.reason_iad.store.close()


def test_a_database_whose_disk_is_full_costs_nothing(serve, postgres, tmp_path, picture):
    """Its tables lie on a disk of their own: what the database must have to go on at all is elsewhere."""
    with small_disk(tmp_path / "disk", "48m") as disk:
        place = _made(disk / "tables")
        if os.geteuid() == 0:
            shutil.chown(place, "postgres")
            for folder in (tmp_path, *tmp_path.parents):
                if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                    folder.chmod(0o755)  # pytest's are its owner's alone
        engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE TABLESPACE small LOCATION '{place}'"))
            connection.execute(text("CREATE DATABASE kept TABLESPACE small"))
        engine.dispose()
        client = serve(database=postgres.url.replace("/postgres?", "/kept?"))
        until(lambda: ready(client))
        held = send(client, picture(), "slow_.png", wait=0).json()["id"]
        until(lambda: client.get(f"/v1/inspections/{held}").json()["state"] == "running")
        fill(disk / "filler")
        time.sleep(4)  # the inspection has ended and its report has no room
        assert client.get(f"/v1/inspections/{held}").json()["state"] == "running"
        answers = [send(client, picture(seed=n), wait=0) for n in range(4)]  # while there is room in a page, or 503
        assert {answer.status_code for answer in answers} <= {202, 503}
        (disk / "filler").unlink()
        for identifier in (held, *(answer.json()["id"] for answer in answers if answer.status_code == 202)):
            until(lambda one=identifier: client.get(f"/v1/inspections/{one}").json()["state"] == "done")
            assert [kind for kind, _ in told(client, identifier)].count("done") == 1
        client.__exit__(None, None, None)  # before its disk is gone


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--database", "postgresql://nobody:a-secret@127.0.0.1:1/none"], "cannot be used"),
        (["--database", "@/none/url"], "expected the URL of a database in it"),
        (["--files", "s3://bucket?endpoint=http://127.0.0.1:1"], "does not take or give evidence"),
        (["--files", "/proc/none/evidence"], "cannot be used"),
    ],
)
def test_what_is_away_at_the_start_is_said_at_once_without_a_secret(tmp_path, arguments, said):
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    found = started(tmp_path, *arguments, environment=environment)
    assert said in found
    assert "a-secret" not in found


def test_a_full_disk_at_the_start_is_said_at_once(tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        fill(disk / "filler")
        assert "full" in started(disk)


def started(folder, *arguments: str, environment=None) -> str:
    """What `reason-iad serve` says where it cannot begin; it must end by itself, and not by a fault."""
    command = [sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(free_port()), "--data", "data"]
    found = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 2, found.stderr
    assert "Traceback" not in found.stderr
    return found.stdout + found.stderr


def test_a_database_is_spoken_to_by_tls_where_its_url_says_so(tmp_path):
    certificate, key = make_certificate(tmp_path)

    def prepare(data) -> None:
        for source in (certificate, key):
            target = data / source.name
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(target, "postgres", "postgres")

    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on"
    try:
        with running_postgres(options, prepare):
            url = f"postgresql+psycopg://tester@localhost:{port}/postgres?sslmode=verify-full&sslrootcert="
            secret = tmp_path / "url"
            secret.write_text(f"{url}{certificate}\n")
            store = Store.open(f"@{secret}", tmp_path / "files")
            with store._sessions() as session:
                query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                assert session.execute(text(query)).scalar() is True
            store.close()
            other, _ = make_certificate(_made(tmp_path / "other"))
            with pytest.raises(Exception, match="certificate verify failed"):
                Store.open(f"{url}{other}", tmp_path / "files")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def _made(folder):
    folder.mkdir()
    return folder
