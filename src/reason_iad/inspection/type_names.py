"""Names of types that mean the same, and what labeled examples make of a question's options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reason_iad.datasets.names import plain
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.naming.namer import NONE, Naming

SAME_NAME = 0.8  # cosine from which two names mean the same
LEAST = 1e-4  # probability that no option falls under

Closest = Callable[[str, Sequence[str]], tuple[int, float]]


@dataclass(frozen=True, eq=False)
class Taught:
    """What the labeled examples of a category alone call an area, and their share in the say, in [0, 1]."""

    naming: Naming
    share: float


def same_name(
    name: str, others: Sequence[str], knowledge: CategoryKnowledge | None, closest: Closest | None
) -> int | None:
    """Which of some types means the same: of the same name or identifier, else nearest in meaning; None where none."""
    identifiers = {} if knowledge is None else {kind.name: kind.type for kind in knowledge.defects}
    for index, other in enumerate(others):
        bare = other.rstrip(".")
        if plain(name) in (plain(bare), plain(identifiers.get(bare, bare))):
            return index
    if closest is None or not others:
        return None
    nearest, cosine = closest(name, [other.rstrip(".") for other in others])
    return nearest if cosine >= SAME_NAME else None


def with_examples(
    texts: Sequence[str],
    found: Sequence[float],
    taught: Taught,
    same: Callable[[str, Sequence[str]], int | None],
) -> tuple[float, ...] | None:
    """Probabilities of options that labeled examples have a say in; None where no option names one of their types.

    Args:
        texts: the options.
        found: their probabilities by model, look and knowledge.
        taught: the types by the examples alone.
        same: finds the option that means the same as a type.
    """
    by_examples: dict[int, float] = {}
    named, share = taught.naming, taught.share
    for one in named.types:
        index = None if one.name == NONE else same(one.name, texts)
        if index is not None and index not in by_examples:
            by_examples[index] = one.probability
    if not by_examples:
        return None
    none = next((one.probability for one in named.types if one.name == NONE), 0.0)
    rest = none / max(1, len(texts) - len(by_examples))  # options that no example is of share what is none of these
    logs = [
        share * math.log(max(by_examples.get(i, rest), LEAST)) + (1 - share) * math.log(max(p, LEAST))
        for i, p in enumerate(found)
    ]
    raised = [math.exp(value - max(logs)) for value in logs]
    return tuple(value / sum(raised) for value in raised)
