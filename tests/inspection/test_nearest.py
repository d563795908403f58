"""The nearest normal patch of a region, against a search by plain loops."""

from __future__ import annotations

import numpy as np
import torch

from reason_iad.evidence.features import Stream
from reason_iad.inspection.nearest import Compared, box_around, nearest_patch, oddest_cell, show_nearest
from reason_iad.types import Region


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(1)), dim=-1)


def test_the_nearest_patch_is_that_of_a_plain_search_within_the_window():
    query, references = unit(6, 6, 8), unit(3, 6, 6, 8).flip(0)
    for window in (None, 1):
        stream = Stream("vit", 9, 84, window=window)
        span = 9 if window is None else window
        best = max(
            (float(query[2, 4] @ references[r, y, x]), r, y, x)
            for r in range(3)
            for y in range(6)
            for x in range(6)
            if abs(y - 2) <= span and abs(x - 4) <= span
        )
        *place, distance = nearest_patch(query, references, (2, 4), stream)
        assert tuple(place) == best[1:]
        assert abs(distance - (1 - best[0])) < 1e-6


def test_the_oddest_cell_lies_in_the_box():
    odd = np.zeros((8, 8), dtype=np.float32)
    odd[1, 1], odd[6, 5] = 1.0, 0.5
    assert oddest_cell(odd, (40, 40, 80, 80), (80, 80), (16, 16)) == (13, 11)
    assert oddest_cell(odd, (0, 0, 80, 80), (80, 80), (8, 8)) == (1, 1)


def test_a_box_keeps_its_share_of_the_image_and_stays_inside():
    assert box_around(0, 0, (4, 4), (0, 0, 20, 10), (100, 100), (50, 200)) == (5, 4, 45, 9)
    assert box_around(0, 0, (10, 10), (0, 0, 50, 50), (100, 100), (100, 100)) == (0, 0, 50, 50)


def test_a_copied_area_finds_its_own_reference(tiny_nano):
    from reason_iad.evidence.compare import compare
    from reason_iad.evidence.memory_bank import MemoryBank

    rng = np.random.default_rng(0)
    goods = [rng.integers(0, 255, (448, 448, 3), dtype=np.uint8) for _ in range(3)]
    bank = MemoryBank.build(goods, tiny_nano.vision)
    evidence = compare(goods[2], bank, tiny_nano.vision)
    region = Region((192, 192, 256, 256), "center", 0.9, 0.02)
    compared = Compared(bank, tuple(goods))
    (found,), shown = show_nearest([region], goods[2], evidence, compared, (goods[0],), tiny_nano.vision)
    assert found.nearest is not None
    assert found.nearest.distance < 1e-4
    assert shown[found.nearest.reference] is goods[2]
    left, top, right, bottom = found.nearest.box_xyxy
    assert (right - left, bottom - top) == (64, 64)
    assert abs(left - 192) <= 48
    assert abs(top - 192) <= 48
