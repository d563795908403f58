"""Evidence in a folder and in a store that speaks S3 (a real one, on loopback): the same tests for both."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
from databases import KEYS, make_certificate, running_objects
from made_report import make_report
from ports import free_port

from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.store.files import open_files
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"[default]\naws_access_key_id = {KEYS[0]}\naws_secret_access_key = {KEYS[1]}\n")
    return path


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path, keys):
    """Where evidence lies, and the folder behind it."""
    if request.param == "folder":
        yield str(tmp_path / "files"), tmp_path / "files"
        return
    try:
        with running_objects(tmp_path / "objects") as endpoint:
            behind = tmp_path / "objects" / "evidence" / "line-3"
            yield f"s3://evidence/line-3?endpoint={endpoint}&credentials={keys}", behind
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_a_file_comes_back_and_is_kept_once(place):
    files, again = open_files(place[0]), open_files(place[0])
    digest = files.put(b"evidence")
    assert digest == again.put(b"evidence") == hashlib.sha256(b"evidence").hexdigest()
    assert again.get(digest) == b"evidence"
    assert list(again.digests()) == [digest]
    with pytest.raises(InputError, match="missing"):
        files.get("0" * 64)
    with pytest.raises(InputError, match="no SHA-256"):
        files.get("../../etc/passwd")


def test_a_file_that_was_altered_is_noticed(place):
    files = open_files(place[0])
    digest = files.put(b"evidence")
    (place[1] / digest[:2] / digest).write_bytes(b"forgery!")  # as long as it was
    with pytest.raises(InputError, match="altered"):
        files.get(digest)


def test_a_file_is_removed_by_its_age_and_by_the_clock_of_its_place(place):
    files = open_files(place[0])
    digest, now = files.put(b"evidence"), files.now()
    assert abs(now - time.time()) < 5
    assert files.remove(digest, now - 60) == 0
    assert files.remove(digest, now + 60) == len(b"evidence")
    assert files.remove(digest) == 0
    assert list(files.digests()) == []  # and the clock's own file is none


def test_what_is_kept_again_is_young_again(place):
    digest = open_files(place[0]).put(b"evidence")
    path = place[1] / digest[:2] / digest
    os.utime(path, (1_000_000_000, 1_000_000_000))
    files = open_files(place[0])  # as another process
    files.put(b"evidence")
    assert files.remove(digest, files.now() - 60) == 0


def test_a_record_keeps_its_files_there_and_other_commands_find_them(place, tmp_path):
    url = f"sqlite:///{tmp_path}/record.db"
    store = Store.open(url, tmp_path / "unused", place[0])
    store.facts.note("evidence", place[0])
    identifier = store.accept(InspectionRequest(b"image", name="part.png"))
    store.finish(identifier, make_report(), {"map": ("image/png", b"map")})
    other = Store.open(url, tmp_path / "unused")
    assert other.request_of(other.get(identifier)).image == b"image"
    assert other.remove(identifier)
    assert other.prune_files(grace=0) == (2, 8)
    assert not (tmp_path / "unused").exists()
    for one in (store, other):
        one.close()


def test_the_evidence_of_another_record_is_refused(shared_url, tmp_path, monkeypatch):
    first = Store.open(shared_url, tmp_path / "shared")
    first.facts.claim(first.files)
    same = Store.open(shared_url, tmp_path / "shared")
    same.facts.claim(same.files)
    monkeypatch.setattr("reason_iad.store.facts._PATIENCE", 0.3)
    with pytest.raises(InputError, match="not that of this record's other servers"):
        Store.open(shared_url, tmp_path / "of one machine alone")
    for one in (first, same):
        one.close()


def test_a_store_that_is_away_is_told_from_a_file_that_is_missing_and_no_key_is_shown(tmp_path, keys, caplog):
    files = open_files(f"s3://evidence?endpoint=http://127.0.0.1:{free_port()}&credentials={keys}")
    for ask in (
        lambda: files.put(b"x"),
        lambda: files.get("0" * 64),
        files.ping,
        files.now,
        lambda: [*files.digests()],
    ):
        with pytest.raises(RecordUnavailableError, match="s3://evidence at http") as caught:
            ask()
        assert KEYS[1] not in str(caught.value) + caplog.text


def test_wrong_keys_are_refused_without_showing_them(tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("[default]\naws_access_key_id = tester\naws_secret_access_key = another-secret\n")
    with running_objects(tmp_path / "objects") as endpoint:
        files = open_files(f"s3://evidence?endpoint={endpoint}&credentials={wrong}")
        with pytest.raises(RecordUnavailableError) as caught:
            files.put(b"x")
        assert "another-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket", "holds keys"),
        ("s3://bucket?color=red", "says 'color'"),
        ("ftp://bucket", "is not known"),
        ("s3://bucket?credentials=/none", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_explained(address, said):
    with pytest.raises(InputError, match=said) as caught:
        open_files(address)
    assert "secret@" not in str(caught.value)


def test_an_endpoint_is_spoken_to_by_tls_and_checked(tmp_path, keys):
    certificate, key = make_certificate(tmp_path)
    with running_objects(tmp_path / "objects", tls=(certificate, key)) as endpoint:
        address = f"s3://evidence?endpoint={endpoint}&credentials={keys}"
        files = open_files(f"{address}&root_certificate={certificate}")
        assert files.get(files.put(b"by TLS")) == b"by TLS"
        with pytest.raises(RecordUnavailableError):  # it is nobody's that the system trusts
            open_files(address).put(b"by TLS")
