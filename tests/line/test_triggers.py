"""Which pictures are inspected: at rest once, in time, and when someone calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from made_line import belt, exposed, part

from reason_iad.errors import InputError
from reason_iad.images import encode_png
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, View
from reason_iad.line.motion import change, grid_of
from reason_iad.line.settings_sources import RestTrigger
from reason_iad.line.triggers import Called, Interval, Rest

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def frame(pixels: np.ndarray, seconds: float) -> Frame:
    return Frame(pixels, BEGAN + timedelta(seconds=seconds), seconds)


def passing(rest: int = 12, move: int = 8) -> list[np.ndarray]:
    """A part that comes, rests and goes, with the camera's noise."""
    rng = np.random.default_rng(0)
    come = np.concatenate([part(), belt()], axis=1)
    gone = np.concatenate([belt(), part()], axis=1)
    steps = [round(160 * (1 - (step + 1) / move)) for step in range(move)]
    scenes = [come[:, at : at + 160] for at in steps] + [come[:, :160]] * rest
    scenes += [gone[:, at : at + 160] for at in steps] + [gone[:, :160]] * rest
    return [exposed(scene, rng) for scene in scenes]


def fired(trigger: Rest, pictures: list[np.ndarray]) -> list[tuple[int, datetime | None]]:
    found = [(number, trigger.see(frame(one, number / 25))) for number, one in enumerate(pictures)]
    return [(number, one.rest_at) for number, one in found if one is not None]


def test_a_part_is_seen_once_when_it_has_come_to_rest(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(encode_png(belt()))
    trigger = Rest(RestTrigger(kind="rest", empty=tmp_path / "empty.png"), View())
    ((number, rest_at),) = fired(trigger, passing())
    assert 8 <= number <= 13
    assert rest_at is not None
    assert abs((rest_at - BEGAN).total_seconds() - 8 / 25) <= 1 / 25


def test_without_a_picture_of_the_empty_place_the_belt_that_stops_is_seen_too() -> None:
    assert len(fired(Rest(RestTrigger(kind="rest"), View()), passing())) == 2


def test_a_stop_that_is_too_short_is_no_rest() -> None:
    assert fired(Rest(RestTrigger(kind="rest", settle=0.6), View()), passing(rest=12)) == []


def test_light_that_flickers_is_no_motion() -> None:
    rng = np.random.default_rng(1)
    pictures = [exposed(part(), rng, light) for light in (1.0, 0.9, 1.0, 1.1, 1.0, 0.95) * 4]
    assert fired(Rest(RestTrigger(kind="rest"), View()), pictures) == []


def test_what_creeps_is_not_at_rest_until_it_stops() -> None:
    both = np.concatenate([part(), belt()], axis=1)
    creeping = [both[:, 160 - at : 320 - at] for at in range(0, 80)] + [both[:, 80:240]] * 10
    ((number, _),) = fired(Rest(RestTrigger(kind="rest", settle=0.2, still=6.0, moved=8.0), View()), creeping)
    assert number >= 80


def test_a_small_part_that_moves_is_motion_though_most_of_the_picture_is_still() -> None:
    first, second = belt(640), belt(640)
    first[40:52, 100:112] = 255
    second[40:52, 130:142] = 255
    assert change(grid_of(first), grid_of(second)) > 8


def test_an_interval_keeps_its_beat_when_pictures_come_late() -> None:
    trigger, came = Interval(1.0), (0.0, 0.4, 1.1, 1.9, 2.0, 5.5, 5.9, 6.0)
    seen = [seconds for seconds in came if trigger.see(frame(belt(), seconds)) is not None]
    assert seen == [0.0, 1.1, 2.0, 5.5, 6.0]


def test_each_call_takes_the_first_picture_after_it_and_names_the_part() -> None:
    now = [10.0]
    trigger = Called(2.0, Clock(seconds=lambda: now[0]))
    trigger.call("  A-17 ")
    trigger.call()
    assert trigger.see(frame(belt(), 9.9)) is None
    assert [trigger.see(frame(belt(), 10.1)).part, trigger.see(frame(belt(), 10.2)).part] == ["A-17", None]  # type: ignore[union-attr]
    assert trigger.see(frame(belt(), 10.3)) is None
    trigger.call("A-18")
    now[0] = 12.5
    assert trigger.missed() == ["A-18"]
    assert trigger.missed() == []


def test_a_region_is_cut_out_and_turned_clockwise() -> None:
    pixels = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
    found = View((10, 20, 30, 16), 90).of(frame(pixels, 0)).pixels
    assert found.shape == (30, 16, 3)
    np.testing.assert_array_equal(found[0, -1], pixels[20, 10])  # top left goes to the top right
    with pytest.raises(InputError, match="inside the picture"):
        View((70, 20, 30, 16)).of(frame(pixels, 0))
