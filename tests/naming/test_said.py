"""What a person's words name: in four languages, in the plural, one inside another, denied, asked, or two at once."""

from __future__ import annotations

import pytest

from reason_iad.naming.said import spellings, type_said

TYPES = {
    "scratch": spellings("scratch"),
    "deep scratch": spellings("deep scratch"),
    "crack": spellings("crack"),
    "hole": spellings("hole"),
    "rolled-in_scale": spellings("rolled-in scale", "rolled-in_scale"),
    "凹み": spellings("凹み"),
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("it is a scratch", "scratch"),
        ("Two SCRATCHES near the edge.", "scratch"),
        ("a deep scratch, seen it before", "deep scratch"),
        ("Das ist ein Kratzer", "scratch"),
        ("Riss", "crack"),
        ("rolled in scale again", "rolled-in_scale"),
        ("これは凹みです", "凹み"),
        ("这是划痕", "scratch"),
        ("there are holes", "hole"),
    ],
)
def test_words_name_a_type(words, expected):
    assert type_said(words, TYPES).defect_type == expected


@pytest.mark.parametrize(
    "words",
    [
        "it is not a scratch", "kein Kratzer", "this isn't a crack", "a scratch or a crack", "scratch?", "凹みではない",
        "不是划痕", "the mark wipes off", "scratchpad", "", "cracking noise", "a wholehearted yes",
    ],
)  # fmt: skip
def test_words_that_name_none_deny_or_leave_it_open_name_nothing(words):
    assert type_said(words, TYPES).defect_type is None


def test_what_was_found_is_said_even_where_it_decides_nothing():
    assert type_said("a crack or a scratch", TYPES).named == ("scratch", "crack")
    assert type_said("no crack", TYPES).denied
    assert not type_said("no idea", TYPES).denied
