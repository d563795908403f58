"""The look of the oddest area against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.evidence.looks import look_of, measure_look


def drawn(box: tuple[int, int, int, int], gray: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy gray plate (240, 320, 3) with a filled box, and a coarse map (15, 20) hot where it lies."""
    pixels = np.random.default_rng(0).normal(120, 3, (240, 320, 1)).repeat(3, axis=2)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = gray
    heat = np.zeros((15, 20), np.float32)
    heat[top // 16 : -(-bottom // 16), left // 16 : -(-right // 16)] = 0.9
    return pixels.clip(0, 255).astype(np.uint8), heat


@pytest.mark.parametrize(
    ("box", "gray", "place", "size", "shape", "tone"),
    [
        ((10, 10, 22, 20), 20, "top left", "tiny", "compact", "darker than"),
        ((200, 180, 240, 210), 220, "bottom right", "small", "compact", "brighter than"),
        ((100, 118, 220, 124), 60, "center", "small", "elongated", "darker than"),
        ((90, 60, 210, 180), 200, "center", "large", "compact", "brighter than"),
    ],
)
def test_words_are_those_of_the_box_that_was_drawn(
    box: tuple[int, int, int, int], gray: int, place: str, size: str, shape: str, tone: str
) -> None:
    pixels, heat = drawn(box, gray)
    look = measure_look(pixels, heat)
    assert look is not None
    assert (look.place, look.size, look.shape, look.tone) == (place, size, shape, tone)


def test_the_sentence_names_place_and_look() -> None:
    pixels, heat = drawn((250, 20, 270, 40), 30)
    look = measure_look(pixels, heat * 0.4)
    assert look is not None
    assert look.sentence(hue=False) == "The oddest area: top right; small and compact, darker than its surroundings."


def test_an_area_without_edges_is_as_bright_as_what_surrounds_it() -> None:
    pixels, heat = drawn((100, 100, 140, 140), 121)
    look = measure_look(pixels, heat)
    assert look is not None
    assert look.tone == "about as bright as"


def test_nothing_is_said_of_an_image_that_is_the_same_everywhere() -> None:
    flat = np.zeros((15, 20), np.float32)
    assert measure_look(np.full((240, 320, 3), 9, np.uint8), flat) is None


def test_direction_hue_sharpness_and_edge_are_those_that_were_drawn():
    plate = np.full((200, 200, 3), 120, np.uint8)
    plate[0:70, 100:106] = (170, 90, 90)  # a thin upright red line from the upper edge
    mask = np.zeros((200, 200), bool)
    mask[0:70, 100:106] = True
    look = look_of(plate, mask)
    assert (look.direction, look.hue, look.sharpness, look.border) == ("upright", "redder", "sharp", "at the edge")
    assert look.phrase == (
        "small and elongated, upright, about as bright as its surroundings but redder, sharply bounded, at the edge of "
        "the image"
    )
    told = "The oddest area: top center; small and elongated, about as bright as its surroundings"
    assert look.sentence(hue=False) == f"{told}."
    assert look.sentence(hue=True) == f"{told} but redder."


@pytest.mark.parametrize(
    ("color", "hue"),
    [
        ((160, 120, 120), "redder"),
        ((140, 140, 90), "yellower"),
        ((90, 140, 110), "greener"),
        ((110, 110, 160), "bluer"),
    ],
)
def test_hues_are_named_by_the_circle(color, hue):
    plate = np.full((100, 100, 3), 120, np.uint8)
    plate[40:60, 40:60] = color
    mask = np.zeros((100, 100), bool)
    mask[40:60, 40:60] = True
    assert look_of(plate, mask).hue == hue


def test_a_gradual_patch_inside_is_neither_sharp_nor_at_the_edge():
    y, x = np.mgrid[0:200, 0:200]
    distance = np.hypot(y - 100, x - 100)
    gray = 150 - 60 * np.exp(-((distance / 45) ** 2))
    look = look_of(gray[..., None].repeat(3, 2).astype(np.uint8), distance < 40)
    assert (look.sharpness, look.border, look.direction, look.hue) == (
        "gradual", "inside", "no direction", "of the same hue",
    )  # fmt: skip
