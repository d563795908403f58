"""The record on SQLite and on a real PostgreSQL: the same tests for both."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from made_report import make_report

from reason_iad.errors import InputError
from reason_iad.store.export import export
from reason_iad.store.record import Filter
from reason_iad.store.store import Store
from reason_iad.store.writing import INTERRUPTED
from reason_iad.types import InspectionReport, InspectionRequest

FUTURE = datetime.now(UTC) + timedelta(days=1)


def done(store: Store, name: str = "part.png", image: bytes = b"image", **changes) -> str:
    identifier = store.accept(InspectionRequest(image, category="screw", name=name), who="ann")
    store.start(identifier)
    store.finish(identifier, make_report(**changes), {"map": ("image/png", b"map of " + image)})
    return identifier


def test_a_finished_inspection_comes_back_with_report_and_files(store):
    report = make_report()
    identifier = store.accept(InspectionRequest(b"image", "screw", (), "Is it?", ("a", "b"), "part.png"), who="ann")
    store.start(identifier)
    store.finish(identifier, report, {"map": ("image/png", b"map")})
    record = store.get(identifier)
    assert (record.state, record.verdict, record.probability) == ("done", report.verdict, report.probability)
    assert (record.category_given, record.question, record.choices) == ("screw", "Is it?", ("a", "b"))
    assert store.request_of(record).image == b"image"
    assert InspectionReport.from_json(json.dumps(record.report)) == report
    assert record.files == {"image": hashlib.sha256(b"image").hexdigest(), "map": hashlib.sha256(b"map").hexdigest()}
    assert store.files.get(record.files["map"]) == b"map"
    assert record.created_at <= record.started_at <= record.finished_at
    assert record.created_at.tzinfo is not None


def test_after_a_kill_the_interrupted_one_has_failed_and_the_waiting_ones_still_wait(store, database_url, tmp_path):
    ids = [store.accept(InspectionRequest(b"%d" % i, name=f"{i}.png")) for i in range(3)]
    finished = done(store)
    store.start(ids[0])
    again = Store.open(database_url, tmp_path / "files")  # nothing was closed: as after a kill
    assert again.recover() == (ids[1], ids[2])
    assert again.get(ids[0]).state == "failed"
    assert again.get(ids[0]).error == INTERRUPTED
    assert again.get(finished).state == "done"
    again.close()


def test_an_inspection_ends_once(store):
    identifier = done(store)
    with pytest.raises(InputError, match="not queued or running"):
        store.fail(identifier, "late")
    assert store.get(identifier).state == "done"


def test_filters_select_what_a_plain_loop_selects(store):
    verdicts = ["normal", "defective", "uncertain", "defective"]
    names = ["a_1.png", "b%.png", "A_2.png", "c.png"]
    ids = [done(store, n, n.encode(), verdict=v) for n, v in zip(names, verdicts, strict=True)]
    store.add_feedback(ids[1], "false_alarm", "ann")
    found = store.find(Filter(verdict="defective"))
    assert [r.name for r in found] == ["c.png", "b%.png"]
    assert {r.name for r in store.find(Filter(text="a_"))} == {"a_1.png", "A_2.png"}
    assert [r.name for r in store.find(Filter(text="%"))] == ["b%.png"]  # a wildcard of SQL is a letter here
    assert [r.id for r in store.find(Filter(feedback="false_alarm"))] == [ids[1]]
    assert store.find(Filter(since=FUTURE)) == ()
    assert store.counts() == {"normal": 1, "defective": 2, "uncertain": 1}


def test_pages_show_every_inspection_once(store):
    ids = [done(store, f"{i}.png") for i in range(7)]
    seen, before = [], None
    while page := store.find(Filter(limit=3, before=before)):
        seen += [r.id for r in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == ids[::-1]


def test_the_same_image_is_kept_once_and_goes_with_its_last_inspection(store, tmp_path):
    first, second = done(store, image=b"same"), done(store, image=b"same")
    assert len(list(store.files.digests())) == 2
    assert store.remove(first)
    assert store.prune_files(grace=0) == (0, 0)
    assert store.files.get(hashlib.sha256(b"same").hexdigest()) == b"same"
    assert store.remove(second)
    assert store.prune_files(grace=0) == (2, len(b"same") + len(b"map of same"))
    assert list(store.files.digests()) == []


def test_a_new_file_that_nobody_names_yet_is_left_alone(store):
    digest = store.files.put(b"about to be named")
    assert store.prune_files() == (0, 0)
    assert store.files.get(digest)


def test_feedback_is_kept_with_who_gave_it_and_survives_retention(store):
    kept, gone, waiting = done(store), done(store), store.accept(InspectionRequest(b"x", name="x.png"))
    store.add_feedback(kept, "missed", "bob", "a scratch at the rim")
    with pytest.raises(InputError, match="needs a finished one"):
        store.add_feedback(waiting, "missed", "bob")
    assert store.prune(FUTURE).inspections == 1
    assert store.get(gone) is None
    assert store.get(waiting).state == "queued"
    said = store.get(kept).feedback
    assert [(f.kind, f.who, f.comment) for f in said] == [("missed", "bob", "a scratch at the rim")]
    assert store.prune(FUTURE, keep_feedback=False).inspections == 1
    assert store.get(kept) is None


def test_threads_that_bring_the_same_image_do_not_disturb_each_other(store):
    errors = []

    def work():
        try:
            for _ in range(5):
                done(store, image=b"shared")
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.counts() == {"defective": 30}


def test_a_file_altered_on_disk_is_noticed(store, tmp_path):
    digest = store.files.put(b"evidence")
    (tmp_path / "files" / digest[:2] / digest).write_bytes(b"forged")
    with pytest.raises(InputError, match="altered"):
        store.files.get(digest)
    with pytest.raises(InputError, match="no SHA-256"):
        store.files.get("../../etc/passwd")


def test_names_from_outside_lose_their_folders_and_control_characters(store):
    names = {"../../etc/passwd": "passwd", "C:\\x\\y.png": "y.png", "a\x00\x1b.png": "a��.png", "": "image"}
    for given, shown in names.items():
        assert store.get(store.accept(InspectionRequest(b"x", name=given))).name == shown
    assert len(store.get(store.accept(InspectionRequest(b"x", name="n" * 999))).name) == 255


def test_an_export_holds_every_inspection_and_every_file(store, tmp_path):
    done(store, "=cmd().png", b"one")
    done(store, "two.png", b"two")
    assert export(store, tmp_path / "out.zip") == 2
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("inspections.csv").decode())))
        lines = [json.loads(line) for line in archive.read("inspections.jsonl").decode().splitlines()]
        for digest in store.files.digests():
            assert hashlib.sha256(archive.read(f"files/{digest}")).hexdigest() == digest
    assert [r["name"] for r in rows] == ["two.png", "'=cmd().png"]
    assert [line["report"]["verdict"] for line in lines] == ["defective", "defective"]


def test_the_audit_log_is_newest_first(store):
    for action in ("inspect", "feedback"):
        store.audit("ann", "inspector", action, "x", "ok", "127.0.0.1")
    assert [line.action for line in store.audit_log()] == ["feedback", "inspect"]
