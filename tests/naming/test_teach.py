"""From labeled images to examples: areas are placed, described, and what cannot be used is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.images import read_image
from reason_iad.models.vision import BundledVision
from reason_iad.naming import teach
from reason_iad.naming.change import NAMES, measure_change
from reason_iad.naming.describe import BLOCKS, LENGTH, describe_areas, split_blocks
from reason_iad.naming.labels import Labels, NamedArea, NamedImage
from reason_iad.naming.teach import Teacher


@pytest.fixture(scope="module")
def vision():
    return BundledVision.random(3)


def plate(spot=None, size=(90, 120), gray: int = 30) -> np.ndarray:
    """A noisy plate (H, W, 3), with a dark spot where one is given as a box."""
    pixels = np.random.default_rng(0).normal(130, 4, (*size, 1)).repeat(3, axis=2)
    if spot:
        pixels[spot[1] : spot[3], spot[0] : spot[2]] = gray
    return pixels.clip(0, 255).astype(np.uint8)


def save(path, pixels) -> object:
    Image.fromarray(pixels).save(path)
    return path


def test_areas_become_examples_with_what_is_wrong_told(tmp_path, vision):
    a = save(tmp_path / "a.png", plate((60, 40, 80, 55)))
    (tmp_path / "b.png").write_bytes(b"no image")
    images = (
        NamedImage(a, (NamedArea("spot", (30, 20, 40, 27.5)), NamedArea("far", (70, 0, 90, 9))), (45, 60)),
        NamedImage(tmp_path / "b.png", (NamedArea("spot"),)),
        NamedImage(a, (NamedArea("spot", (0, 0, 5, 5)),), (120, 90)),
    )
    notes: list[str] = []
    found = Teacher(vision).examples(Labels("COCO", images), notes, today="2026-05-12")
    assert [(one.defect_type, one.box_xyxy, one.date, one.origin) for one in found] == [
        ("spot", (60, 40, 80, 55), "2026-05-12", "coco")
    ]
    assert found[0].views.shape == (1, LENGTH)
    assert read_image(found[0].picture_jpeg).pixels.shape[0] > 8
    told = " | ".join(notes)
    assert "a.png: a box of far lies outside the image: left out" in told
    assert "b.png" in told
    assert "the labels are for 90 x 120 pixels and the file has 120 x 90" in told


def test_without_a_single_usable_area_nothing_is_learned(tmp_path, vision):
    a = save(tmp_path / "a.png", plate())
    labels = Labels("COCO", (NamedImage(a, (NamedArea("spot", (500, 500, 510, 510)),)),))
    with pytest.raises(InputError, match="lies outside the image"):
        Teacher(vision).examples(labels, [])


def test_too_many_areas_of_a_type_are_spread_and_said(monkeypatch, tmp_path):
    monkeypatch.setattr(teach, "MOST_PER_TYPE", 3)
    images = [NamedImage(tmp_path / f"{n}.png", (NamedArea("pit"), NamedArea("dent"))) for n in range(10)]
    notes: list[str] = []
    kept = teach._spread(images, notes)
    names = [area.defect_type for image in kept for area in image.areas]
    assert (names.count("pit"), names.count("dent")) == (3, 3)
    assert {image.path.name for image in kept} > {"3.png"} or len(kept) > 2
    assert notes == [f"{name}: 10 areas; 3 of them, spread evenly, are learned from" for name in ("pit", "dent")]


def test_an_area_that_nobody_marked_is_what_stands_out(vision):
    pixels = np.full((90, 120, 3), 130, np.uint8)
    pixels[20:48, 84:112] = 240
    box = teach.standing_out(pixels, vision)
    assert box[0] < 112
    assert box[2] > 84
    assert (box[2] - box[0]) * (box[3] - box[1]) < 0.6 * 90 * 120


def test_a_description_has_every_part_and_none_of_what_is_unknown(vision):
    (area,) = describe_areas(plate((60, 40, 80, 55)), [(60, 40, 80, 55)], vision)
    parts = split_blocks(area.vector[None])
    assert {name: part.shape[1] for name, part in parts.items()} == BLOCKS
    assert not parts["change"].any()  # no template
    assert not parts["residual"].any()  # no good parts
    assert all(parts[name].any() for name in ("numbers", "window", "area", "image"))
    assert (area.look.tone, area.look.shape, area.look.sharpness) == ("darker than", "compact", "sharp")


def test_areas_of_any_size_and_place_can_be_described(vision):
    pixels = plate()
    boxes = [(0, 0, 120, 90), (0, 0, 1, 1), (119, 89, 120, 90), (0, 40, 120, 41)]
    for area in describe_areas(pixels, boxes, vision):
        assert np.isfinite(area.vector).all()
    assert describe_areas(pixels, [], vision) == ()


def track(change: tuple[int, int, int, int] | None, value: int) -> np.ndarray:
    """Two dark tracks on white (80, 80, 3), changed inside a box."""
    pixels = np.full((80, 80, 3), 240, np.uint8)
    pixels[20:36] = pixels[50:66] = 15
    if change:
        pixels[change[1] : change[3], change[0] : change[2]] = value
    return pixels


@pytest.mark.parametrize(
    ("box", "value", "kind"),
    [
        ((40, 38, 46, 48), 15, "island"),
        ((40, 36, 46, 44), 15, "spur"),
        ((40, 34, 46, 52), 15, "bridge"),
        ((40, 25, 46, 31), 240, "hole"),
        ((40, 18, 46, 29), 240, "notch"),
        ((40, 18, 46, 38), 240, "gap"),
    ],
)
def test_what_a_change_joins_and_cuts_tells_the_kinds_of_faults_apart(box, value, kind):
    numbers = dict(zip(NAMES, measure_change(track(box, value), track(None, 0), (36, 14, 50, 56)), strict=True))
    assert (numbers["lighter"] > 0) == (kind in ("hole", "notch", "gap"))
    assert (numbers["linked"] > 0) == (kind not in ("island", "hole"))
    assert (numbers["joins"] > 0, numbers["cuts"] > 0) == (kind in ("bridge", "gap"),) * 2


def test_a_thin_wall_keeps_a_hole_enclosed():
    numbers = dict(
        zip(NAMES, measure_change(track((40, 21, 46, 29), 240), track(None, 0), (36, 16, 50, 40)), strict=True)
    )
    assert numbers["linked"] == 0  # one pixel of the track is left above it


def test_nothing_changed_and_nothing_to_tell_is_zero():
    assert not measure_change(track(None, 0), track(None, 0), (30, 30, 50, 50)).any()
    flat = np.full((80, 80, 3), 100, np.uint8)
    assert not measure_change(track(None, 0), flat, (30, 30, 50, 50)).any()
