"""The watchboard: counted and followed over HTTP, and a page that goes on for hours without a reload."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from browsing import CHROMIUM, keep, serious_faults
from made_report import make_report
from running import running

from reason_iad.server.routes_board import last_start
from reason_iad.store.lines import DriftAlarm
from reason_iad.store.record import BoardFilter
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")


def inspected(store: Store, verdict: str, who: str = "line 3", picture: bytes = b"part", **changes) -> str:
    report = make_report(verdict=verdict, probability={"normal": 0.04, "defective": 0.97}.get(verdict, 0.5), **changes)
    identifier = store.accept(InspectionRequest(picture, name=report.image), who=who, origin="batch")
    store.finish(identifier, report, {"preview": ("image/png", picture)})
    return identifier


def test_a_board_counts_since_a_moment_and_names_the_last_parts(serve, tmp_path):
    client = serve()
    store = Store.open(f"sqlite:///{tmp_path}/data/record.db", tmp_path / "data" / "evidence")
    for verdict in ("normal", "normal", "defective"):
        last = inspected(store, verdict)
    inspected(store, "uncertain", who="line 4", category="screw")
    store.refuse("broken.png", "0" * 64, "it is damaged", who="line 3")
    board = client.get("/v1/board?line=line 3&hours=1").json()
    assert board["counts"] == {"normal": 2, "defective": 1, "failed": 1}
    assert [part["verdict"] for part in board["last"]] == ["failed", "defective", "normal", "normal"]
    assert board["last"][1]["id"] == last
    assert board["per_minute"] == 0.4
    assert client.get("/v1/board?category=screw").json()["counts"] == {"uncertain": 1}
    later = store.board(BoardFilter(), datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=11))
    assert (later.counts, later.per_minute, len(later.last)) == ({}, 0.0, 5)
    store.close()
    assert client.get("/v1/board?shifts=6,25").json()["error"]["code"] == "bad_shifts"
    assert client.get("/v1/board?shifts=6&hours=2").json()["error"]["code"] == "two_starts"


def test_a_board_shows_open_alarms_of_drift_of_its_line(serve, tmp_path):
    client = serve()
    store = Store.open(f"sqlite:///{tmp_path}/data/record.db", tmp_path / "data" / "evidence")
    assert client.get("/v1/board").json()["drift"] is None
    store.lines.tell("line 3", {"running": True})
    assert client.get("/v1/board?line=line 3").json()["drift"] == []
    assert client.get("/v1/board?line=line 4").json()["drift"] is None
    raised = DriftAlarm("a" * 32, "line 3", "screw", "brightness", datetime.now(UTC), {}, None, None, None, None)
    store.lines.alarm(raised, None, None)
    assert [alarm["quantity"] for alarm in client.get("/v1/board").json()["drift"]] == ["brightness"]
    store.lines.acknowledge("a" * 32, "ann")
    assert client.get("/v1/board").json()["drift"] == []
    store.close()


def test_a_shift_begins_at_its_hour_by_the_local_clock_and_over_midnight():
    zone = datetime(2026, 11, 3, 0, 30).astimezone().tzinfo
    assert last_start((6, 14, 22), datetime(2026, 11, 3, 0, 30, tzinfo=zone)).hour == 22
    assert last_start((0,), datetime(2026, 11, 3, 0, 0, tzinfo=zone)) == datetime(2026, 11, 3, tzinfo=zone)
    assert last_start((22, 6), datetime(2026, 11, 3, 6, 0, tzinfo=zone)).day == 3


def test_events_tell_of_parts_of_this_server_and_of_other_processes(tmp_path_factory, tmp_path, picture):
    import httpx

    with running(tmp_path_factory.mktemp("home"), data=tmp_path) as address, httpx.Client(timeout=20) as client:
        store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "evidence")
        with client.stream("GET", f"{address}/v1/board/events") as answer:
            lines = (line for line in answer.iter_lines() if line.startswith("data: "))
            first = json.loads(next(lines)[6:])
            assert (first["last"], first["counts"]) == ([], {})
            inspected(store, "normal", image="other.png")
            assert json.loads(next(lines)[6:])["last"][0]["name"] == "other.png"
            httpx.post(f"{address}/v1/inspections", files={"image": ("mine.png", picture(), "image/png")}, timeout=20)
            for line in lines:
                if (last := json.loads(line[6:])["last"])[0]["name"] == "mine.png":
                    break
            assert last[1]["name"] == "other.png"
        store.close()


@needs_chromium
def test_the_page_follows_parts_survives_a_stop_of_the_server_and_keeps_its_memory(
    browser, tmp_path_factory, tmp_path, picture
):
    home = tmp_path_factory.mktemp("home")
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    page = context.new_page()
    with running(home, data=tmp_path) as address:
        port = int(address.rsplit(":", 1)[1])
        page.goto(f"{address}/board")
        page.wait_for_selector("body[data-ready]")
        assert page.inner_text("#none") == "No part yet"
        assert page.inner_text("#drift") == "not measured"
        page.evaluate("() => { window.loadedOnce = true; }")
        store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "evidence")
        inspected(store, "defective", picture=picture(300, 400), image="<b>plate.png")
        page.wait_for_selector("#verdict.defective")
        page.wait_for_selector("#photo:not([hidden])")
        assert page.inner_text("#word") == "Defective"
        assert "<b>plate.png" in page.inner_text("#part")
        assert page.inner_text("#n-defective") == "1"
        height = page.locator("#word").evaluate("node => node.getBoundingClientRect().height")
        assert height > 1080 / 8
        assert serious_faults(page) == []
        keep(page, "board")
        before = heap(page)
        for number in range(150):  # at a part a second, two and a half minutes of a line
            inspected(store, ("normal", "normal", "uncertain")[number % 3], picture=picture(60, 80, number))
            if number % 10 == 9:
                page.wait_for_timeout(60)
        page.wait_for_selector("#n-uncertain >> text=50", timeout=30000)
        page.wait_for_timeout(1500)
        assert page.locator("#strip li").count() == 24
        assert heap(page) < before + 4_000_000
        store.close()
    page.wait_for_selector("body.stale")
    assert "trying again" in page.inner_text("#lost")
    keep(page, "board-lost")
    with running(home, data=tmp_path, port=port):
        page.wait_for_selector("body:not(.stale)", timeout=40000)
        assert page.inner_text("#n-defective") == "1"
    assert page.evaluate("() => window.loadedOnce")
    context.close()
    assert sqlite3.connect(tmp_path / "record.db").execute("SELECT count(*) FROM inspections").fetchone() == (151,)


def heap(page) -> int:
    """Bytes of the page's objects after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return int(used)
