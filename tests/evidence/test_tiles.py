"""Large images in tiles, and the part without its background."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reason_iad.errors import EvidenceError
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import FAST_STREAMS, EvidenceOptions, extract, tiled_streams
from reason_iad.evidence.foreground import foreground_mask
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.models.vision import BundledVision


@pytest.fixture(scope="module")
def vision():
    return BundledVision.random()


def board(seed, side):
    """A board of conductors at fixed places with a little noise."""
    image = np.full((side, side, 3), (20, 90, 40), dtype=np.float32)
    rng = np.random.default_rng(7)
    for _ in range(side // 16):
        row, column, length = rng.integers(0, side - 8), rng.integers(0, side // 2), rng.integers(side // 8, side // 2)
        image[row : row + 8, column : column + length] = (200, 150, 60)
    image += np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def test_tiles_are_put_together_where_they_were_cut(vision):
    pixels = board(0, 896)
    options = EvidenceOptions(streams=tiled_streams(2))
    source = options.streams[0].source
    whole = extract([pixels], vision, options)[source]
    corner = vision.efficientnet([np.ascontiguousarray(pixels[448:, :448])], 448)[16]
    assert whole.shape == (1, 56, 56, 112)
    assert torch.allclose(whole[:, 28:, :28], corner, atol=1e-4)


def test_a_small_fault_on_a_large_board_is_found_in_tiles_and_only_there(vision):
    side, fault = 1344, slice(700, 720)  # 20 pixels, 1.5 % of the side
    goods, bad = [board(seed, side) for seed in (1, 2)], board(3, side)
    bad[fault, 900:920] = (250, 250, 250)
    bank = MemoryBank.build(goods, vision, EvidenceOptions(streams=tiled_streams(3), rotations="off"))
    found, calm = compare(bad, bank, vision), compare(board(4, side), bank, vision)
    assert not calm.gate_open
    assert found.gate_open
    left, top, right, bottom = found.regions((side, side))[0].box_xyxy
    assert left < 920
    assert right > 900
    assert top < 720
    assert bottom > 700
    assert max(right - left, bottom - top) < 200


def test_fewer_than_one_tile_is_refused():
    with pytest.raises(EvidenceError, match="0 tiles a side; expected 1 or more"):
        EvidenceOptions(streams=tuple(tiled_streams(0)))


def part_on(background, seed=0):
    image = np.random.default_rng(seed).normal(background, 2.0, (160, 160, 3))
    image[40:120, 50:110] = (200, 160, 80)
    return np.clip(image, 0, 255).astype(np.uint8)


def test_the_foreground_is_the_part_with_a_margin():
    mask = foreground_mask(part_on(30))
    truth = np.zeros((56, 56), dtype=bool)
    truth[14:42, 18:38] = True
    assert mask[truth].all()
    assert mask.sum() < 2.2 * truth.sum()


def test_a_part_that_fills_the_image_has_no_background():
    assert foreground_mask(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).all()
    assert foreground_mask(np.full((90, 90, 3), 128, dtype=np.uint8)).all()


@pytest.mark.parametrize("foreground", [False, True])
def test_a_stain_on_the_background_counts_only_without_the_foreground_mask(foreground, vision):
    options = EvidenceOptions(streams=FAST_STREAMS, rotations="off", foreground=foreground)
    bank = MemoryBank.build([part_on(30, seed) for seed in range(3)], vision, options)
    stained = part_on(30, 9)
    stained[2:14, 2:14] = (250, 20, 20)
    found = compare(stained, bank, vision)
    corner = found.raw[:4, :4].max()
    assert (corner > 1.5) == (not foreground)


def test_a_part_that_is_missing_counts_with_the_foreground_mask(vision, tmp_path):
    options = EvidenceOptions(streams=FAST_STREAMS, rotations="off", foreground=True)
    bank = MemoryBank.build([part_on(30, seed) for seed in range(3)], vision, options)
    bank.save(tmp_path)
    empty = np.clip(np.random.default_rng(5).normal(30, 2.0, (160, 160, 3)), 0, 255).astype(np.uint8)
    again = MemoryBank.load(tmp_path)
    assert compare(empty, again, vision).anomaly_score > 0.8
    assert compare(empty, again, vision).anomaly_score == compare(empty, bank, vision).anomaly_score
