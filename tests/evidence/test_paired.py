"""Golden templates: made boards with known faults, moved and relit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.paired import (
    PairedOptions,
    align,
    compare_paired,
    differences,
    is_template,
    register,
)
from reason_iad.types import PLACES


def board(seed=0, side=320):
    """Tracks and pads (side, side, 3)."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side), 225, dtype=np.uint8)
    for _ in range(14):
        at, start, length = rng.integers(10, side - 20), rng.integers(0, side // 2), rng.integers(side // 4, side // 2)
        if rng.random() < 0.5:
            image[at : at + 9, start : start + length] = 40
        else:
            image[start : start + length, at : at + 9] = 40
    for y, x in rng.integers(20, side - 20, (10, 2)):
        image[y - 9 : y + 9, x - 9 : x + 9] = 40
        image[y - 3 : y + 3, x - 3 : x + 3] = 225
    return np.repeat(image[..., None], 3, axis=2)


def faulty(image, where, size=6):
    found = image.copy()
    for y, x in where:
        found[y : y + size, x : x + size] = 255 - found[y : y + size, x : x + size]
    return found


def moved(image, degrees=0.0, shift=(0, 0), gain=1.0):
    turned = ndimage.rotate(image.astype(float), degrees, reshape=False, order=1, mode="nearest")
    return np.clip(ndimage.shift(turned, (*shift, 0), order=1, mode="nearest") * gain, 0, 255).astype(np.uint8)


WHERE = ((60, 70), (150, 240), (250, 120))


def hits(found: EvidenceMap, where, size=6, hw=(320, 320)):
    boxes = [region.box_xyxy for region in found.regions(hw)]
    hit = [any(x1 < x + size and x < x2 and y1 < y + size and y < y2 for x1, y1, x2, y2 in boxes) for y, x in where]
    return sum(hit), len(boxes)


@pytest.mark.parametrize(
    ("degrees", "shift", "gain"), [(0, (0, 0), 1), (0, (7, -5), 1), (2.0, (3, 4), 1), (-3.0, (0, 0), 0.9)]
)
def test_faults_are_found_on_a_board_that_lies_elsewhere_in_other_light(degrees, shift, gain):
    template = board()
    # the template is what moves, so that the faults stay where they are
    found = compare_paired(faulty(template, WHERE), moved(template, degrees, shift, gain))
    number, regions = hits(found, WHERE)
    assert number == 3
    assert regions <= 5
    assert found.gate_open
    assert found.anomaly_score > 0.7


def test_a_good_board_stays_calm():
    template = board()
    noisy = np.clip(template + np.random.default_rng(1).normal(0, 4, template.shape), 0, 255).astype(np.uint8)
    found = compare_paired(moved(noisy, 1.0, (2, 1)), template)
    assert not found.gate_open
    assert found.regions((320, 320)) == ()
    assert "no area differs" in found.text((320, 320))


def test_registration_recovers_turn_and_shift():
    template = board(3).astype(np.float32)
    image = moved(board(3), 2.0, (6, -9)).astype(np.float32)
    turned, (angle, rows, columns) = register(image.mean(axis=2), template, PairedOptions())
    assert angle == pytest.approx(2.0, abs=0.3)
    assert (rows, columns) == pytest.approx((6, -9), abs=2)
    inner = (slice(30, -30), slice(30, -30))
    assert np.abs(turned - image)[inner].mean() < 0.5 * np.abs(template - image)[inner].mean()


def test_pieces_that_lie_a_little_elsewhere_are_brought_back():
    template = board(1).astype(np.float32)
    image = template.copy()
    image[:, 160:] = np.roll(template[:, 160:], 2, axis=0)
    aligned = align(image, template, PairedOptions())
    far = (slice(10, -10), slice(220, 300))
    assert np.abs(aligned - image)[far].mean() < 0.1 * np.abs(template - image)[far].mean() + 1e-6


def test_an_edge_may_lie_elsewhere_by_the_tolerance_and_no_farther():
    image = np.zeros((40, 40, 3), dtype=np.float32)
    image[:, 20:] = 200
    options = PairedOptions(tolerance=2, blur=0.1)
    assert differences(np.roll(image, 2, axis=1)[:, 5:-5], image[:, 5:-5], options).max() < 1
    assert differences(np.roll(image, 3, axis=1)[:, 5:-5], image[:, 5:-5], options).max() > 100


def test_a_reference_is_a_template_only_where_it_shows_the_very_same_object():
    assert is_template(faulty(board(), WHERE), moved(board(), 1.0, (2, 3)))
    assert not is_template(board(1), board(2))


def test_another_board_is_no_template_and_that_is_said():
    found = compare_paired(board(1), board(2))
    assert "does not resemble its template" in found.unsuitable


@pytest.mark.parametrize("hw", [(16, 16), (40, 300), (300, 40), (1200, 1600)])
def test_sizes_of_image_and_template_may_differ(hw):
    from reason_iad.images import resize

    found = compare_paired(resize(faulty(board(), WHERE), hw), board())
    for region in found.regions(hw):
        x1, y1, x2, y2 = region.box_xyxy
        assert 0 <= x1 < x2 <= hw[1]
        assert 0 <= y1 < y2 <= hw[0]
        assert region.place in PLACES


def test_a_plain_image_is_compared_without_fault():
    plain = np.full((64, 64, 3), 128, dtype=np.uint8)
    assert not compare_paired(plain, plain).gate_open


@pytest.mark.data
@pytest.mark.slow
def test_faults_of_real_boards_are_found_with_their_own_templates(inspection_data):
    import csv

    from reason_iad.images import read_image

    with (inspection_data / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "bare_pcb" and row["split"] == "train"]
    templates = {row["group"]: row["image"] for row in rows if row["label"] == "normal"}
    number, total, false = 0, 0, 0
    boards = [row for row in rows if row["label"] == "defective"][:5]
    for row in boards:
        pixels = read_image(inspection_data / row["image"]).pixels
        found = compare_paired(pixels, read_image(inspection_data / templates[row["group"]]).pixels)
        faults = json.loads(row["boxes"])
        regions = [region.box_xyxy for region in found.regions(pixels.shape[:2])]
        touch = [[a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a in regions] for b in faults]
        number, total = number + sum(map(any, touch)), total + len(faults)
        false += sum(not any(column) for column in zip(*touch, strict=True))
    assert number / total >= 0.95
    assert false / len(boards) <= 2
