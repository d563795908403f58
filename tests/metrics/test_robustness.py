"""RobustMAD's published arithmetic, written out on hand-made answers, and the comparison of degraded twins."""

from __future__ import annotations

import re

import pytest

from reason_iad.errors import InputError
from reason_iad.metrics.robustness import compare_twins, read_first_letter, robust_scores


def published(rows):
    """Right over all, by category and by category and difficulty: an unreadable answer is unequal to every letter."""
    totals: dict = {}
    for kind, difficulty, target, given in rows:
        for part in (kind, (kind, difficulty)):
            right, count = totals.get(part, (0, 0))
            totals[part] = (right + (given == target), count + 1)
    return {part: right / count for part, (right, count) in totals.items()}


ROWS = [
    ("general", "general", "A", "A"), ("general", "domain", "B", "C"), ("general", "domain", "B", "B"),
    ("unanswerable", "general", "C", "Error: Invalid response"), ("unanswerable", "general", "D", "D"),
    ("unanswerable", "domain", "E", "A"), ("pairwise", "general", "A", "A"),
]  # fmt: skip


def test_scores_are_those_of_the_published_rule_with_unreadable_answers_wrong():
    expected = published(ROWS)
    found = robust_scores([r[0] for r in ROWS], [r[1] for r in ROWS], [r[2] == r[3] for r in ROWS])
    assert {kind: one.value for kind, one in found.categories.items()} == {
        kind: value for kind, value in expected.items() if isinstance(kind, str)
    }
    assert {part: one.value for part, one in found.difficulties.items()} == {
        part: value for part, value in expected.items() if isinstance(part, tuple)
    }
    assert found.categories["unanswerable"].n == 3
    with pytest.raises(InputError, match="no answers"):
        robust_scores([], [], [])


@pytest.mark.parametrize("text", ["B", "b.", "Answer: C", "**D**", "[E]", "(a)", "The answer is B, not C", "xyz", ""])
def test_letters_are_read_as_the_published_patterns_do(text):
    patterns = [
        r"\b([A-E])\b", r"\b([A-E])(?=[\.\,\)\]\}\>\:\s]|$)", r"(?:answer|option|choice)[\s\:]*([A-E])\b",
        r"\[([A-E])\]", r"\*\*([A-E])\*\*", r"^([A-E])\s", r"([A-E])",
    ]  # fmt: skip
    matches = [match for pattern in patterns if (match := re.search(pattern, text.strip().upper()))]
    assert read_first_letter(text) == (matches[0].group(1) if matches else None)


def test_twins_are_compared_pair_by_pair():
    found = compare_twins([True] * 8 + [False] * 2, [True] * 4 + [False] * 6, [f"image {i // 2}" for i in range(10)])
    assert (found.original.value, found.degraded.value) == (0.8, 0.4)
    assert found.difference.value == pytest.approx(-0.4)
    assert found.difference.low <= -0.4 <= found.difference.high
    assert (found.test.only_first, found.test.only_second) == (4, 0)
