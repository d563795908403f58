"""Categories that users learned are recognized like those that come with the program."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from reason_iad import files
from reason_iad.evidence.profile import CategoryProfile, EvidenceOptions
from reason_iad.recognition.learned import LearnedPrototypes, read_embeddings
from reason_iad.recognition.prototypes import CategoryPrototypes


class Vision:
    """Features of random numbers."""

    def vit(self, images, size, layers):
        side = size // 14
        return {layer: torch.rand(len(images), side, side, 8) for layer in layers}

    def efficientnet(self, images, size):
        return {stride: torch.rand(len(images), size // stride, size // stride, 6) for stride in (8, 16)}


@pytest.fixture
def prototypes():
    center = np.zeros(16, np.float32)
    return CategoryPrototypes(("a", "b", "c"), center, np.eye(3, 16, dtype=np.float32), 0.4, 0.02)


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8)


def test_a_learned_profile_is_recognized_and_a_new_version_is_read(prototypes, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "home", lambda: tmp_path)
    learned = LearnedPrototypes()
    direction = np.zeros(16, np.float32)
    direction[9] = 1
    assert learned.extend(prototypes) is prototypes
    assert prototypes.recognize(direction)[0] == "unknown"
    noise = iter(np.random.default_rng(0).normal(0, 0.05, (99, 16)).astype(np.float32))
    profile = CategoryProfile.learn(
        "our lid", [image(n) for n in range(3)], Vision(), EvidenceOptions(), lambda pixels: direction + next(noise)
    )
    profile.save()
    extended = learned.extend(prototypes)
    assert extended.recognize(direction)[0] == "our_lid"
    assert extended.recognize(np.eye(16, dtype=np.float32)[0])[0] == "a"
    assert extended.recognize(np.eye(16, dtype=np.float32)[5])[0] == "unknown"
    assert learned.extend(prototypes) is extended  # nothing is read again
    members = next((tmp_path / "profiles").glob("*/members"))
    assert read_embeddings(members.parent).shape == (3, 16)
    for path in members.glob("*.safetensors"):
        path.write_bytes(b"damaged")
    next((tmp_path / "profiles").glob("*/profile.json")).touch()

    os.utime(next((tmp_path / "profiles").glob("*/profile.json")), ns=(1, 1))
    assert learned.extend(prototypes).categories == prototypes.categories


def test_a_starter_category_that_shows_the_same_product_gives_its_place_to_the_learned_one(prototypes):
    noise = np.random.default_rng(1).normal(0, 0.05, (6, 16)).astype(np.float32)
    same, other = np.eye(16, dtype=np.float32)[0] + noise, np.eye(16, dtype=np.float32)[9] + noise
    assert prototypes.learn("our a", same).categories == ("b", "c", "our a")
    assert prototypes.learn("our a", same).recognize(np.eye(16, dtype=np.float32)[0])[0] == "our a"
    assert prototypes.learn("lid", other).categories == ("a", "b", "c", "lid")
    twice = prototypes.learn("our a", same).learn("their a", same)
    assert {"our a", "their a"} <= set(twice.categories)  # between names of the user's own the user decides
    assert prototypes.learn("our a", same[:1]).categories == ("a", "b", "c", "our a")  # one image tells too little
