"""RobustMAD's published rule, and how much an answer suffers when the image is degraded.

The rule (`compute_and_log_accuracy` of en-research/RobustMAD): right answers over all questions of a category, and of a
category and difficulty; an answer without a letter is wrong and stays in the denominator. Letters are read as the first
of A to E that stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from reason_iad.errors import InputError
from reason_iad.metrics.intervals import Estimate, share
from reason_iad.metrics.paired import McNemar, mcnemar, paired_difference


@dataclass(frozen=True)
class RobustScores:
    """Accuracy by category, and by category and difficulty."""

    categories: dict[str, Estimate]
    difficulties: dict[tuple[str, str], Estimate]


def read_first_letter(text: str) -> str | None:
    """Read a letter as RobustMAD does: the first of A to E that stands alone, else the first at all.

    >>> read_first_letter("b) because A is wrong"), read_first_letter("[C]"), read_first_letter("none of it")
    ('B', 'C', 'E')
    """
    upper = text.strip().upper()
    found = re.search(r"\b([A-E])\b", upper) or re.search(r"([A-E])", upper)
    return None if found is None else found.group(1)


def robust_scores(kinds: Sequence[str], difficulties: Sequence[str], right: Sequence[bool]) -> RobustScores:
    """Score answers, unreadable ones as wrong, as RobustMAD does.

    Raises:
        InputError: there is no answer.
    """
    if not right:
        raise InputError("there are no answers to score; expected at least one")
    categories: dict[str, list[bool]] = {}
    parts: dict[tuple[str, str], list[bool]] = {}
    for kind, difficulty, one in zip(kinds, difficulties, right, strict=True):
        categories.setdefault(kind, []).append(one)
        if difficulty:
            parts.setdefault((kind, difficulty), []).append(one)
    return RobustScores(
        {kind: share(sum(mine), len(mine)) for kind, mine in categories.items()},
        {part: share(sum(mine), len(mine)) for part, mine in parts.items()},
    )


@dataclass(frozen=True)
class TwinComparison:
    """Answers about degraded images against those to the same questions about the originals."""

    original: Estimate
    degraded: Estimate
    difference: Estimate  # degraded minus original, with the bootstrap interval over images
    test: McNemar


def compare_twins(original: Sequence[bool], degraded: Sequence[bool], images: Sequence[Hashable]) -> TwinComparison:
    """Compare pairs of answers, each right or wrong, that share a question; `images` tells the images apart."""
    return TwinComparison(
        share(sum(original), len(original)),
        share(sum(degraded), len(degraded)),
        paired_difference(original, degraded, images),
        mcnemar(original, degraded),
    )
