"""Inspecting a lot without any known good part."""

import numpy as np
import pytest

from reason_iad.errors import EvidenceError
from reason_iad.evidence.compare import EvidenceMap
from reason_iad.images import from_pixels
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.sources import EvidenceSources


class ColorTower:
    def efficientnet(self, images, size):
        import torch

        from reason_iad.images import resize

        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // 16, 16, size // 16, 16, 3)
        return {16: torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)) + 0.1], dim=-1)}


def part(seed, stain=False):
    image = np.random.default_rng(seed).normal(120, 6, (60, 80, 3))
    image[20:40, 20:60] += 60
    if stain:
        image[45:57, 60:75] = (250, 20, 20)
    return from_pixels(np.clip(image, 0, 255).astype(np.uint8))


def test_each_image_of_a_lot_is_judged_by_the_others():
    options = InspectorOptions(streams="fast")
    lot = [part(seed) for seed in range(21)] + [part(50, stain=True)]
    sources, told = EvidenceSources(ColorTower()), []
    sources.compare_lot(options, iter(lot), lambda done, count: told.append((done, count)))
    assert told[-1] == (22, 22)
    found = [sources.choose(options, image, (), (None,)).look(image) for image in lot]
    assert all(isinstance(one.evidence, EvidenceMap) for one in found)
    assert max(range(22), key=lambda index: found[index].evidence.anomaly_score) == 21
    assert found[21].evidence.judge(0.02) == "defective"
    assert "compared with each other" in found[0].notes[0]
    stranger = part(99)  # it was not in the lot
    assert sources.choose(options, stranger, (), (None,)).look(stranger).evidence is None


def test_a_lot_needs_evidence():
    with pytest.raises(EvidenceError, match="leave one out"):
        EvidenceSources(ColorTower()).compare_lot(InspectorOptions(evidence="off"), [], lambda *_: None)
