import numpy as np
import pytest
import torch

from reason_iad.errors import EvidenceError
from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.lot import compare_lot
from reason_iad.images import resize


class ColorTower:
    """Patches are described by the mean and the spread of their colors."""

    def efficientnet(self, images, size):
        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // 16, 16, size // 16, 16, 3)
        return {16: torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)), blocks.mean(dim=(2, 4)) ** 2], dim=-1)}


OPTIONS = EvidenceOptions(streams=(Stream("efficientnet", 16, 128, "euclidean"), Stream("efficientnet", 16, 128)))


def part(seed, stain=None):
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), (70, 90, 110), dtype=np.float64)
    image[20:50, 30:90] = np.array((190, 180, 160)) + rng.normal(0, 4, 3)
    if stain is not None:
        image[60:80, 80:110] = stain
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def test_the_few_parts_unlike_the_others_are_found_without_any_reference():
    lot = [part(seed) for seed in range(22)] + [part(30, (250, 20, 20)), part(31, (10, 240, 10))]
    told = []
    found = compare_lot(lot, ColorTower(), OPTIONS, lambda done, count: told.append((done, count)))
    scores = [one.anomaly_score for one in found.found]
    assert max(scores[:22]) < min(scores[22:])
    assert [one.judge(0.02) for one in found.found[22:]] == ["defective", "defective"]
    assert sum(one.judge(0.02) == "defective" for one in found.found[:22]) <= 1
    (region,) = found.found[22].regions((90, 120))
    assert region.place == "bottom right"
    assert found.found[22].text((90, 120)).startswith("Compared with 23 other parts of the lot: differs at")
    assert found.warnings == ()
    assert told[-1] == (24, 24)


def test_a_kind_that_many_share_is_told_since_it_cannot_be_judged():
    lot = [part(seed) for seed in range(14)] + [part(seed, (250, 20, 20)) for seed in range(30, 40)]
    (warning,) = compare_lot(lot, ColorTower(), OPTIONS).warnings
    assert warning.startswith("10 of the 24 images differ from the others in the same way")


def test_an_empty_frame_in_a_lot_is_named():
    lot = [part(seed) for seed in range(20)] + [np.zeros((90, 120, 3), np.uint8)]
    assert "blank" in compare_lot(lot, ColorTower(), OPTIONS).found[-1].unsuitable


def test_too_small_a_lot_is_refused():
    with pytest.raises(EvidenceError, match="expected at least 20"):
        compare_lot([part(seed) for seed in range(19)], ColorTower(), OPTIONS)
