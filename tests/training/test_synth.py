"""The synthetic images: the same whatever the order, true masks, words that fit, nothing invisible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.training.synth import CATEGORIES, PAINTERS, Synthesizer, changed, contact_sheet, paste_defect
from reason_iad.training.synth_catalog import CATALOG
from reason_iad.training.synth_defects import PROCESSES
from reason_iad.training.synth_effects import GROUPS, LOOKS
from reason_iad.types import PLACES

SIZE = 160
SOME = ("screw", "twill", "circuit_board", "biscuit", "bearing", "screw_block", "solar_cell", "toy_figure", "blister")


@pytest.fixture(scope="module")
def lines():
    return {name: Synthesizer(3, SIZE).make_line(k, name) for k, name in enumerate(CATEGORIES)}


@pytest.fixture(scope="module")
def pairs(lines):
    """(line, defective sample, pixels of its flawless twin) of every category."""
    return [(line, line.defective(0), line.twin(0).pixels.astype(int)) for line in lines.values()]


def test_images_are_the_same_whatever_the_order():
    first, second = Synthesizer(5, SIZE), Synthesizer(5, SIZE)
    order = [(line, image) for line in (1, 8) for image in (0, 3)]
    seen = {key: first.make_line(key[0]).defective(key[1]) for key in order}
    normal = {key: first.make_line(key[0]).normal(key[1]) for key in order}
    for line, image in reversed(order):
        again = second.make_line(line)
        np.testing.assert_array_equal(again.normal(image), normal[line, image])
        sample = again.defective(image)
        np.testing.assert_array_equal(sample.pixels, seen[line, image].pixels)
        np.testing.assert_array_equal(sample.mask, seen[line, image].mask)
        assert sample.defect_type == seen[line, image].defect_type


def test_other_seeds_lines_and_images_differ():
    base = Synthesizer(5, SIZE).make_line(0)
    for other in (Synthesizer(6, SIZE).make_line(0), Synthesizer(5, SIZE).make_line(len(CATEGORIES))):
        assert other.category == base.category
        assert (other.normal(0) != base.normal(0)).mean() > 0.5
    assert (base.normal(0) != base.normal(1)).mean() > 0.2


def test_a_mask_covers_what_differs_from_the_flawless_twin(pairs):
    for line, sample, twin in pairs:
        change = np.abs(sample.pixels - twin).max(2)
        # A change counts in proportion to the strongest: a soft border or a faint shadow may lie outside.
        strong = change > max(12, 0.6 * np.percentile(change[sample.mask], 90))
        assert (strong & sample.mask).sum() >= 0.85 * strong.sum(), (line.category, sample.defect_type)
        assert (change[sample.mask] > 3).mean() > 0.35, (line.category, sample.defect_type)


def test_no_defect_is_invisible_or_without_a_mask(pairs):
    for line, sample, twin in pairs:
        assert sample.mask.shape == (SIZE, SIZE)
        assert 5 < sample.mask.sum() <= 0.6 * sample.mask.size
        assert np.abs(sample.pixels - twin).max(2)[sample.mask].mean() >= 9, (line.category, sample.defect_type)


@pytest.mark.parametrize(("step", "side", "seen"), [(7, 20, False), (12, 20, True), (60, 1, False), (60, 150, False)])
def test_a_change_counts_only_where_a_person_would_see_it(step, side, seen):
    before = np.full((SIZE, SIZE, 3), 100, np.uint8)
    after = before.copy()
    after[5 : 5 + side, 5 : 5 + side] += step
    mask = changed(before, after)
    assert (mask is not None) == seen
    if mask is not None:
        assert abs(int(mask.sum()) - side * side) <= 4 * side + 4  # the border may be off by a pixel


@pytest.mark.parametrize("name", SOME)
def test_every_defect_of_a_category_can_be_drawn(lines, name):
    for kind in CATALOG[name].defects:
        assert lines[name].defective(2, kind).defect_type == kind


def test_the_words_are_those_of_the_mask_and_the_pixels(lines):
    seen = set()
    for name in SOME:
        for image in range(3):
            sample = lines[name].defective(image)
            ys, xs = np.nonzero(sample.mask)
            share = len(xs) / SIZE**2
            assert sample.size == ("tiny" if share < 0.004 else "small" if share < 0.03 else "large")
            a, b, c = np.var(xs), np.mean((xs - xs.mean()) * (ys - ys.mean())), np.var(ys)
            root = math.sqrt((a - c) ** 2 + 4 * b * b)  # of the characteristic polynomial
            assert sample.shape == ("elongated" if (a + c + root) / max(a + c - root, 1e-9) > 6 else "compact")
            x, y = (xs.mean() + 0.5) * 3 / SIZE, (ys.mean() + 0.5) * 3 / SIZE
            assert sample.place == PLACES[int(y) * 3 + int(x)]
            ring = _grown(sample.mask, 3) & ~sample.mask
            gray = np.asarray(Image.fromarray(sample.pixels).convert("L")).astype(float)
            step = gray[sample.mask].mean() - gray[ring].mean()
            if abs(abs(step) - 8) > 1:  # Pillow rounds to whole gray levels
                expected = "darker than" if step < -8 else "brighter than" if step > 8 else "about as bright as"
                assert sample.tone == expected
            seen |= {sample.size, sample.shape, sample.tone}
    assert {"tiny", "small", "large", "elongated", "compact", "darker than", "brighter than"} <= seen


def _grown(mask, times):
    for _ in range(times):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def test_defects_come_everywhere_and_in_all_strengths():
    line = Synthesizer(1, SIZE).make_line(0, "granite")
    samples = [line.defective(i) for i in range(30)]
    assert len({s.place for s in samples}) >= 5
    assert len({s.defect_type for s in samples}) >= 4
    assert min(s.strength for s in samples) < 0.4 < 0.8 < max(s.strength for s in samples)


def test_the_catalog_is_complete():
    assert len(CATEGORIES) >= 24
    assert set(PAINTERS) == set(CATEGORIES)
    kinds = {kind for name in CATEGORIES for kind in CATALOG[name].defects}
    assert len(kinds) >= 14
    assert kinds == set(LOOKS)
    assert set(PROCESSES) <= kinds
    for name in CATEGORIES:
        spec = CATALOG[name]
        assert len(spec.defects) >= 3
        known = {kind for keys in GROUPS[spec.group] for kind in keys.split("|")}
        assert set(spec.without) <= known, name


def test_the_camera_without_color_leaves_no_color_in_the_facts():
    synthesizer = Synthesizer(2, SIZE)
    cameras = [synthesizer.make_line(i, "button") for i in range(12)]
    assert {line.camera.gray for line in cameras} == {True, False}
    for line in cameras:
        sample = line.normal_sample(0)
        assert ("color" in sample.facts) is not line.camera.gray
        assert np.ptp(sample.pixels.astype(int), axis=2).max() == 0 or not line.camera.gray
        assert sample.facts["holes"] in ("2", "4")


def test_missing_screws_are_found_at_as_many_places_as_the_facts_say():
    synthesizer = Synthesizer(0, SIZE)
    line = next(
        x for i in range(40) if (x := synthesizer.make_line(i, "screw_block")).normal_sample(0).facts["screws"] == "4"
    )
    places = {line.defective(i, "missing screw").place for i in range(16)}
    corners = {"top left", "top right", "bottom left", "bottom right"}
    assert len(places) >= 3
    assert "center" not in places
    assert len(places & corners) >= 2


def test_a_pasted_defect_changes_only_its_mask_and_keeps_the_shape():
    rng = np.random.default_rng(4)
    wave = 40 * np.sin(np.arange(260) / 9.0)
    image = (120 + wave + rng.normal(0, 3, (200, 260)))[..., None].repeat(3, 2)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    kinds = set()
    for seed in range(25):
        before = pixels.copy()
        sample = paste_defect(pixels, np.random.default_rng(seed))
        np.testing.assert_array_equal(pixels, before)
        assert sample.pixels.shape == pixels.shape
        change = np.abs(sample.pixels.astype(int) - pixels).max(2)
        assert change[sample.mask].mean() >= 9
        strong = change > max(12, 0.6 * np.percentile(change[sample.mask], 90))
        assert (strong & sample.mask).sum() >= 0.85 * strong.sum(), sample.defect_type
        assert np.ptp(sample.pixels.astype(int), axis=2).max() == 0  # a gray camera stays gray
        kinds.add(sample.defect_type)
    assert len(kinds) >= 4


def test_a_defect_on_an_object_that_stands_clear_lies_on_it():
    rng = np.random.default_rng(1)
    pixels = rng.integers(225, 240, (160, 200, 3)).astype(np.uint8)
    pixels[50:120, 40:150] = rng.integers(70, 90, (70, 110, 3))
    near = np.zeros((160, 200), bool)
    near[35:135, 25:165] = True  # a burr stands out a little
    for seed in range(12):
        mask = paste_defect(pixels, np.random.default_rng(seed)).mask
        assert (mask & near).sum() >= 0.8 * mask.sum()


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="size is 20"):
        Synthesizer(0, 20)
    with pytest.raises(InputError, match="no defect 'burnt toast'"):
        Synthesizer(0, SIZE).make_line(0).defective(0, "burnt toast")
    with pytest.raises(InputError, match="at least 64"):
        paste_defect(np.zeros((40, 80, 3), np.uint8), np.random.default_rng(0))


def test_the_contact_sheet_shows_every_line(tmp_path):
    synthesizer = Synthesizer(0, 96)
    contact_sheet(tmp_path / "sheet.png", [synthesizer.make_line(i) for i in range(2)], columns=1, tile=50)
    image = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert image.shape == (108, 162, 3)
    assert (image == (255, 0, 255)).all(2).any() or image[:, 108:].std() > 10


def test_small_defects_are_small_and_lie_on_the_object(lines):
    shares = []
    for name in SOME:
        line = lines[name]
        small = line.defective(1, reach=0.25)
        assert small.defect_type in PROCESSES
        change = np.abs(small.pixels - line.twin(1).pixels.astype(int)).max(2)
        rows, columns = np.nonzero(change > 3)
        assert max(np.ptp(rows), np.ptp(columns)) <= max(48, SIZE // 4), "nothing changed beyond the part drawn on"
        shares.append(small.area)
    assert max(shares) < 0.05
    usual = [lines[name].defective(1).area for name in SOME]
    assert np.median(shares) < np.median(usual)
