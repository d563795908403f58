"""Dynamic visual injection: which image patches join the latent tokens.

Axes: P patches of the inspected image, L latents, m patches a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reason_iad.errors import InputError


class Injector(Protocol):
    """Proposes patches; the reasoner keeps them only if the best reward grows."""

    needs_attention: bool

    def propose(
        self, kept: Sequence[int], saliency: Tensor | None, num_patches: int, generator: torch.Generator
    ) -> tuple[int, ...]:
        """New patches to try beside those kept: indices below `num_patches` not in `kept`, perhaps none.

        `saliency` is (P,), None where the injector needs no attention.
        """
        ...


class NoInjection:
    """Latents alone."""

    needs_attention = False

    def propose(
        self, kept: Sequence[int], saliency: Tensor | None, num_patches: int, generator: torch.Generator
    ) -> tuple[int, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True)
class AttentionInjector:
    """Proposes the patches that the latents look at more than under a neutral question."""

    patches_per_step: int = 2
    max_patches: int = 8
    needs_attention = True

    def propose(
        self, kept: Sequence[int], saliency: Tensor | None, num_patches: int, generator: torch.Generator
    ) -> tuple[int, ...]:
        """The most salient patches that are not kept yet."""
        if saliency is None:
            raise InputError("attention injection got no saliency; expected the attention of the latent rows")
        count = room(self.patches_per_step, self.max_patches, len(kept), num_patches)
        free = saliency.clone()
        if kept:
            free[list(kept)] = float("-inf")
        return tuple(int(i) for i in free.topk(count).indices)


@dataclass(frozen=True)
class RandomInjector:
    """Proposes any patches: the control that salient ones have to beat."""

    patches_per_step: int = 2
    max_patches: int = 8
    needs_attention = False

    def propose(
        self, kept: Sequence[int], saliency: Tensor | None, num_patches: int, generator: torch.Generator
    ) -> tuple[int, ...]:
        """Uniformly drawn patches that are not kept yet."""
        count = room(self.patches_per_step, self.max_patches, len(kept), num_patches)
        order = torch.randperm(num_patches, generator=generator).tolist()
        return tuple([i for i in order if i not in set(kept)][:count])


INJECTORS: Mapping[str, type[NoInjection] | type[AttentionInjector] | type[RandomInjector]] = {
    "off": NoInjection,
    "on": AttentionInjector,
    "random": RandomInjector,
}


def injector_named(name: str) -> Injector:
    """An injector with its defaults, by the name that the settings of the method know it by."""
    return INJECTORS[name]()


def room(wanted: int, limit: int, kept: int, available: int) -> int:
    """How many more patches fit, never more than the image has.

    >>> room(2, 8, 7, 64), room(4, 100, 2, 5)
    (1, 3)
    """
    return max(0, min(wanted, limit - kept, available - kept))


def relative_saliency(attention: Tensor, neutral: Tensor, evidence: Tensor | None = None, beta: float = 1.0) -> Tensor:
    """Attention to each patch against the same under a neutral question, weighed by evidence (method, section 4).

    Args:
        attention: (L, P) mean over heads and layers.
        neutral: (L, P) the same for a neutral question.
        evidence: (P,) calibrated, in [0, 1], or None.
        beta: weight of the evidence.

    Returns:
        (P,), 1 where the question changes nothing.
    """
    floor = 1e-3 * float(neutral.mean()) + 1e-12  # a patch nobody looks at is not salient by division
    saliency = (attention.mean(0) + floor) / (neutral.mean(0) + floor)
    return saliency if evidence is None else saliency * (1 + beta * evidence)
