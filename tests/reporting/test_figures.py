"""The annotated picture: the map's scale is fixed and ordered, boxes lie where the report says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_report import make_map, make_pixels, make_report

from reason_iad import types
from reason_iad.reporting import figures, fonts


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colors (..., 3) in [0, 255], from the definition."""
    c = rgb / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_the_color_map_is_ordered_in_lightness() -> None:
    ramp = figures.colorize(np.linspace(0, 1, 101, dtype=np.float32)[None])[0, :, :3].astype(float)
    steps = np.diff(lightness(ramp))
    assert (steps < 0.3).all()  # rounding to 8 bits may hold it still, never turn it
    assert lightness(ramp[:1])[0] - lightness(ramp[-1:])[0] > 50


def test_a_calm_map_is_invisible() -> None:
    assert (figures.map_overlay(np.zeros((8, 8), np.float32), (50, 60))[..., 3] == 0).all()


def test_opacity_grows_with_strength() -> None:
    alpha = figures.colorize(np.linspace(0, 1, 101, dtype=np.float32)[None])[0, :, 3].astype(int)
    assert (np.diff(alpha) >= 0).all()
    assert alpha[0] == 0
    assert alpha[-1] == round(255 * figures.MAX_ALPHA)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_value_has_one_color_whatever_stands_beside_it(value: float, one: float, other: float) -> None:
    alone = figures.colorize(np.array([[value]], np.float32))[0, 0]
    beside = figures.colorize(np.array([[one, value, other]], np.float32))[0, 1]
    np.testing.assert_array_equal(alone, beside)


def test_the_map_covers_the_whole_image_and_keeps_its_place() -> None:
    anomaly_map = np.zeros((10, 20), np.float32)
    anomaly_map[8, 3] = 1.0
    overlay = figures.map_overlay(anomaly_map, (100, 400))
    assert overlay.shape == (100, 400, 4)
    row, column = np.unravel_index(overlay[..., 3].argmax(), (100, 400))
    assert 80 <= row < 90
    assert 60 <= column < 80


def test_a_region_is_drawn_around_its_box() -> None:
    pixels = np.full((100, 200, 3), 90, np.uint8)
    plain = make_report(image_hw=(100, 200), regions=(), description="", consequence=None)
    box = (50, 40, 90, 60)
    marked = dataclasses.replace(plain, regions=(types.Region(box, "center", 0.9, 0.04),))
    options = figures.FigureOptions(image_side=800)
    before, after = (figures.draw_figure(r, pixels, options=options) for r in (plain, marked))
    left = 28 + 800  # the picture's part, without the panel
    rows = min(before.shape[0], after.shape[0])
    top_before, top_after = ((f.shape[0] - 400) // 2 for f in (before, after))
    picture_before = before[top_before : top_before + 400, 28:left]
    picture_after = after[top_after : top_after + 400, 28:left]
    assert rows > 400
    changed = (picture_before != picture_after).any(axis=2)
    below_chip = changed[4 * box[1] - 4 :]  # the number stands above the box
    columns = np.flatnonzero(below_chip.any(axis=0))
    lines = np.flatnonzero(changed.any(axis=1))
    assert abs(columns[0] - 4 * box[0]) <= 8
    assert abs(columns[-1] - 4 * box[2]) <= 8
    assert abs(lines[-1] - 4 * box[3]) <= 8
    assert not changed[
        4 * box[1] + 8 : 4 * box[3] - 8, 4 * box[0] + 8 : 4 * box[2] - 8
    ].any()  # the defect stays visible


@pytest.mark.parametrize("image_hw", [(16, 16), (16, 300), (300, 16), (1200, 2400)])
def test_any_shape_of_image_can_be_drawn(image_hw: tuple[int, int]) -> None:
    height, width = image_hw
    corner = types.Region((0, 0, 1, 1), "top left", 1.0, 0.001)
    whole = types.Region((0, 0, width, height), "center", 1.0, 1.0)
    outside = types.Region((width + 5, height + 5, width + 9, height + 9), "bottom right", 1.0, 0.001)
    report = make_report(image_hw=image_hw, regions=(corner, whole, outside))
    figure = figures.draw_figure(report, make_pixels(*image_hw), make_map())
    assert figure.dtype == np.uint8
    assert max(figure.shape) < 3000


def test_letters_outside_the_font_are_spelled_out() -> None:
    report = make_report(image="Prüf–teil_中.png", description="x" * 120 + " ñandú " * 60)
    assert fonts.drawn(report.image) == "Pruf-teil_?.png"
    assert figures.draw_figure(report, make_pixels()).shape[0] < 1500


def test_the_same_report_gives_the_same_picture() -> None:
    one, other = (figures.draw_figure(make_report(), make_pixels(), make_map()) for _ in range(2))
    np.testing.assert_array_equal(one, other)
