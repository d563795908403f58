"""A record out of reach, at the start and in the middle, and a full disk: nothing is lost, and the state is clear."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from databases import KEYS, make_certificate, running_objects, running_postgres
from ports import free_port
from test_several_servers import ready, send, told, until

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
    command = [sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(free_port()), "--data", "data"]
    found = subprocess.run(
        [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 2, found.stderr
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert "a-secret" not in found.stderr + found.stdout


def test_a_database_is_spoken_to_by_tls_where_its_url_says_so(tmp_path):
    certificate, key = make_certificate(tmp_path)

    def prepare(data) -> None:
        for source in (certificate, key):
            target = data / source.name
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
            if os.geteuid() == 0:
                import shutil

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
                from sqlalchemy import text

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
