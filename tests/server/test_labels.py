"""Naming defects over HTTP: the queue, a name that counts at once, taking it back, and who may."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from made_report import make_report
from PIL import Image

from reason_iad.evidence.looks import Look
from reason_iad.naming.describe import LENGTH, DescribedArea
from reason_iad.naming.kept import pack_areas
from reason_iad.server.settings import Token
from reason_iad.store.labels import label
from reason_iad.store.record import Filter
from reason_iad.store.store import Store
from reason_iad.types import InspectionRequest

LOOK = Look("center", "tiny", "compact", "darker than")


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """The folder of a record with three defective brackets whose areas were kept."""
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    store = Store.open(f"sqlite:///{data}/record.db", data / "evidence")
    for number in range(3):
        rng, out = np.random.default_rng(number), io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(out, "PNG")
        identifier = store.accept(InspectionRequest(out.getvalue(), name=f"part{number}.png"))
        area = DescribedArea((10, 10, 30, 25), rng.normal(size=LENGTH).astype(np.float32), LOOK)
        report = make_report(image=f"part{number}.png", category="bracket", verdict="defective")
        store.finish(identifier, report, {"areas": ("application/octet-stream", pack_areas([area]))})
    store.close()
    return data


def test_an_area_is_named_and_the_name_taken_back(serve, plant):
    tokens = tuple(Token(name, role, hashlib.sha256(name.encode()).hexdigest()) for name, role in
                   (("eve", "viewer"), ("ann", "inspector")))  # fmt: skip
    client = serve(data=plant, tokens=tokens)
    see, act = {"Authorization": "Bearer eve"}, {"Authorization": "Bearer ann"}
    found = client.get("/v1/labels?category=bracket", headers=see).json()
    assert (found["types"], len(found["waiting"])) == ({}, 3)
    first = found["waiting"][0]
    assert first["reasons"] == ["no example has a name yet"]
    shown = client.get(first["picture"], headers=see)
    assert shown.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.content)).size[0] > 8

    said = {"inspection": first["inspection"], "area": first["area"], "defect_type": "凹み"}
    assert client.post("/v1/labels", json=said, headers=see).status_code == 403
    named = client.post("/v1/labels", json=said, headers=act)
    assert named.status_code == 201
    assert (named.json()["defect_type"], named.json()["examples"]) == ("凹み", 1)
    now = client.get("/v1/labels?category=bracket", headers=see).json()
    assert (now["types"], len(now["waiting"])) == ({"凹み": 1}, 2)
    back = {"inspection": first["inspection"], "example": named.json()["example"]}
    assert client.post("/v1/labels/undo", json=back, headers=act).json()["types"] == {}
    assert client.post("/v1/labels/undo", json=back, headers=act).status_code == 422


def test_what_cannot_be_named_is_refused_with_a_reason(serve, plant):
    client = serve(data=plant)
    first = client.get("/v1/labels?category=bracket").json()["waiting"][0]["inspection"]
    for wrong, status in (
        ({"inspection": first, "area": 7, "defect_type": "dent"}, 422),
        ({"inspection": first, "area": 0, "defect_type": "..."}, 422),
        ({"inspection": "0" * 32, "area": 0, "defect_type": "dent"}, 422),
        ({"inspection": "x", "area": 0, "defect_type": "dent"}, 422),
    ):
        answer = client.post("/v1/labels", json=wrong)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]
    assert client.get(f"/v1/labels/{first}/areas/9.jpg").status_code == 404
    assert client.get("/v1/labels?category=").status_code == 422


def test_the_page_to_name_defects_on_is_there(serve, plant):
    client = serve(data=plant)
    page = client.get("/label")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/assets/label.js").headers["content-type"].startswith("text/javascript")


@pytest.fixture
def known(plant):
    """One bracket already has a name: the profile knows a scratch."""
    store = Store.open(f"sqlite:///{plant}/record.db", plant / "evidence")
    identifiers = [record.id for record in store.find(Filter(category="bracket"))]
    label(store, identifiers[0], 0, "scratch", "ann")
    store.close()
    return identifiers


@pytest.mark.parametrize("words", ["It is a scratch.", "Kratzer, wischt nicht ab?", "Kratzer am Rand", "これは傷です"])
def test_a_comment_that_names_a_type_makes_the_odd_area_an_example_of_it(serve, plant, known, words):
    client = serve(data=plant)
    said = client.post(f"/v1/inspections/{known[1]}/feedback", json={"kind": "confirmed", "comment": words})
    assert said.status_code == 201
    types = client.get("/v1/labels?category=bracket").json()["types"]
    if "?" in words:  # leaves it open
        assert said.json()["understood"] is None
        assert "may say what it is not" in said.json()["effect"]
        assert types == {"scratch": 1}
    else:
        assert said.json()["understood"] == "scratch"
        assert "Understood: scratch." in said.json()["effect"]
        assert types == {"scratch": 2}


def test_a_comment_that_names_two_types_or_none_or_a_false_alarm_names_nothing(serve, plant, known):
    client, path = serve(data=plant), f"/v1/inspections/{known[1]}/feedback"
    client.post("/v1/labels", json={"inspection": known[2], "area": 0, "defect_type": "dent"})
    several = client.post(path, json={"kind": "confirmed", "comment": "a scratch or a dent"}).json()
    assert several["understood"] is None
    assert "names several" in several["effect"]
    assert client.post(path, json={"kind": "confirmed", "comment": "seen before"}).json()["effect"] == "Kept."
    alarm = client.post(path, json={"kind": "false_alarm", "comment": "a scratch of the light"}).json()
    assert alarm["understood"] is None
    assert client.get("/v1/labels?category=bracket").json()["types"] == {"scratch": 1, "dent": 1}
