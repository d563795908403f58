"""`reason-iad records verify` and the tokens of a record, as a user calls them."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from reason_iad.cli.app import main
from reason_iad.files import sha256
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


@pytest.fixture
def record(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "evidence")
    store.accept(InspectionRequest(b"image", name="part.png"))
    for number in range(3):
        store.audit("ann", "inspector", "inspect", str(number), "ok")
    yield store
    store.close()


def test_a_whole_record_is_said_to_be_whole_and_its_head_can_be_checked_later(record, tmp_path, capsys):
    assert main(["records", "verify", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "3 lines fit" in said
    assert "1 file read" in said
    assert said.splitlines()[-1] == "the record is whole"
    head = said.splitlines()[0].rpartition(" ")[2]
    record.audit("bob", "viewer", "look", "x", "ok")
    assert main(["records", "verify", "--data", str(tmp_path), "--head", head]) == 0
    with record._sessions.begin() as session:
        session.execute(text("DELETE FROM audit"))
        session.execute(text("UPDATE audit_head SET lines = 0, hash = :start"), {"start": "0" * 64})
    assert main(["records", "verify", "--data", str(tmp_path), "--head", head]) == 1
    assert "never at" in capsys.readouterr().out


def test_every_fault_is_told(record, tmp_path, capsys):
    with record._sessions.begin() as session:
        session.execute(text("UPDATE audit SET who = 'bob' WHERE target = '1'"))
    (digest,) = record.files.digests()
    (tmp_path / "evidence" / digest[:2] / digest).write_bytes(b"forged")
    assert main(["records", "verify", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "line 2" in said
    assert f"{digest} was altered" in said
    assert "2 faults found" in said
    assert main(["records", "verify", "--data", str(tmp_path), "--no-files"]) == 1


def test_a_token_is_kept_in_the_record_by_its_hash_and_taken_back(record, tmp_path, capsys):
    where = ["--data", str(tmp_path)]
    assert main(["records", "token", "ann", "--role", "admin", "--in-record", *where]) == 0
    secret = capsys.readouterr().out.strip()
    (kept,) = record.tokens.all()
    assert (kept.name, kept.role, kept.sha256) == ("ann", "admin", sha256(secret))
    assert main(["records", "token", "ann", "--in-record", *where]) == 2
    assert "taken" in capsys.readouterr().err
    assert main(["records", "token", "ann", "--revoke", *where]) == 0
    assert record.tokens.all() == ()
    assert main(["records", "token", "ann", "--revoke", *where]) == 2
    assert not (tmp_path / "tokens.json").exists()


def test_a_database_is_named_by_the_environment_or_by_a_file(record, tmp_path, monkeypatch, capsys):
    url = tmp_path / "url"
    url.write_text(f"sqlite:///{tmp_path}/record.db\n")
    monkeypatch.setenv("REASON_IAD_DATABASE", f"@{url}")
    monkeypatch.setenv("REASON_IAD_EVIDENCE", str(tmp_path / "evidence"))
    assert main(["records", "list", "--json", "--data", str(tmp_path / "elsewhere")]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "part.png"
    assert main(["records", "verify", "--data", str(tmp_path / "elsewhere")]) == 0
