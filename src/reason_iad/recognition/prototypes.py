"""Recognizing the category of an image, or saying "unknown".

An image is one vector: the mean patch feature of each stream, every stream of unit length. A category is the mean of
its images. All similarities are taken after a common center is removed, since what all photographs share says nothing
about the product. "Unknown" competes as a category of constant similarity, the threshold:

    p(c) = exp(s_c / t) / (exp(threshold / t) + sum over k of exp(s_k / t))

so the answer is a category exactly where its similarity is above the threshold. Both constants are fitted on training
images, each category in turn playing the unknown one. A category that is learned later has a threshold of its own,
halfway between the common one and the least similar of its own images, each compared with the others: products that
look alike differ by less than the common threshold allows for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.files import write_whole
from reason_iad.images import Pixels

if TYPE_CHECKING:
    from reason_iad.models.base import VisionTowers

Floats = npt.NDArray[np.float32]

UNKNOWN = "unknown"
STARTER_PROTOTYPES = Path(__file__).parent / "data" / "prototypes.safetensors"
VIT_SIZE, VIT_LAYER = 224, 9
EFFICIENTNET_SIZE, EFFICIENTNET_STRIDE = 256, 16
# Cosine between prototypes of one product: 0.96 to 0.99 where 12 images of it were learned, and at most 0.43 between
# products (four starter categories, nine learned ones).
SAME_PRODUCT = 0.7
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2)  # tried when fitting; not below, or the probability is always 0 or 1


def image_embeddings(images: Sequence[Pixels], vision: VisionTowers) -> Floats:
    """Describe each of n images by one vector: (n, D) of unit length."""
    deep = vision.vit(images, VIT_SIZE, [VIT_LAYER])[VIT_LAYER]  # (n, 16, 16, C)
    local = vision.efficientnet(images, EFFICIENTNET_SIZE)[EFFICIENTNET_STRIDE]  # (n, 16, 16, C)
    streams = [_unit(np.asarray(stream.mean((1, 2)).cpu().numpy(), np.float32)) for stream in (deep, local)]
    return _unit(np.concatenate(streams, axis=1))


def image_embedding(pixels: Pixels, vision: VisionTowers) -> Floats:
    """Describe one image by one vector: (D,) of unit length."""
    vector: Floats = image_embeddings([pixels], vision)[0]
    return vector


@dataclass(frozen=True, eq=False)
class CategoryPrototypes:
    """One vector per known category, and when to say "unknown"."""

    categories: tuple[str, ...]
    center: Floats  # (D,)
    vectors: Floats  # (C, D) of unit length, center removed
    threshold: float = 0.5  # cosine, in [-1, 1]
    temperature: float = 0.1  # above 0
    own_thresholds: Mapping[str, float] = field(default_factory=dict)  # of learned categories; not below `threshold`

    @classmethod
    def build(cls, embeddings: Mapping[str, Floats]) -> CategoryPrototypes:
        """Average the embeddings (n, D) of each category and fit threshold and temperature to them.

        Raises:
            InputError: under three categories (one must play the unknown against two), or vectors that do not fit.
        """
        if len(embeddings) < 3:
            raise InputError(f"{len(embeddings)} categories; expected images of at least 3 to tell known from unknown")
        widths = {vectors.shape[1:] for vectors in embeddings.values()}
        if len(widths) > 1 or any(vectors.ndim != 2 or not len(vectors) for vectors in embeddings.values()):
            raise InputError(f"image vectors of shapes {sorted(widths)}; expected at least one per category, all alike")
        similarities, labels = _left_out_similarities(embeddings)
        threshold, temperature = _fit(similarities, labels)
        center, vectors = _average(embeddings)
        return cls(tuple(embeddings), center, vectors, threshold, temperature)

    def learn(self, category: str, embeddings: Floats) -> CategoryPrototypes:
        """Add a category from image vectors (n, D) of good parts, in place of one of the same name.

        A category that came with the program and looks like the new one gives its place to it: the user has named it.

        Raises:
            InputError: no vectors, or of another width.
        """
        if embeddings.ndim != 2 or not len(embeddings) or embeddings.shape[1:] != self.center.shape:
            raise InputError(
                f"image vectors of shape {embeddings.shape} for {category!r}; expected (n, {self.center.shape[0]}): "
                "learn the category again"
            )
        vector = _unit(embeddings.mean(axis=0) - self.center)
        least = self.threshold
        if len(embeddings) > 1:
            others = (embeddings.sum(axis=0) - embeddings) / (len(embeddings) - 1)  # (n, D) the mean without each
            alike = np.sum(_unit(others - self.center) * _unit(embeddings - self.center), axis=1)
            least = max(least, float(alike.min()))
        same = max(least, SAME_PRODUCT) if len(embeddings) > 1 else 1.0
        kept = [
            index
            for index, name in enumerate(self.categories)
            if name != category and (name in self.own_thresholds or float(self.vectors[index] @ vector) < same)
        ]
        return replace(
            self,
            categories=(*(self.categories[index] for index in kept), category),
            vectors=np.concatenate([self.vectors[kept], vector[None]]),
            own_thresholds={**self.own_thresholds, category: (self.threshold + least) / 2},
        )

    def similarities(self, features: Floats) -> Floats:
        """Cosine of an image vector (D,) to every category: (C,).

        Raises:
            InputError: the vector has another width, as from another vision model.
        """
        if features.shape != self.center.shape:
            raise InputError(
                f"an image vector of shape {features.shape}; expected {self.center.shape}: use the vision model that "
                "the prototypes were made with"
            )
        return np.asarray(self.vectors @ _unit(features - self.center), np.float32)

    def probabilities(self, features: Floats) -> dict[str, float]:
        """Probability of every category and of "unknown" for an image vector (D,); they add up to 1."""
        above = [self.own_thresholds.get(name, self.threshold) - self.threshold for name in self.categories]
        similarities = self.similarities(features) - np.array(above, np.float32)
        shares = _softmax(similarities[None], self.threshold, self.temperature)[0]
        return {name: float(share) for name, share in zip((*self.categories, UNKNOWN), shares, strict=True)}

    def recognize(self, features: Floats) -> tuple[str, float]:
        """The most probable category, or "unknown", of an image vector (D,), and its probability in [0, 1]."""
        probabilities = self.probabilities(features)
        best = max(probabilities, key=lambda name: probabilities[name])
        return best, probabilities[best]

    def save(self, path: Path) -> None:
        """Write everything to a safetensors file, atomically."""
        from safetensors.numpy import save

        facts = {"categories": self.categories, "threshold": self.threshold, "temperature": self.temperature}
        tensors = {"center": self.center, "vectors": self.vectors}
        write_whole(path, save(tensors, {"prototypes": json.dumps(facts)}))

    @classmethod
    def load(cls, path: Path | None = None) -> CategoryPrototypes:
        """Read prototypes, by default those of the starter categories.

        Raises:
            KnowledgeError: missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = path or STARTER_PROTOTYPES
        try:
            with safe_open(str(path), "numpy") as file:
                facts = json.loads((file.metadata() or {})["prototypes"])
                center, vectors = file.get_tensor("center"), file.get_tensor("vectors")
            prototypes = cls(
                tuple(facts["categories"]), center, vectors, float(facts["threshold"]), float(facts["temperature"])
            )
        except FileNotFoundError as error:
            raise KnowledgeError(f"{path} does not exist; expected prototypes made by build_prototypes") from error
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise KnowledgeError(f"{path} is damaged ({error}); expected prototypes: build them again") from error
        if vectors.shape != (len(prototypes.categories), *center.shape) or prototypes.temperature <= 0:
            raise KnowledgeError(f"{path} holds vectors {vectors.shape} for {facts['categories']}: build them again")
        return prototypes


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32)


def _average(embeddings: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Common center (D,) and unit prototypes (C, D); every category counts the same, whatever its number of images."""
    means = np.stack([vectors.mean(axis=0) for vectors in embeddings.values()])
    center = np.asarray(means.mean(axis=0), np.float32)
    return center, _unit(means - center)


def _softmax(similarities: Floats, threshold: float, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities (n, C + 1) from cosines (n, C); the last column is "unknown"."""
    unknown = np.full((len(similarities), 1), threshold)
    logits = np.concatenate([similarities, unknown], axis=1).astype(np.float64) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _left_out_similarities(embeddings: Mapping[str, Floats]) -> tuple[list[Floats], list[npt.NDArray[np.int64]]]:
    """Similarities as new images would show them: per round one category is left out and plays the unknown.

    Known images are scored against prototypes of the other half of their category. Returns per round the cosines
    (n, C - 1) and the right column of each image, C - 1 standing for unknown.
    """
    rounds, labels = [], []
    for left_out in embeddings:
        names = [name for name in embeddings if name != left_out]
        for half in (0, 1):
            parts = {name: embeddings[name][half::2] for name in names}
            center, vectors = _average({name: part if len(part) else embeddings[name] for name, part in parts.items()})
            tests = [embeddings[name][1 - half :: 2] for name in names] + [embeddings[left_out]]
            rounds.append(np.concatenate([_unit(test - center) @ vectors.T for test in tests]))
            labels.append(np.repeat(np.arange(len(tests)), [len(test) for test in tests]))
    return rounds, labels


def _fit(rounds: Sequence[Floats], labels: Sequence[npt.NDArray[np.int64]]) -> tuple[float, float]:
    """Threshold and temperature with the least cross-entropy, every class of every round counting the same."""

    def loss(threshold: float, temperature: float) -> float:
        total = 0.0
        for similarities, label in zip(rounds, labels, strict=True):
            right = _softmax(similarities, threshold, temperature)[np.arange(len(label)), label]
            known = label < similarities.shape[1]
            for chosen in (known, ~known):
                if chosen.any():
                    total -= float(np.log(np.maximum(right[chosen], 1e-12)).mean())
        return total

    grid = [(float(a), b) for a in np.linspace(-0.2, 0.95, 47) for b in TEMPERATURES]
    return min(grid, key=lambda point: loss(*point))
