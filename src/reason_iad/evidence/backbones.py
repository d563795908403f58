"""Patch features of other vision transformers, by hub id or folder: DINOv2, DINOv3, SigLIP and their like.

The bundled towers are enough to work with; a larger backbone that a plant may download sees more. A stream names it
where it would say "vit": `Stream("facebook/dinov2-base", 9, 518)`. Each is loaded once, on first use.

Axes: B images, T tokens, H x W patches, C width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reason_iad.errors import EvidenceError
from reason_iad.images import Pixels, resize

if TYPE_CHECKING:
    import torch

    from reason_iad.evidence.features import Stream

BUNDLED = ("efficientnet", "vit")  # towers that `VisionTowers` itself has
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # SigLIP's, where its files do not say


@dataclass(frozen=True, eq=False)
class Backbone:
    """One loaded vision transformer.

    Attributes:
        name: hub id or folder.
        model: the vision part of it.
        patch: side of a patch in pixels.
        mean: of the colors it was trained on, in [0, 1].
        std: their spread.
    """

    name: str
    model: Any
    patch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def features(self, images: Sequence[Pixels], size: int, levels: Sequence[int]) -> dict[int, torch.Tensor]:
        """Hidden states of the patches.

        Args:
            images: B images (H, W, 3) of any size, stretched to `size` x `size`.
            size: a multiple of the patch.
            levels: hidden states: 0 are the embeddings, -1 is the last layer.

        Returns:
            (B, size / patch, size / patch, C) float32 by level.

        Raises:
            EvidenceError: another size, or a level that the model does not have.
        """
        import torch

        if size < self.patch or size % self.patch:
            raise EvidenceError(f"{self.name} reads patches of {self.patch} pixels; found the size {size}, expected a "
                                f"multiple of it, such as {max(1, round(size / self.patch)) * self.patch}")  # fmt: skip
        stretched = np.stack([p if p.shape[:2] == (size, size) else resize(p, (size, size)) for p in images])
        device = next(self.model.parameters()).device
        pixels = torch.from_numpy(stretched).to(device).float() / 255
        pixels = (pixels - torch.tensor(self.mean, device=device)) / torch.tensor(self.std, device=device)
        given = {"pixel_values": pixels.permute(0, 3, 1, 2), "output_hidden_states": True}
        if size != _trained_size(self.model.config) and _interpolates(self.model):
            given["interpolate_pos_encoding"] = True
        with torch.no_grad():
            states = self.model(**given).hidden_states
        side = size // self.patch
        found = {}
        for level in levels:
            if not -len(states) <= level < len(states):
                raise EvidenceError(
                    f"{self.name} has no hidden state {level}; expected 0 to {len(states) - 1}, or -1 for the last"
                )
            tokens = states[level]
            found[level] = tokens[:, tokens.shape[1] - side * side :].reshape(len(images), side, side, -1).float()
        return found  # the class and register tokens stand in front and are left out


@functools.lru_cache(maxsize=2)
def load_backbone(name: str, device: str = "cpu") -> Backbone:
    """Load a vision transformer by hub id or folder; only its weights as safetensors are read, never its code.

    Raises:
        EvidenceError: it cannot be found or read, or it is no vision transformer with square patches.
    """
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not isinstance(getattr(getattr(config, "vision_config", config), "patch_size", None), int):
            raise EvidenceError(
                f"{name} is a {config.model_type}; expected a vision transformer with square patches, such as "
                "facebook/dinov2-small"
            )
        model = AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"the backbone {name!r} cannot be loaded ({str(error).splitlines()[0]}); expected 'efficientnet', 'vit', a "
            "hub id such as facebook/dinov2-small, or the folder of a downloaded one"
        ) from error
    vision = getattr(model, "vision_model", model)
    vision.eval().requires_grad_(False).to(device)
    mean, std = _colors(name, config.model_type)
    return Backbone(name, vision, int(vision.config.patch_size), mean, std)


def streams_of(name: str, size: int = 448) -> tuple[Stream, ...]:
    """The streams by which references are compared where a transformer takes the place of the bundled towers.

    Its hidden state at three quarters of the depth, where DINOv2-like models compare parts best, at about `size` px.

    Raises:
        EvidenceError: it cannot be loaded.
    """
    from reason_iad.evidence.features import Stream

    loaded = load_backbone(name)
    depth = int(loaded.model.config.num_hidden_layers)
    return (Stream(name, max(1, round(0.75 * depth)), max(1, round(size / loaded.patch)) * loaded.patch),)


def _colors(name: str, model_type: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread of the colors that its preprocessor subtracts, in [0, 1]."""
    from transformers.image_processing_base import ImageProcessingMixin

    usual = _HALF if model_type.startswith("siglip") else _IMAGENET
    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):
        return usual
    return tuple(facts.get("image_mean") or usual[0]), tuple(facts.get("image_std") or usual[1])


def _trained_size(config: Any) -> int:
    size = config.image_size
    return int(size if isinstance(size, int) else size[0])


def _interpolates(model: Any) -> bool:
    """Whether the model takes other sizes only when asked to; others take any size as it comes."""
    import inspect

    return "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
