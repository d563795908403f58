"""Category recognition on made-up vectors whose right answer is known, on files, and in the image builder."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.images import Pixels
from reason_iad.recognition.build_prototypes import select_images
from reason_iad.recognition.prototypes import (
    STARTER_PROTOTYPES,
    UNKNOWN,
    CategoryPrototypes,
    image_embedding,
    image_embeddings,
)

NAMES = ("bolt", "cap", "disc", "edge")


def clusters(seed: int, names: tuple[str, ...], count: int = 12) -> dict[str, npt.NDArray[np.float32]]:
    """Unit vectors around one direction per name, all with a large common part; the direction follows the name."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in names:
        direction = np.random.default_rng(sum(name.encode())).normal(size=64)
        vectors = 3 + direction + 0.4 * rng.normal(size=(count, 64))
        found[name] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def prototypes() -> CategoryPrototypes:
    return CategoryPrototypes.build(clusters(0, NAMES))


def test_new_images_of_known_categories_are_named(prototypes: CategoryPrototypes) -> None:
    for name, vectors in clusters(1, NAMES).items():
        assert [prototypes.recognize(vector)[0] for vector in vectors] == [name] * len(vectors)


def test_images_of_other_products_are_unknown(prototypes: CategoryPrototypes) -> None:
    for vectors in clusters(2, ("fork", "gear", "hinge")).values():
        assert {prototypes.recognize(vector)[0] for vector in vectors} == {UNKNOWN}


def test_probabilities_add_up_and_unknown_wins_exactly_below_the_threshold() -> None:
    center = np.zeros(2, np.float32)
    vectors = np.eye(2, dtype=np.float32)
    prototypes = CategoryPrototypes(("x", "y"), center, vectors, threshold=0.9, temperature=0.1)
    for angle in np.linspace(0, math.pi / 2, 31):
        feature = np.array([math.cos(angle), math.sin(angle)], np.float32)
        shares = prototypes.probabilities(feature)
        x, y, unknown = (math.exp(v / 0.1) for v in (math.cos(angle), math.sin(angle), 0.9))
        assert shares["x"] == pytest.approx(x / (x + y + unknown), abs=1e-6)
        assert sum(shares.values()) == pytest.approx(1)
        name, probability = prototypes.recognize(feature)
        assert (name == UNKNOWN) == (max(math.cos(angle), math.sin(angle)) < 0.9)
        assert probability == max(shares.values())


def test_a_blank_vector_is_unknown(prototypes: CategoryPrototypes) -> None:
    name, probability = prototypes.recognize(prototypes.center)
    assert name == UNKNOWN
    assert 0 <= probability <= 1


def test_saved_prototypes_answer_alike(prototypes: CategoryPrototypes, tmp_path: Path) -> None:
    prototypes.save(tmp_path / "p.safetensors")
    loaded = CategoryPrototypes.load(tmp_path / "p.safetensors")
    for vectors in clusters(3, (*NAMES, "fork")).values():
        for vector in vectors:
            assert loaded.probabilities(vector) == prototypes.probabilities(vector)


def test_missing_damaged_and_foreign_files_are_explained(prototypes: CategoryPrototypes, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "p.safetensors"
    with pytest.raises(KnowledgeError, match="does not exist"):
        CategoryPrototypes.load(path)
    prototypes.save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(KnowledgeError, match="is damaged"):
        CategoryPrototypes.load(path)
    save_file({"center": prototypes.center}, str(path))
    with pytest.raises(KnowledgeError, match="is damaged"):
        CategoryPrototypes.load(path)


def test_vectors_of_another_model_are_refused(prototypes: CategoryPrototypes) -> None:
    with pytest.raises(InputError, match=r"shape \(3,\); expected \(64,\)"):
        prototypes.recognize(np.zeros(3, np.float32))


def test_too_few_categories_are_refused() -> None:
    with pytest.raises(InputError, match="expected images of at least 3"):
        CategoryPrototypes.build(clusters(0, NAMES[:2]))
    with pytest.raises(InputError, match="all alike"):
        CategoryPrototypes.build({**clusters(0, NAMES), "x": np.zeros((2, 3), np.float32)})


def test_only_permitted_training_images_are_used(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    rows = [("a.png", "cap", "train", "yes"), ("b.png", "cap", "test", "yes"), ("c.png", "bolt", "train", "no")]
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "category", "split", "may_train"), *rows])
    assert select_images(manifest) == {"cap": [tmp_path / "a.png"]}
    manifest.write_text("image,category\n")
    with pytest.raises(InputError, match="lacks the columns"):
        select_images(manifest)
    with pytest.raises(InputError, match="cannot be read"):
        select_images(tmp_path / "none.csv")


class FakeVision:
    """Streams that are plain cell means of the image, so that the vector can be computed another way."""

    def vit(self, images: Sequence[Pixels], size: int, layers: Sequence[int]) -> dict[int, torch.Tensor]:
        return {layer: self._cells(images, 2) + layer for layer in layers}

    def efficientnet(self, images: Sequence[Pixels], size: int) -> dict[int, torch.Tensor]:
        return {stride: self._cells(images, 4) * stride for stride in (8, 16)}

    def _cells(self, images: Sequence[Pixels], cells: int) -> torch.Tensor:
        grids = [image[: cells * 8, : cells * 8].reshape(cells, 8, cells, 8, 3).mean((1, 3)) for image in images]
        return torch.from_numpy(np.stack(grids).astype(np.float32))


def test_an_image_vector_joins_the_unit_mean_of_each_stream() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
    vision: Any = FakeVision()
    together = image_embeddings(images, vision)
    for image, vector in zip(images, together, strict=True):
        deep = image[:16, :16].reshape(-1, 3).mean(0) + 9
        local = image.reshape(-1, 3).mean(0) * 16
        expected = np.concatenate([deep / np.linalg.norm(deep), local / np.linalg.norm(local)]) / math.sqrt(2)
        assert np.allclose(vector, expected, atol=1e-5)
        assert np.allclose(image_embedding(image, vision), vector, atol=1e-6)


@pytest.mark.skipif(not STARTER_PROTOTYPES.is_file(), reason="starter prototypes are not built")
def test_starter_prototypes_are_small_and_only_of_images_that_may_be_used() -> None:
    assert STARTER_PROTOTYPES.stat().st_size < 100_000
    prototypes = CategoryPrototypes.load()
    assert set(prototypes.categories) == {"bare_pcb", "four_screw_block", "hazelnut", "light_guide_plate"}


def test_a_learned_category_keeps_look_alikes_out() -> None:
    rng = np.random.default_rng(5)
    center = np.zeros(64, np.float32)
    prototypes = CategoryPrototypes(("a", "b", "c"), center, np.eye(3, 64, dtype=np.float32), 0.45, 0.02)
    mine = np.eye(64, dtype=np.float32)[10] + rng.normal(0, 0.03, (8, 64)).astype(np.float32)
    learned = prototypes.learn("mine", mine)
    alike = 0.6 * np.eye(64, dtype=np.float32)[10] + 0.8 * np.eye(64, dtype=np.float32)[11]  # cosine 0.6 to it
    assert learned.recognize(mine.mean(0))[0] == "mine"
    assert float(learned.similarities(alike)[-1]) > prototypes.threshold
    assert learned.recognize(alike)[0] == "unknown"
    assert learned.recognize(np.eye(64, dtype=np.float32)[1])[0] == "b"
    assert sum(learned.probabilities(alike).values()) == pytest.approx(1)
    again = learned.learn("mine", mine[:1])
    assert again.categories == learned.categories
    assert again.own_thresholds["mine"] == pytest.approx(0.45)
    with pytest.raises(InputError, match="learn the category again"):
        prototypes.learn("x", np.zeros((0, 64), np.float32))
