"""The threshold of a profile over HTTP and on its page: moved over the record, set, taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from browsing import CHROMIUM, keep, serious_faults
from made_report import make_report
from running import running
from sqlalchemy import update

from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.profile import CategoryProfile
from reason_iad.images import resize
from reason_iad.server.settings import Token
from reason_iad.store.store import Store
from reason_iad.store.tables import InspectionRow
from reason_iad.types import EvidenceSummary, InspectionRequest

WEEKS = 6


class Blocks:
    """A tower that sees mean and spread of each block of pixels."""

    def efficientnet(self, images, size):
        import torch

        found = {}
        for stride in (8, 16):
            pixels = torch.stack([torch.from_numpy(resize(i, (size, size)).copy()) for i in images]).float() / 255
            blocks = pixels.reshape(len(images), size // stride, stride, size // stride, stride, 3)
            found[stride] = torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)) + 0.1], dim=-1)
        return found


def fill(data) -> Store:
    """Six weeks of a record: most parts calm, some odd, a few known by feedback."""
    store, rng = Store.open(f"sqlite:///{data}/record.db", data / "evidence"), np.random.default_rng(1)
    now = datetime.now(UTC)
    for number in range(60):
        odd = rng.random() < 0.25
        share = float(rng.uniform(0.006, 0.05) if odd else rng.uniform(0.15, 1))
        found = EvidenceSummary(20, 0.6 if odd else 0.2, share, True, "", num_normals=200)
        report = make_report(
            image=f"part_{number:02d}.png", probability=0.9 if odd else 0.05, evidence=found, category="metal plate",
            verdict="defective" if odd and share <= 0.02 else "uncertain" if odd else "normal",
        )  # fmt: skip
        identifier = store.accept(InspectionRequest(b"part", name=report.image))
        store.finish(identifier, report, {})
        at = now - timedelta(days=7 * WEEKS * rng.random())
        with store._sessions.begin() as session:
            session.execute(update(InspectionRow).where(InspectionRow.id == identifier).values(created_at=at))
        if odd:
            store.add_feedback(identifier, "false_alarm" if rng.random() < 0.5 else "missed", "ann")
    return store


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """The folders of a server with a profile and a record of it."""
    home, data = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    goods = [rng.integers(90, 110, (64, 64, 3), dtype=np.uint8) for _ in range(4)]
    options = EvidenceOptions(streams=(Stream("efficientnet", 16, 224, unlike=0.38),))
    profile = CategoryProfile.learn("metal plate", goods, Blocks(), options)
    profile.save(home / "profiles" / "metal_plate")
    fill(data).close()
    return home, data


def test_the_record_is_judged_at_other_rates_and_a_rate_is_set_and_taken_back(serve, plant, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(plant[0]))
    viewer, admin = Token("eve", "viewer", _hash("v")), Token("ann", "admin", _hash("a"))
    client = serve(data=plant[1], tokens=(viewer, admin))
    see, act = {"Authorization": "Bearer v"}, {"Authorization": "Bearer a"}
    tried = client.get("/v1/profiles/metal_plate/what-if", headers=see).json()
    assert (tried["now"], tried["parts"], tried["without_comparison"]) == (0.02, 60, 0)
    now = next(row for row in tried["rates"] if row["max_overkill"] == 0.02)
    counts = client.get("/v1/status", headers=see).json()["counts"]
    assert now["total"]["stopped"]["count"] == counts["defective"]
    assert now["total"]["uncertain"]["count"] == counts["uncertain"]
    assert now["changes"] == 0
    loose = tried["rates"][-1]
    assert loose["total"]["stopped"]["count"] > counts["defective"]
    assert loose["changes"] > 0
    assert sum(week["outcome"]["parts"] for week in loose["weeks"]) == 60
    recent = client.get("/v1/profiles/metal plate/what-if?days=7", headers=see).json()
    assert 0 < recent["parts"] < 60

    path = "/v1/profiles/metal_plate/threshold"
    assert client.put(path, json={"max_overkill": 0.05}, headers=see).status_code == 403
    assert client.put(path, json={"max_overkill": 1.5}, headers=act).status_code == 422
    assert client.post(f"{path}/back", json={}, headers=act).status_code == 409
    held = client.put(path, json={"max_overkill": 0.05, "why": "wipes off"}, headers=act).json()
    assert (held["max_overkill"], held["source"], held["history"][0]["who"]) == (0.05, "profile", "ann")
    assert client.get("/v1/profiles/metal_plate/what-if", headers=see).json()["now"] == 0.05
    assert client.post(f"{path}/back", json={}, headers=act).json()["source"] == "usual"
    audit = client.get("/v1/audit", headers=act).json()
    assert [line["action"] for line in audit if "threshold" in line["action"]] == [
        "take back threshold",
        "set threshold",
    ]
    assert client.get("/v1/profiles/green plate/threshold", headers=see).status_code == 404


def _hash(text: str) -> str:
    from reason_iad.files import sha256

    return sha256(text)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_on_the_page_a_rate_is_moved_looked_at_set_and_taken_back(browser, plant, width):
    with running(plant[0], data=plant[1]) as address:
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.goto(f"{address}/#/threshold")
        page.wait_for_selector("#t-work:not([hidden])")
        assert page.inner_text("#t-rate") == "2%"
        assert page.is_hidden("#t-changed")
        before = int(page.inner_text("#t-figures li:first-child b"))
        page.locator("#t-slider").focus()
        page.keyboard.press("End")
        page.wait_for_selector("#t-list a")
        figures = page.inner_text("#t-figures li:first-child")
        assert int(re.search(r"\d+", figures)[0]) > before
        assert f"now {before}" in figures
        assert page.locator("#t-chart rect").count() == 2 * page.locator("#t-table tbody tr").count()
        keep(page, f"threshold-{width}")
        assert serious_faults(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.fill("#t-why", "<b>wipes off</b>")
        page.click("#t-go")
        page.wait_for_selector("#t-history li:first-child >> text=Set to 20%")
        assert "Set to 20% by local" in page.inner_text("#t-history")
        assert "<b>wipes off</b>" in page.inner_text("#t-history")
        assert page.inner_text("#t-rate") == "20%"
        page.click("#t-back")
        page.wait_for_selector("#t-history li:first-child >> text=Taken back")
        assert page.inner_text("#t-rate") == "2%"
        context.close()
    (plant[0] / "profiles" / "metal_plate" / "threshold.json").unlink()
