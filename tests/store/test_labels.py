"""Labeling recorded inspections: the queue, names that count at once, undo, and exports that can be read back."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from reason_iad.cli import label as label_command
from reason_iad.cli.app import build_parser
from reason_iad.errors import InputError
from reason_iad.evidence.looks import Look
from reason_iad.naming.describe import LENGTH, DescribedArea
from reason_iad.naming.kept import pack_areas, read_areas
from reason_iad.naming.labels import read_labels
from reason_iad.naming.store import load_examples
from reason_iad.store.labels import export_labels, label, queue_of, unlabel
from reason_iad.store.store import Store
from reason_iad.types import InspectionReport, InspectionRequest, Region

LOOK = Look("center", "tiny", "compact", "darker than")


def photo(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def vector(kind: int, number: int) -> np.ndarray:
    middle = np.random.default_rng(kind).normal(size=LENGTH)
    return (middle + 0.2 * np.random.default_rng(100 + number).normal(size=LENGTH)).astype(np.float32)


def report(number: int, verdict: str = "defective", notes: tuple[str, ...] = ()) -> InspectionReport:
    region = Region((10, 10, 30, 25), "center", 0.8, 0.06)
    return InspectionReport(
        f"part{number}.png", (60, 80), "0" * 64, verdict, 0.9, "", 0.9, "bracket", "given", None, None, "", None,
        regions=(region,), notes=notes,
    )  # fmt: skip


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A record with six defective parts of two kinds, a good one, and one of another product."""
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    store = Store.open(f"sqlite:///{data / 'record.db'}", data / "evidence")
    for number in range(8):
        found = report(number, "normal" if number == 6 else "uncertain" if number == 5 else "defective")
        found = dataclasses.replace(found, category="nut") if number == 7 else found
        identifier = store.accept(InspectionRequest(photo(number), "bracket", name=f"part{number}.png"))
        store.start(identifier)
        areas = [DescribedArea((10, 10, 30, 25), vector(number % 2, number), LOOK)]
        store.finish(identifier, found, {"areas": ("application/octet-stream", pack_areas(areas))})
    yield store
    store.close()


def test_kept_areas_are_read_back_and_damage_is_told():
    areas = [DescribedArea((1, 2, 3, 4), vector(0, 0), LOOK)]
    (box, found) = read_areas(pack_areas(areas))[0]
    assert box == (1, 2, 3, 4)
    np.testing.assert_allclose(found, areas[0].vector, atol=4e-3)
    with pytest.raises(InputError, match="inspect the image again"):
        read_areas(b"nothing")


def test_what_waits_are_odd_areas_of_the_category_without_a_name(record):
    waiting = queue_of(record, "bracket")
    assert {one.area.name for one in waiting} == {f"part{n}.png" for n in range(6)}
    assert all(one.reasons for one in waiting)
    open_one = next(one for one in waiting if one.area.name == "part5.png")
    assert "the verdict is open (0.90)" in open_one.reasons


def test_a_name_counts_at_once_and_asks_for_the_other_kind_next(record):
    first = queue_of(record, "bracket")[0].area
    found = label(record, first.inspection, first.index, "Kratzer", "ana")
    assert (found.examples, found.version) == (1, 1)
    assert load_examples("bracket").counts == {"Kratzer": 1}
    following = queue_of(record, "bracket")
    assert first.inspection not in {one.area.inspection for one in following}
    assert int(following[0].area.name[4]) % 2 != int(first.name[4]) % 2  # what is unlike it
    said = record.get(first.inspection).feedback
    assert [(one.kind, one.comment) for one in said] == [("confirmed", "it is: Kratzer (area 1)")]
    unlabel(record, first.inspection, found.example, "ana")
    assert load_examples("bracket").counts == {}
    assert first.inspection in {one.area.inspection for one in queue_of(record, "bracket")}


def test_what_cannot_be_named_says_why(record):
    first = queue_of(record, "bracket")[0].area
    with pytest.raises(InputError, match="has 1 odd areas; found number 3"):
        label(record, first.inspection, 3, "scratch", "ana")
    with pytest.raises(InputError, match="expected a name"):
        label(record, first.inspection, 0, " ", "ana")
    with pytest.raises(InputError, match="no inspection"):
        label(record, "0" * 32, 0, "scratch", "ana")


def test_one_key_names_an_area_and_one_takes_it_back(record, tmp_path, monkeypatch, capsys):
    names = iter(["scratch", "dent"])
    monkeypatch.setattr("builtins.input", lambda _: next(names))
    keys = iter("nn1ugsq")
    picture = tmp_path / "now.jpg"
    args = ["label", "bracket", "--data", str(tmp_path / "data"), "--picture", str(picture)]
    assert label_command.run(build_parser().parse_args(args), lambda: next(keys)) == 0
    told = capsys.readouterr().out
    assert "1 dent, 2 scratch, n new type" in told
    assert "dent taken back" in told
    assert "2 names given" in told
    assert load_examples("bracket").counts == {"dent": 1, "scratch": 1}
    with Image.open(picture) as shown:
        assert shown.size[0] > 8
    kinds = [said.kind for one in record.records() for said in one.feedback]
    assert kinds.count("false_alarm") == 1


@pytest.mark.parametrize("form", ["coco", "label-studio"])
def test_an_export_is_read_back_with_the_names_that_people_gave(record, tmp_path, form):
    for one in queue_of(record, "bracket")[:2]:
        label(record, one.area.inspection, one.area.index, "Delle <&>", "ana")
    images, areas = export_labels(record, "bracket", tmp_path / "out", form)
    assert (images, areas) == (7, 7)  # with the good part, whose report has a region, too
    labels = read_labels(tmp_path / "out" / f"{form}.json")
    named = [(a.defect_type, a.box) for image in labels.images for a in image.areas if a.defect_type == "Delle <&>"]
    assert len(named) == 2
    assert named[0][1] == pytest.approx((10, 10, 30, 25))


def test_an_empty_export_says_so(record, tmp_path):
    with pytest.raises(InputError, match="nothing to export"):
        export_labels(record, "wheel", tmp_path / "out", "coco")
