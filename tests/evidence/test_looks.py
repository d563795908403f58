"""The look of the oddest area against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.evidence.looks import measure_look


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
    assert look.sentence == "The oddest area: top right; small and compact, darker than its surroundings."


def test_an_area_without_edges_is_as_bright_as_what_surrounds_it() -> None:
    pixels, heat = drawn((100, 100, 140, 140), 121)
    look = measure_look(pixels, heat)
    assert look is not None
    assert look.tone == "about as bright as"


def test_nothing_is_said_of_an_image_that_is_the_same_everywhere() -> None:
    flat = np.zeros((15, 20), np.float32)
    assert measure_look(np.full((240, 320, 3), 9, np.uint8), flat) is None
